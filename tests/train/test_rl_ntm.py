import json

import numpy as np
import pytest
import tensorflow as tf

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
    assert "seeds succeeded" in capsys.readouterr().out
    rl_ntm.main(["--resume", str(folder)])  # nothing is left to do
    assert json.loads((folder / "results.json").read_text()) == results
    with pytest.raises(SystemExit, match="exists and is not empty"):
        rl_ntm.main(["--out", str(folder)])


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
    for words in (["--updates", "30"], ["--repeats", "4"], ["--symbols", "2"]):
        with pytest.raises(SystemExit):
            rl_ntm.Options.parse(words)
