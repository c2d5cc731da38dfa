import pytest

from mf_keras.export.version_folder import VersionFolder


def put(path, overwrite=False, text="new"):
    with VersionFolder(path).write(overwrite) as temporary:
        temporary.mkdir()
        (temporary / "saved_model.pb").write_text(text)


def write_half(path, overwrite):
    with VersionFolder(path).write(overwrite) as temporary:
        temporary.mkdir()
        (temporary / "saved_model.pb").write_text("half")
        raise OSError("disk full")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_version_is_written_whole(tmp_path):
    put(tmp_path / "model" / "1")
    assert names(tmp_path / "model") == ["1"]
    assert (tmp_path / "model" / "1" / "saved_model.pb").read_text() == "new"


def test_what_goes_wrong_leaves_the_old_version_and_nothing_else(tmp_path):
    path = tmp_path / "model" / "1"
    put(path, text="old")
    for overwrite in (False, True):
        with pytest.raises(OSError, match="disk full"):
            write_half(path, overwrite)
    assert (path / "saved_model.pb").read_text() == "old"
    assert names(tmp_path / "model") == ["1"]


def test_while_it_is_written_a_server_sees_the_old_version_alone(tmp_path):
    path = tmp_path / "model" / "1"
    put(path, text="old")
    with VersionFolder(path).write(overwrite=True) as new:
        new.mkdir()
        assert [name for name in names(path.parent) if name.isdecimal()] == ["1"]
        assert (path / "saved_model.pb").read_text() == "old"
        (new / "saved_model.pb").write_text("new")
    assert (path / "saved_model.pb").read_text() == "new"
    assert names(path.parent) == ["1"]


def test_a_rename_that_fails_puts_the_old_version_back(tmp_path):
    path = tmp_path / "model" / "1"
    put(path, text="old")
    with pytest.raises(FileNotFoundError), VersionFolder(path).write(overwrite=True):
        pass  # nothing was written, so there is nothing to rename
    assert (path / "saved_model.pb").read_text() == "old"
    assert names(path.parent) == ["1"]


def test_replacing_needs_overwrite(tmp_path):
    path = tmp_path / "model" / "1"
    put(path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        VersionFolder(path).check_free(overwrite=False)
    VersionFolder(path).check_free(overwrite=True)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        put(path, text="newer")  # it came while the other was written
    assert (path / "saved_model.pb").read_text() == "new"
    put(path, overwrite=True, text="newer")
    assert (path / "saved_model.pb").read_text() == "newer"


def test_a_file_is_no_version(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "1").touch()
    with pytest.raises(FileExistsError, match="is a file"):
        VersionFolder(tmp_path / "model" / "1").check_free(overwrite=True)


PATHS = ["digits", "digits/v1", "digits/01", "digits/0", "digits/-1", "1", "../a b/1", "b/../1"]


@pytest.mark.parametrize("path", PATHS)
def test_the_last_part_is_a_version_number(path, tmp_path, monkeypatch):
    (tmp_path / "a name with spaces").mkdir()
    monkeypatch.chdir(tmp_path / "a name with spaces")
    with pytest.raises(ValueError, match="filepath must"):
        VersionFolder(path)
    with pytest.raises(TypeError, match="filepath must be a path"):
        VersionFolder(1)


def test_configurations_of_one_s_own_are_kept(tmp_path):
    folder = VersionFolder(tmp_path / "model" / "1")
    folder.path.mkdir(parents=True)
    (folder.path.parent / "batching.config").write_text("mine")
    folder.write_configs(256)
    assert (folder.path.parent / "batching.config").read_text() == "mine"
    assert names(folder.path.parent) == ["1", "batching.config", "models.config"]


def test_what_is_no_version_is_never_replaced(tmp_path):
    """Photographs of a year, say, though `overwrite` is given."""
    path = tmp_path / "photos" / "2024"
    path.mkdir(parents=True)
    VersionFolder(path).check_free(overwrite=True)  # an empty folder loses nothing
    (path / "a.jpg").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something else than a version of a model"):
        put(path, overwrite=True)
    assert names(path) == ["a.jpg"]
    assert names(path.parent) == ["2024"]
