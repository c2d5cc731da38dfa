"""A training in intervals ends with the same rows, wherever it was interrupted."""

import re

import numpy as np
import pytest

from tests.small import binary
from tests.train.runs.quick import make_model
from train.runs.folder import RunFolder
from train.runs.intervals import Intervals, ProgressBar
from train.sequence_generation import Options

STEPS = 2
BATCHES = binary(6, 2, 3, 1)


class Run:
    """A training of three intervals, or the rest of it, which a call may interrupt."""

    def __init__(self, path, interrupted=None, count=3):
        folder = RunFolder.open(path, Options)[0] if path.exists() else RunFolder(path, Options())
        self.interrupted = interrupted
        self.intervals = Intervals(make_model(), folder, "seed_0", count, STEPS, ("nll", "tested"))
        self.model = self.intervals.model

    def go_on(self, **options):
        self.intervals.run(self._advance, self._measure, **options)

    def _advance(self, interval, done):
        if not done:
            self.model.reset_metrics()
        for step in range(interval * STEPS + done, (interval + 1) * STEPS):
            self._reach("step", step)
            self.model.train_on_batch(BATCHES[step])

    def _measure(self, interval, logs):
        self.model.reset_metrics()  # as an evaluation does
        self._reach("test", interval)
        return {"nll": logs["nll"], "tested": float(interval)}

    def _reach(self, name, number):
        if self.interrupted == (name, number):
            raise KeyboardInterrupt


def rows(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.intervals.rows]


@pytest.mark.parametrize("moment", [("step", 0), ("step", 3), ("test", 0), ("test", 2)])
def test_an_interrupted_training_ends_as_one_that_was_not(moment, tmp_path):
    whole = Run(tmp_path / "whole")
    whole.go_on()
    assert len({row["nll"] for row in rows(whole)}) == 3
    cut = Run(tmp_path / "cut", moment)
    with pytest.raises(KeyboardInterrupt):
        cut.go_on()
    resumed = Run(tmp_path / "cut")
    resumed.go_on()
    assert rows(resumed) == rows(whole)
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (tmp_path / "cut" / "seed_0-last.keras").exists()
    resumed.intervals.finish()
    assert not list((tmp_path / "cut").glob("*.keras"))


def test_it_ends_after_a_row_that_passes(tmp_path):
    run = Run(tmp_path / "run")
    run.go_on(ends=lambda row: row["tested"] == 1.0)
    assert [row["tested"] for row in run.intervals.rows] == [0.0, 1.0]
    assert run.model.trained_steps == 2 * STEPS


def test_the_bar_shows_the_logs_that_there_are(capsys):
    bar = ProgressBar(4, ("nll", "nothing"), unit="step")
    bar.update(4, {"nll": 2.5, "loss": 3.5})
    printed = re.sub(r"\x1b\[[0-9;]*m|\x08", "", capsys.readouterr().out)
    assert "4/4" in printed
    assert "nll: 2.5" in printed
    assert "loss" not in printed
