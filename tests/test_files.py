import errno
import os
import uuid

import pytest

from mf_keras import files


def test_the_new_file_is_whole_before_the_old_one_goes(tmp_path, monkeypatch):
    path, kept = tmp_path / "a.json", tmp_path / "a.previous.json"
    path.write_text("old")
    seen, replace = [], os.replace

    def spy(source, target):
        replace(source, target)
        seen.append({p.name: p.read_text() for p in (path, kept) if p.exists()})

    monkeypatch.setattr(os, "replace", spy)
    with files.atomic_write(path, keep_as=kept) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert seen == [{kept.name: "old"}, {path.name: "new", kept.name: "old"}]
    assert len(list(tmp_path.iterdir())) == 2


def test_it_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append("sync"), sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), replace(a, b)))
    with files.atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert done == ["sync", "rename", "sync"]  # the file, then the folder


REFUSALS = [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOSYS]


@pytest.mark.parametrize("code", REFUSALS)
@pytest.mark.parametrize("function", ["open", "fsync"])
def test_a_file_system_may_refuse_to_synchronise_folders(tmp_path, monkeypatch, function, code):
    original = getattr(os, function)

    def refuse(target, *arguments):
        folder = os.path.isdir(target) if function == "open" else os.fstat(target).st_mode & 0o40000
        if folder:
            raise OSError(code, os.strerror(code))
        return original(target, *arguments)

    monkeypatch.setattr(os, function, refuse)
    with files.atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a").read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_synchronised_through_a_descriptor_that_writes(tmp_path, monkeypatch):
    sync = os.fsync

    def as_on_windows(descriptor):
        if not os.fstat(descriptor).st_mode & 0o40000 and not os.write(descriptor, b""):
            sync(descriptor)

    monkeypatch.setattr(os, "fsync", as_on_windows)  # `os.write` raises EBADF where it only reads
    with files.atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a").read_text() == "new"


def test_a_file_that_cannot_be_synchronised_is_not_written(tmp_path, monkeypatch):
    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    refused = pytest.raises(files.NotWrittenError, match="Input/output error")
    with refused, files.atomic_write(tmp_path / "a") as temporary:
        temporary.write_text("new")
    assert not list(tmp_path.iterdir())


def write_half(path, error, **arguments):
    with files.atomic_write(path, **arguments) as temporary:
        temporary.write_text("ha")
        raise error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_what_goes_wrong_leaves_the_old_files_alone(tmp_path, error):
    path, kept = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("old")
    kept.write_text("older")
    with pytest.raises((files.NotWrittenError, KeyboardInterrupt)) as caught:
        write_half(path, error, keep_as=kept)
    if isinstance(error, OSError):
        assert str(caught.value) == f"{path} could not be written: No space left."
    assert (path.read_text(), kept.read_text()) == ("old", "older")
    assert len(list(tmp_path.iterdir())) == 2


def test_left_over_files_go_and_nothing_else(tmp_path):
    left = f".{uuid.uuid4().hex}.last.keras"
    others = [
        "last.keras",
        ".last.keras",
        f"{uuid.uuid4().hex}.last.keras",
        f".{uuid.uuid4().hex}",
        f".{uuid.uuid4()}.last.keras",
        f".{'0' * 32}.last.keras",
    ]
    for name in (left, *others):
        (tmp_path / name).write_text("")
    (tmp_path / f".{uuid.uuid4().hex}.folder").mkdir()
    with files.atomic_write(tmp_path / "x.png") as temporary:
        temporary.write_text("")
    temporary.write_text("")
    (tmp_path / "x.png").unlink()
    assert files.remove_left_over(tmp_path) == sorted([left, temporary.name])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == sorted(others)
    assert len(list(tmp_path.iterdir())) == len(others) + 1
    assert files.remove_left_over(tmp_path / "none") == []


def test_files_of_others_are_known(tmp_path):
    path = tmp_path / "new" / "a.csv"
    files.check_ours(path, b"seed,nll")
    path.parent.mkdir()
    path.write_text("seed,nll\n0,1\n")
    files.check_ours(path, b"seed,nll")
    path.write_text("name,age\n")
    with pytest.raises(FileExistsError, match=r"a\.csv already exists"):
        files.check_ours(path, b"seed,nll")
    with pytest.raises(FileExistsError, match="new already exists"):
        files.check_ours(path.parent, b"seed,nll")
    with pytest.raises(NotADirectoryError, match=r"a\.csv is a file"):
        files.check_ours(path / "b.csv", b"seed,nll")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="link already exists"):
        files.check_ours(link, b"seed,nll")


def test_another_process_may_move_the_old_file_first(tmp_path, monkeypatch):
    path, kept = tmp_path / "last", tmp_path / "before"
    path.write_text("old")
    replace = os.replace

    def late(source, target):
        if target == kept:
            replace(source, target)  # by the other process
        replace(source, target)

    monkeypatch.setattr(os, "replace", late)
    with files.atomic_write(path, keep_as=kept) as temporary:
        temporary.write_text("new")
    assert (path.read_text(), kept.read_text()) == ("new", "old")
