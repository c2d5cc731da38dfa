import json

import numpy as np
import pytest
import tensorflow as tf

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


@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions")
def test_a_run_has_a_result_of_every_method(small, tmp_path, capsys):
    folder = tmp_path / "run"
    memory_reward.main([*SIZES.split(), "--out", str(folder)])
    results = json.loads((folder / "results.json").read_text())
    assert set(results) == {f"0-{method}" for method in memory_reward.METHODS}
    assert all(0.0 <= each["right"] <= 1.0 for each in results.values())
    for name in ("seed_0-memory.csv", "results.csv"):
        assert "right" in (folder / name).read_text()
    assert "untrained: " in capsys.readouterr().out
    memory_reward.main(["--resume", str(folder)])
    assert json.loads((folder / "results.json").read_text()) == results


def test_episodes_are_right_by_their_last_actions():
    tasks = np.float32([[1, 0], [1, 1]])
    actions = np.zeros((2, 4, 1))
    actions[:, 2:, 0] = [[1, 0], [1, 0]]
    copy = memory_reward.Options(environment="copy", length=2)
    assert memory_reward.right_share(copy, tasks, actions) == 0.5
    chain = memory_reward.Options(environment="chain", length=2)
    answers = np.array([[0, 1], [0, 0]])
    assert memory_reward.right_share(chain, tasks[:, :1], answers) == 0.5
