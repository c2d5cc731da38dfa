import json

import keras
import pytest

from train import copy_task

SMALL = ["--controller-units", "4", "--memory-size", "3", "--word-size", "2", "--num-reads", "1"]
TASK = ["--length", "2", "--width", "1", "--batch-size", "2", "--learning-rate", "1e-2"]


def test_counts_correct_predictions_for_every_seed(tmp_path):
    out = tmp_path / "run"
    copy_task.main(["--steps", "1000", "--seeds", "2", *TASK, *SMALL, "--out", str(out)])
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {"0", "1"}
    for seed, result in results.items():
        assert 0 < result["correct_predictions"] < result["predictions"] == 2000
        rows = (out / f"seed_{seed}.csv").read_text().splitlines()
        column = rows[0].split(",").index("correct_predictions")
        assert float(rows[1].split(",")[column]) == result["correct_predictions"]
        assert keras.models.load_model(out / f"seed_{seed}.keras").units == 1
    assert (out / "nll.png").stat().st_size > 1000


def test_first_window_of_95_percent():
    options = copy_task.parse_arguments(["--steps", "3000"])
    history = {"correct_predictions": [10.0, 949.0, 951.0], "nll": [3.0, 2.0, 1.0]}
    summary = copy_task.summarize(history, 1.0, options)
    assert summary["steps_to_95_percent"] == 3000
    assert summary["correct_predictions"] == 1910


def test_refuses_bad_options(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        copy_task.main(["--steps", "1500", "--out", str(tmp_path / "run")])
    assert "multiple of 1000" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="holds something already"):
        copy_task.main(["--out", str(tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "mine"
