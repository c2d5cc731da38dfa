"""However a run is interrupted, it resumes to the same weights and rows."""

import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.kills import content
from mf_keras import callbacks, checkpoints, files
from tests.small import binary
from tests.train.runs.quick import SKIPPED, make_model
from train.runs import resuming
from train.runs.folder import RunFolder
from train.sequence_generation import Options

EPOCHS, PER_EPOCH = 3, 4
BATCHES = binary(EPOCHS * PER_EPOCH, 2, 3, 1)


class Killed(BaseException):
    """Nothing catches it, so nothing runs after it, as after a kill."""


class Break(keras.callbacks.Callback):
    """Raises at a moment: ("batch" | "validation" | "epoch", the how manieth)."""

    def __init__(self, moment, error):
        super().__init__()
        self.moment, self.error, self.seen = moment, error, dict.fromkeys(MOMENTS, 0)

    def _reached(self, name):
        self.seen[name] += 1
        if self.moment == (name, self.seen[name]):
            raise self.error

    def on_train_batch_end(self, batch, logs=None):
        self._reached("batch")

    def on_test_batch_end(self, batch, logs=None):
        self._reached("validation")

    def on_epoch_end(self, epoch, logs=None):
        self._reached("epoch")


MOMENTS = ("batch", "validation", "epoch")


def run(path, broken=None, place=0, every=2, batches=BATCHES):
    """A run, or the rest of one, in this process; `broken` is a callback that ends it early."""
    if path.exists():
        folder, _ = RunFolder.open(path, Options)
        folder.remove_left_over()
    else:
        folder = RunFolder(path, Options())
    new = make_model()
    model = checkpoints.load_latest(folder / "last.keras", like=new)
    model = new if model is None else model
    resuming.cut_history(folder, "history.csv", model.trained_steps, PER_EPOCH)
    known = folder.history("history.csv")
    best = callbacks.SaveBest(folder / "best.keras", model.generator)
    best.best = known["val_nll"].min() if len(known) else np.inf
    stream = tf.data.Dataset.from_tensor_slices(batches)
    with folder.csv_logger("history.csv") as logger:
        called = [best, logger]
        if broken:
            called.insert(place, broken)
        resuming.fit_from_checkpoint(
            model,
            stream,
            PER_EPOCH,
            EPOCHS,
            len(known),
            callbacks.Checkpoint(folder / "last.keras", every=every),
            callbacks=called,
            validation_data=tf.data.Dataset.from_tensor_slices(binary(2, 2, 3, 1, seed=1)),
            verbose=0,
        )


def rows(path):
    """The history but for the seconds."""
    found = RunFolder.open(path, Options)[0].history("history.csv")
    return found.drop(columns="seconds", errors="ignore").to_dict("records")


def assert_same(whole, broken):
    names = {path.name for path in whole.iterdir()}
    assert {path.name for path in broken.iterdir()} == names
    assert rows(broken) == rows(whole)
    for name in ("last.keras", "best.keras"):
        expected, found = content(whole / name), content(broken / name)
        assert set(found) == set(expected)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "whole"
    run(path)
    assert len((path / "history.csv").read_text().splitlines()) == 1 + EPOCHS
    return path


@pytest.mark.long
@pytest.mark.parametrize(
    ("moment", "place", "error", "every"),
    [
        (("batch", 1), 0, Killed, 2),  # before the first checkpoint
        (("batch", 7), 0, Killed, 2),  # inside an epoch
        (("batch", 8), 2, KeyboardInterrupt, 2),  # its last step
        (("validation", 3), 0, Killed, 2),  # its last step was saved
        (("epoch", 2), 1, KeyboardInterrupt, 3),  # after the best is kept, before its row
        (("epoch", 2), 2, Killed, 3),  # before the checkpoint of what has its row already
        (("epoch", 3), 2, KeyboardInterrupt, 3),  # the last
    ],
)
def test_resumes_to_the_same_files(whole, tmp_path, moment, place, error, every):
    broken = tmp_path / "run"
    with pytest.raises(error):
        run(broken, Break(moment, error), place, every)
    run(broken)
    assert_same(whole, broken)


