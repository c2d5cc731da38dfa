import json
import uuid

import keras
import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.train.small import COPYING, SIZES, without
from train import copy_task
from train.copy_task import Options
from train.runs.folder import RunFolder


def test_a_run_leaves_results_weights_and_pictures(small, copy_run):
    results = json.loads((copy_run / "results.json").read_text())["0"]
    rows = RunFolder.open(copy_run, Options)[0].history("seed_0.csv")
    assert 0 < results["correct_predictions"] < results["predictions"] == 8
    assert rows["correct_predictions"].sum() == results["correct_predictions"]
    assert set(results["test"]) == {"1"}
    assert keras.models.load_model(copy_run / "seed_0.keras").units == 1
    for name in ("nll.png", "discriminator.png"):
        assert (copy_run / name).stat().st_size > 1000


def test_accuracies_are_drawn_from_where_a_discriminator_played(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(copy_task.plots, "curves", lambda series, *labels: drawn.append(series))
    monkeypatch.setattr(RunFolder, "save_figure", lambda *arguments: None)
    folder = RunFolder(tmp_path, Options())
    rows = "epoch,nll,discriminator_accuracy\n0,2,0\n1,1,0\n2,1,0.75\n"
    (folder / "seed_0.csv").write_text(rows)
    copy_task.draw(folder, [0])
    assert drawn[1] == {"seed 0": ([3], [0.75])}


def test_trains_every_seed(small, monkeypatch, tmp_path):
    trained = []

    def train(model, options, seed, folder):
        trained.append(seed)
        rows = "epoch,correct_predictions,nll,seconds\n0,3,0.5,1\n1,4,0.25,1\n2,2,0.125,1\n"
        (folder / f"seed_{seed}.csv").write_text(rows)

    monkeypatch.setattr(copy_task, "train", train)
    monkeypatch.setattr(copy_task, "evaluate", lambda *arguments: {})
    out = tmp_path / "run"
    sizes = ["--steps", "6", "--batch-size", "2", *SIZES]
    copy_task.main(["--seeds", "2", "--first-seed", "4", *sizes, "--out", str(out)])
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {"4", "5"}
    assert all(result["correct_predictions"] == 9 for result in results.values())
    del results["5"]
    (out / "results.json").write_text(json.dumps(results))
    copy_task.main(["--resume", str(out)])
    assert trained == [4, 5, 5]  # a finished seed is not trained again


def test_options_reach_the_model():
    words = (
        "--method positive_negative --weight 10 --no-gate --capacity 7 --discriminator-batch 3 "
        "--discriminator-learning-rate 0.5 --final-memory --learning-rate 0.25"
    )
    options = Options.parse([*words.split(), *SIZES])
    model, other = (copy_task.make_model(options, seed) for seed in (4, 5))
    player, cell = model.adversaries["memory"], model.transducer.cell
    assert (model.cost_weights["memory"], model.gate, model.seed) == (10.0, None, 4)
    assert (model.replay.capacity, model.discriminator_batch, model.final_memory) == (7, 3, True)
    rates = [float(each.optimizer.learning_rate) for each in (player, model)]
    assert rates == [0.5, 0.25]
    assert cell.memory_size == 3
    kernels = [np.array(each.transducer.cell.interface.kernel) for each in (model, other)]
    assert (kernels[0] != kernels[1]).any()
    assert (model.steps_per_execution, model.jit_compile) == (200, True)


def test_first_interval_of_95_percent():
    history = pd.DataFrame(
        {
            "correct_predictions": [10.0, 949.0, 951.0],
            "nll": [3.0, 2.0, 1.0],
            "seconds": [1.5, 1.5, 1.5],
        }
    )
    summary = copy_task.summarize(history, batch_size=1)
    assert summary["steps_to_95_percent"] == 3000
    assert (summary["correct_predictions"], summary["predictions"]) == (1910, 3000)
    assert (summary["last_nll"], summary["seconds"]) == (1.0, 4.5)
    assert copy_task.summarize(history, batch_size=2)["steps_to_95_percent"] is None


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) >= 3:
            raise KeyboardInterrupt


@pytest.mark.long
def test_an_interrupted_run_resumes_to_the_same_numbers(small, monkeypatch, copy_run, tmp_path):
    path = tmp_path / "interrupted"
    with monkeypatch.context() as patch:
        patch.setattr(copy_task.callbacks, "StopOnNonFinite", Interrupt)
        with pytest.raises(SystemExit, match=r"--resume .*interrupted"):
            copy_task.main([*COPYING, "--out", str(path)])
    assert (path / "seed_0-last.keras").exists()
    (path / f".{uuid.uuid4().hex}.seed_0-last.keras").write_bytes(b"half")
    copy_task.main(["--resume", str(path)])
    assert {p.name for p in path.iterdir()} == {p.name for p in copy_run.iterdir()}
    runs = (copy_run, path)
    results = [json.loads((run / "results.json").read_text())["0"] for run in runs]
    for result in results:
        del result["seconds"]
    assert results[0] == results[1]
    models = [keras.models.load_model(run / "seed_0.keras") for run in runs]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [RunFolder.open(run, Options)[0].history("seed_0.csv") for run in runs]
    assert_frame_equal(without(rows[0]), without(rows[1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "positive_negative", "--capacity", "8"], "--capacity: must be above the 8"),
        (["--first-seed", str(2**32 - 1), "--seeds", "2"], "last seed must be below 2^32"),
        (["--steps", "1500"], "multiple of 1000"),
    ],
)
def test_refuses_options_that_would_fail_later(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        copy_task.main([*options, "--out", str(tmp_path / "run")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_refuses_what_is_no_run_of_it(tmp_path):
    (tmp_path / "config.json").write_text('{"dataset": "digits"}')
    with pytest.raises(SystemExit, match=r"is no run of train\.copy_task"):
        copy_task.main(["--resume", str(tmp_path)])
    with pytest.raises(SystemExit, match="exists and is not empty"):
        copy_task.main(["--out", str(tmp_path)])
