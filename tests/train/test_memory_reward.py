import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pandas.testing import assert_frame_equal

from tests.train.small import interrupted, without
from train import memory_reward

SIZES = (
    "--controller-units 3 --memory-size 3 --word-size 2 --num-reads 1 --batch-size 4 --seeds 1 "
    "--updates 2 --length 1"
)


@pytest.fixture
def small(monkeypatch):
    """Nothing is compiled."""
    monkeypatch.setattr(memory_reward, "INTERVAL", 2)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions")
def test_a_run_has_a_result_of_every_method_and_resumes_within_an_interval(small, tmp_path, capsys):
    folder, other = tmp_path / "run", tmp_path / "interrupted"
    memory_reward.main([*SIZES.split(), "--out", str(folder)])
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {f"0-{method}" for method in memory_reward.METHODS}
    assert all(0.0 <= each["right"] <= 1.0 for each in results.values())
    assert "right" in (folder / "results.csv").read_text()
    text = capsys.readouterr().out
    assert "untrained: " in text
    assert "right: " in text  # in the progress bar
    memory_reward.main(["--resume", str(folder)])
    assert json.loads((folder / "results.json").read_text()) == results
    with interrupted(1):
        memory_reward.main([*SIZES.split(), "--methods", "memory", "--out", str(other)])
    memory_reward.main(["--resume", str(other)])
    rows = [pd.read_csv(run / "seed_0-memory.csv") for run in (folder, other)]
    assert_frame_equal(without(rows[0]), without(rows[1]), check_exact=True)
    assert not list(other.glob("*.keras"))


def test_copies_are_right_by_their_last_actions():
    tasks = np.float32([[1, 0], [1, 1]])
    actions = np.zeros((2, 4, 1))
    actions[:, 2:, 0] = [[1, 0], [1, 0]]
    copy = memory_reward.Options(environment="copy", length=2)
    assert memory_reward.right_share(copy, tasks, actions) == 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--updates 30", "--updates: must be a multiple of 20, at most 200000, got 30"),
        ("--methods none --bonus 9", "--bonus: --methods none has no bonus"),
        ("--first-seed 214740 --seeds 10", "--seeds: the last seed must be below 214748"),
    ],
)
def test_refuses_options_that_do_not_go_together(words, message, capsys):
    with pytest.raises(SystemExit):
        memory_reward.Options.parse(words.split())
    assert message in capsys.readouterr().err
