import contextlib
import json
import re

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pandas.testing import assert_frame_equal

from tests.train.small import without
from train import rl_ntm
from train.runs.folder import RunFolder

SIZES = "--length 2 --symbols 4 --controller-units 3 --memory-size 5 --batch-size 4 --updates 4"


@pytest.fixture
def small(monkeypatch):
    """Nothing is compiled."""
    monkeypatch.setattr(rl_ntm, "INTERVAL", 2)
    monkeypatch.setattr(rl_ntm, "TEST_EXAMPLES", 3)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions")
def test_a_run_leaves_rows_policies_and_pictures_and_goes_on(small, tmp_path, capsys):
    folder = tmp_path / "run"
    rl_ntm.main([*SIZES.split(), "--task", "repeat_copy", "--out", str(folder)])
    for name in ("seed_0.png", "seed_0.keras"):
        assert (folder / name).stat().st_size > 1000
    rows = RunFolder.open(folder, rl_ntm.Options)[0].history("seed_0.csv")
    assert rows["update"].tolist() == [2, 4]
    assert {"level", "level_errors", "symbol_errors", "return", "entropy", "seconds"} <= set(rows)
    results = json.loads((folder / "results.json").read_text())
    assert len(results["0"]["errors"]) == 2
    text = capsys.readouterr().out
    assert "seeds succeeded" in text
    lines = re.split(r"[\n\r\b]", re.sub(r"\x1b\[\d+m", "", text))
    assert any("level_errors: " in line for line in lines)
    assert max(map(len, lines)) <= 100
    rl_ntm.main(["--resume", str(folder)])  # nothing is left to do
    assert json.loads((folder / "results.json").read_text()) == results
    with pytest.raises(SystemExit, match="exists and is not empty"):
        rl_ntm.main(["--out", str(folder)])
    resumes(folder, tmp_path / "interrupted")


def resumes(folder, other):
    """A run that is interrupted in a test, and in the second interval, ends as the one before."""
    words = ["--resume", str(other)]
    with interrupted_after(rl_ntm, "errors_of", 1):
        rl_ntm.main([*SIZES.split(), "--task", "repeat_copy", "--out", str(other)])
    with interrupted_after(rl_ntm.Reinforce, "train_on_batch", 1):
        rl_ntm.main(words)
    rl_ntm.main(words)
    rows = [pd.read_csv(run / "seed_0.csv") for run in (folder, other)]
    assert_frame_equal(without(rows[0]), without(rows[1]), check_exact=True)
    models = [keras.models.load_model(run / "seed_0.keras") for run in (folder, other)]
    for a, b in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    results = [json.loads((run / "results.json").read_text())["0"] for run in (folder, other)]
    assert results[0]["errors"] == results[1]["errors"]
    assert not list(other.glob("*-last.keras"))


@contextlib.contextmanager
def interrupted_after(owner, name, calls):
    """Ctrl-C at the end of a call of a function."""
    function, seen = getattr(owner, name), []

    def interrupt(*args, **kwargs):
        function(*args, **kwargs)
        seen.append(name)
        if len(seen) == calls:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, interrupt)
        with pytest.raises(SystemExit, match="stopped and saved; to resume: python"):
            yield


def test_the_curriculum_has_its_shares():
    random = np.random.default_rng(0)
    levels = rl_ntm.curriculum(3, 20_000, 10, random)
    assert levels.min() == 1
    assert levels.max() == 10
    # Any level 0.1; of the rest a quarter up to level + e; else level + e, e = 0 for a half.
    below = (levels < 3).mean()
    assert 0.1 * 0.2 < below < 0.1 * 0.2 + 0.9 * 0.25 * 2 / 3
    assert (levels == 3).mean() > 0.9 * 0.75 * 0.5


def test_refuses_options_that_do_not_go_together():
    for words in (
        ["--updates", "30"],
        ["--repeats", "4"],
        ["--symbols", "2"],
        ["--task", "reverse", "--repeats", "3"],
    ):
        with pytest.raises(SystemExit):
            rl_ntm.Options.parse(words)