def test_ctrl_c_loses_no_step(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", Break(("batch", 7), KeyboardInterrupt))
    model = checkpoints.load(tmp_path / "run" / "last.keras")
    assert int(model.optimizer.iterations) == 7


@pytest.mark.long
def test_twice_broken_in_one_epoch(whole, tmp_path):
    """The second time while the epoch's validation is made up for."""
    for moment in (("validation", 1), ("validation", 2), ("batch", 1)):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", Break(moment, KeyboardInterrupt))
    run(tmp_path / "run")
    assert_same(whole, tmp_path / "run")


@pytest.mark.long
def test_skipped_updates_count_as_steps(tmp_path):
    """No optimizer counts them, but their batches are used up and their epoch continues."""
    batches = BATCHES.copy()
    batches[[1, 5]] = SKIPPED
    run(tmp_path / "whole", batches=batches)
    with pytest.raises(Killed):
        run(tmp_path / "broken", Break(("batch", 7), Killed()), every=1, batches=batches)
    run(tmp_path / "broken", every=1, batches=batches)
    assert [row["skipped_updates"] for row in rows(tmp_path / "broken")] == [1.0, 1.0, 0.0]
    assert_same(tmp_path / "whole", tmp_path / "broken")


@pytest.mark.long
@pytest.mark.parametrize("damage", ["cut short", "foreign", "missing"])
def test_falls_back_to_the_checkpoint_before(whole, tmp_path, damage):
    broken = tmp_path / "run"
    with pytest.raises(Killed):
        run(broken, Break(("batch", 9), Killed))  # checkpoints of steps 8, twice
    with pytest.raises(Killed):
        run(broken, Break(("batch", 3), Killed))  # of steps 8 and 10
    last = broken / "last.keras"
    if damage == "missing":  # killed between two renames
        last.unlink()
        run(broken)
    else:
        if damage == "foreign":
            last.write_bytes((broken / "best.keras").read_bytes())
            reason = "holds a SequenceGenerator, not a Quick"
        else:
            last.write_bytes(last.read_bytes()[:-5000])
            reason = "last.keras cannot be loaded: it is cut short"
        bad = last.read_bytes()
        with pytest.warns(UserWarning, match=rf"{reason}.* resuming from .*last\.previous\.keras"):
            run(broken)
        moved = broken / "last.unusable-1.keras"
        assert moved.read_bytes() == bad
        moved.unlink()
    assert_same(whole, broken)


@pytest.mark.parametrize("renames", [0, 1])
def test_ctrl_c_in_a_save(whole, tmp_path, monkeypatch, renames):
    """In the middle of a checkpoint: before its first rename, and between the two."""
    broken, replace, seen = tmp_path / "run", os.replace, []

    def interrupted(source, target):
        if "last" in str(target) and (broken / "last.previous.keras").exists():
            seen.append(target)
            if len(seen) == renames + 1:
                raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(broken)
    assert len(seen) > renames
    assert (broken / "last.keras").exists()  # saved again after the interruption
    assert not list(broken.glob(".*"))
    run(broken)
    assert_same(whole, broken)


KILLED = """
import os, pathlib, signal, sys
from tests.train.runs.test_resuming import run

left, replace = 4, os.replace

def killed(*arguments):
    global left
    left -= "last" in str(arguments)
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*arguments)

os.replace = killed
run(pathlib.Path(sys.argv[1]))
"""


@pytest.mark.long
def test_a_real_kill_while_a_checkpoint_is_written(whole, tmp_path):
    """The first is renamed once, the others twice: killed between the renames of the third."""
    broken = tmp_path / "run"
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(broken)],
        cwd=pathlib.Path(__file__).parents[3],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert {path.name for path in broken.glob("last*")} == {"last.previous.keras"}
    assert len(list(broken.glob(".*.last.keras"))) == 1
    found = checkpoints.load_latest(broken / "last.keras", like=make_model())
    assert int(found.optimizer.iterations) == 4
    run(broken)
    assert_same(whole, broken)


@pytest.mark.parametrize("name", ["last.keras", "history.csv"])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(whole, tmp_path, monkeypatch, name):
    broken = tmp_path / "run"
    sync = os.fsync

    def full(descriptor):
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        if target.endswith(name) and len(list(broken.glob("last*"))) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        match = rf"{name} could not be written: No space left on device\."
        with pytest.raises(files.NotWrittenError, match=match):
            run(broken)
    assert (broken / "last.keras").exists()
    assert not list(broken.glob(".*"))
    run(broken)
    assert_same(whole, broken)


def test_a_row_that_was_cut_short_is_written_again(whole, tmp_path):
    broken = tmp_path / "run"
    with pytest.raises(Killed):
        run(broken, Break(("epoch", 2), Killed), 1)  # step 8 is saved, its row is not written
    with (broken / "history.csv").open("ab") as file:
        file.write(b"1,0.5,2.")
    assert len(RunFolder.open(broken, Options)[0].history("history.csv")) == 1
    run(broken)
    assert_same(whole, broken)


def test_rows_follow_those_of_other_columns(whole, tmp_path):
    broken = tmp_path / "run"
    with pytest.raises(Killed):
        run(broken, Break(("batch", 7), Killed))
    history = RunFolder.open(broken, Options)[0] / "history.csv"
    lines = [line.split(",") for line in history.read_text().splitlines()]
    place = lines[0].index("seconds")
    history.write_text("".join(",".join(x[:place] + x[place + 1 :]) + "\n" for x in lines))
    run(broken)
    assert_same(whole, broken)
    assert "seconds" not in history.read_text()


def test_a_history_that_lost_rows_is_refused(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "run", Break(("batch", 11), Killed))
    (tmp_path / "run" / "history.csv").unlink()
    with pytest.raises(resuming.MissingRowsError, match=r"has 0 of the 2 rows .* of step 10"):
        run(tmp_path / "run")


def test_a_history_whose_checkpoint_is_gone_is_refused_and_stays(whole, tmp_path):
    kept = shutil.copytree(whole, tmp_path / "run")
    checkpoints.remove(kept / "last.keras")
    before = {file.name: file.read_bytes() for file in kept.iterdir()}
    with pytest.raises(resuming.MissingRowsError, match=r"has 3 rows, but there is no checkpoint"):
        run(kept)
    assert before == {file.name: file.read_bytes() for file in kept.iterdir()}


def test_a_row_before_the_first_checkpoint_is_written_again(whole, tmp_path):
    broken = tmp_path / "run"
    with pytest.raises(Killed):
        run(broken, Break(("epoch", 1), Killed), 2, every=None)  # the row is written, no checkpoint
    assert not (broken / "last.keras").exists()
    run(broken)
    assert_same(whole, broken)


def test_says_how_to_resume(capsys):
    command = "python -m x --resume y"
    for error, words in (
        (KeyboardInterrupt(), "stopped and saved; to resume: python -m x --resume y$"),
        (files.NotWrittenError("a.keras could not be written."), "a.keras .* intact; .*resume y$"),
        (FloatingPointError("w is not finite"), "error: w is not finite$"),
    ):
        with (
            pytest.raises(SystemExit, match=words),
            resuming.report_interruption(command),
        ):
            raise error
