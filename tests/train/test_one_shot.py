import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pandas.testing import assert_frame_equal

from mf_keras.data import algorithmic, omniglot
from tests.train.small import without
from train import one_shot
from train.one_shot import Options
from train.runs import options as shared_options
from train.runs.folder import RunFolder

_CELL = "--controller-units 4 --memory-size 4 --word-size 2 --num-reads 2"
_TASK = "--steps 4 --classes 2 --shots 2 --image-size 4 --batch-size 2 --checkpoint-intervals 1"
SIZES = [*_CELL.split(), *_TASK.split(), "--learning-rate", "1e-2"]


@pytest.fixture
def small(monkeypatch):
    """Synthetic characters, intervals of two batches, nothing compiled."""

    def episodes(split, classes, shots, image_size, seed=0, data_dir=None):
        rng = np.random.default_rng(len(split))
        images = rng.integers(0, 256, (6, 20, 2 * image_size, 2 * image_size), "uint8")
        return omniglot._episodes(images, classes, shots, False, False, seed)

    monkeypatch.setattr(algorithmic, "_LARGEST_BLOCK", 20)
    monkeypatch.setattr(one_shot.data, "omniglot_episodes", episodes)
    for module in (one_shot, shared_options):
        monkeypatch.setattr(module, "INTERVAL", 2)
    monkeypatch.setattr(one_shot, "TEST_EPISODES", 3)
    monkeypatch.setattr(one_shot, "WATCHED_EPISODES", 3)
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def rows_of(path, seed=0):
    return RunFolder.open(path, Options)[0].history(f"seed_{seed}.csv")


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions")
def test_runs_leave_tables_and_pictures_and_are_resumed_to_the_same_rows(
    small, tmp_path, monkeypatch
):
    one_shot.main([*SIZES, "--out", str(tmp_path / "mann")])
    for name in ("accuracy.png", "learning.png", "seed_0.png"):
        assert (tmp_path / "mann" / name).stat().st_size > 1000
    rows = rows_of(tmp_path / "mann")
    assert {"nll", "token_errors", "accuracy_1", "accuracy_2", "seconds"} <= set(rows)
    results = json.loads((tmp_path / "mann" / "results.json").read_text())
    assert len(results["0"]["test"]) == len(results["nearest neighbour"]) == 2
    assert keras.models.load_model(tmp_path / "mann" / "seed_0.keras").units == 2

    config = tmp_path / "mann" / "config.json"  # as of another method
    config.write_text(json.dumps({**json.loads(config.read_text()), "method": "dnc"}))
    again = [*SIZES, "--out", str(tmp_path / "again"), "--beside", str(tmp_path / "mann")]
    with pytest.raises(SystemExit, match="has another --classes than this run"):
        one_shot.main([*again, "--classes", "3"])
    on_epoch_end = one_shot.Watch.on_epoch_end

    def stop(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(one_shot.Watch, "on_epoch_end", stop)
        with pytest.raises(SystemExit, match="stopped and saved; to resume"):
            one_shot.main(again)
    one_shot.main(["--resume", str(tmp_path / "again")])
    assert_frame_equal(without(rows_of(tmp_path / "again")), without(rows))
    found = pd.read_csv(tmp_path / "again" / "accuracy.csv")
    assert found["method"].tolist() == ["mann", "dnc", "nearest neighbour"]


def test_presentations_are_counted_and_accuracies_taken_by_them():
    targets = np.array([[0, 1, 0, 0, 1], [1, 1, 1, 0, 0]])
    np.testing.assert_array_equal(
        one_shot.presentations(targets), [[0, 0, 1, 2, 1], [0, 1, 2, 0, 1]]
    )
    answers = np.array([[0, 0, 0, 1, 1], [0, 1, 1, 1, 1]])
    shares = one_shot.accuracy_by_presentation(answers, targets)
    # First: 1 of 4. Second: right, right, right, wrong. Third: wrong, right.
    assert shares == [0.25, 0.75, 0.5]


def test_the_nearest_neighbour_is_the_most_similar_image_before():
    images = np.array([[[1.0, 0.0], [0.0, 1.0], [3.0, 0.3], [0.2, 2.0], [0.0, 0.0]]])
    targets = np.array([[2, 1, 2, 1, 0]])
    answers = one_shot.nearest_neighbours(images, targets)
    np.testing.assert_array_equal(answers[:, :4], [[0, 2, 2, 1]])


@pytest.mark.parametrize("method", one_shot.METHODS)
def test_every_method_has_a_cell_of_the_classes(method):
    cell = Options(method=method, classes=3).make_cell()
    assert cell.units == 3
    assert cell.hidden_size == 100
    config = json.loads(json.dumps(cell.get_config()))
    assert type(cell).from_config(config).get_config() == cell.get_config()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--method lstm --strengths", "goes with --method mann"),
        ("--method lstm --memory-size 9", "--memory-size: --method lstm has no memory"),
        ("--steps 3", "must be a multiple of"),
        ("--method gru", "invalid choice"),
        ("--shots 0", "must be an integer >= 1"),
    ],
)
def test_refuses_options_that_do_not_go_together(words, message, capsys):
    with pytest.raises(SystemExit):
        Options.parse(words.split())
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--shots", "21"], ["--data-dir", "nowhere"]])
def test_refuses_data_that_do_not_exist_before_a_folder_is_made(words, tmp_path):
    with pytest.raises(SystemExit, match=r"error: (shots|data_dir) must be"):
        one_shot.main([*words, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
