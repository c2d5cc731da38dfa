import json
import shutil

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from pandas.testing import assert_frame_equal

from tests.train.small import without
from train import kanerva
from train.kanerva import Options
from train.runs import options as shared_options
from train.runs.folder import RunFolder

_MODEL = "--memory-size 2 --code-size 3 --hidden-units 4 --set-size 2"
_TASK = "--steps 2 --batch-size 2 --checkpoint-intervals 1 --learning-rate 1e-2"
SIZES = [*_MODEL.split(), *_TASK.split()]


def random_images(n, probability):
    return (np.random.default_rng(n).random((n, 4, 4)) < probability).astype("uint8")


@pytest.fixture
def small(monkeypatch):
    """Synthetic images of 4 x 4, intervals of one batch, nothing compiled."""
    images = {"train": random_images(9, 0.2), "test": random_images(7, 0.2)}
    monkeypatch.setattr(kanerva, "load", lambda options: images)
    monkeypatch.setattr(kanerva, "SHAPE", (4, 4))
    for module in (kanerva, shared_options):
        monkeypatch.setattr(module, "INTERVAL", 1)
    monkeypatch.setattr(kanerva, "ITERATIONS", 2)
    monkeypatch.setattr(kanerva, "told_apart", lambda real, fake, seed: 0.5)
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
    forcing = ["--forcing", "--no-gate", "--code-posterior"]
    kanerva.main([*SIZES, *forcing, "--out", str(tmp_path / "whole")])
    for name in ("learning.png", "recall.png", "seed_0-recall.png", "seed_0-samples.png"):
        assert (tmp_path / "whole" / name).stat().st_size > 1000
    rows = rows_of(tmp_path / "whole")
    assert {"bound", "val_conditional_bound", "c_m", "seconds"} <= set(rows)
    machine = keras.models.load_model(tmp_path / "whole" / "seed_0.keras")
    assert machine.memory.memory_size == 2

    shutil.copytree(tmp_path / "whole", tmp_path / "gated")
    config = tmp_path / "gated" / "config.json"  # as of another variant
    config.write_text(json.dumps({**json.loads(config.read_text()), "no_gate": False}))
    again = [*SIZES, *forcing, "--out", str(tmp_path / "again")]
    beside = ["--beside", str(tmp_path / "gated")]
    with pytest.raises(SystemExit, match="has another --flipped than this run"):
        kanerva.main([*again, "--flipped", "0.2", *beside])
    on_epoch_end = kanerva.Progress.on_epoch_end

    def stop(self, epoch, logs=None):
        on_epoch_end(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(kanerva.Progress, "on_epoch_end", stop)
        with pytest.raises(SystemExit, match="stopped and saved; to resume"):
            kanerva.main([*again, *beside])
    kanerva.main(["--resume", str(tmp_path / "again")])
    assert_frame_equal(without(rows_of(tmp_path / "again")), without(rows))
    found = pd.read_csv(tmp_path / "again" / "bounds.csv")
    name = "kanerva --code-posterior --forcing --no-gate"
    gated = name.removesuffix(" --no-gate")
    assert found["method"].tolist()[:3] == [name, gated, "KM, published"]
    ours = found[found["method"] == name]
    total = ours[["nll", *(f"{of}_divergence" for of in ("weights", "codes", "memory"))]].sum(
        axis=1
    )
    np.testing.assert_allclose(ours["bound"], total, rtol=1e-4)
    results = json.loads((tmp_path / "again" / "results.json").read_text())
    assert len(results["0"]["wrong_pixels"]) == 3


def test_sets_of_the_test_are_fixed_and_those_of_the_training_a_function_of_the_seed():
    images, options = random_images(11, 0.5), Options(set_size=3, batch_size=2)
    images[:, 0, 0] = range(11)
    kanerva_shape, kanerva.SHAPE = kanerva.SHAPE, (4, 4)
    try:
        sets = kanerva.fixed_sets(images, options)
    finally:
        kanerva.SHAPE = kanerva_shape
    assert sets.shape == (3, 3, 4, 4)
    assert len(set(sets[..., 0, 0].ravel())) == 9
    first, again = (
        next(iter(kanerva.training_sets(images, options, 5).skip(2))).numpy() for _ in range(2)
    )
    other = next(iter(kanerva.training_sets(images, options, 6).skip(2))).numpy()
    np.testing.assert_array_equal(first, again)
    assert first.shape == (2, 3, 4, 4)
    assert not np.array_equal(first, other)


def test_corrupting_flips_a_share_of_the_pixels():
    images = random_images(400, 0.2).astype("float32")
    noisy = kanerva.corrupted(images, 0.15)
    assert set(np.unique(noisy)) == {0.0, 1.0}
    assert np.mean(noisy != images) == pytest.approx(0.15, abs=0.02)


def test_the_published_nll_is_that_of_the_mean_codes():
    class Machine:
        def reconstruct(self, x):
            return tf.constant(np.full(x.shape, 0.75, "float32"))

    sets = np.zeros((3, 2, 4, 4), "float32")
    sets[:, 0] = 1.0
    expected = -8 * (np.log(0.75) + np.log(0.25))
    assert kanerva.nll_undrawn(Machine(), sets) == pytest.approx(expected, rel=1e-5)


def test_another_memory_is_that_of_the_set_before():
    options = Options(memory_size=3, code_size=4, hidden_units=5, set_size=2, noise=1e-3)
    machine = kanerva.make_model(options, 0)
    sets = (np.random.default_rng(0).random((3, 2, *kanerva.SHAPE)) < 0.2).astype("float32")
    machine.log_sigma.assign(-30.0)
    seen = []
    machine.losses_of = lambda x, codes, written: (
        seen.append((x, codes, written)) or {"conditional_bound": tf.constant([1.0, 2.0, 3.0])}
    )
    assert kanerva.bound_elsewhere(machine, sets) == 2.0
    ((x, codes, written),) = seen
    own = machine.write(codes)
    np.testing.assert_array_equal(x, sets)
    np.testing.assert_array_equal(written.memory[1], own.memory[0])
    np.testing.assert_array_equal(written.covariance[0], own.covariance[2])


def test_a_fresh_classifier_tells_apart_what_differs():
    rng = np.random.default_rng(0)
    real, fake, other = rng.normal(size=(3, 200, 5))
    assert kanerva.told_apart(real, np.where(np.arange(5) < 1, fake, other + 2.0), 0) > 0.9
    assert kanerva.told_apart(real, fake, 0) < 0.65


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--memory none --forcing", "goes with --memory kanerva"),
        ("--no-gate", "goes with --forcing"),
        ("--memory none --memory-size 9", "--memory-size: goes with --memory kanerva"),
        ("--steps 3", "must be a multiple of"),
        ("--memory tape", "invalid choice"),
        ("--noise 0", "must be a number > 0"),
    ],
)
def test_refuses_options_that_do_not_go_together(words, message, capsys):
    with pytest.raises(SystemExit):
        Options.parse(words.split())
    assert message in capsys.readouterr().err


def test_refuses_data_that_do_not_exist_before_a_folder_is_made(tmp_path):
    with pytest.raises(SystemExit, match=r"error: data_dir must be"):
        kanerva.main(["--data-dir", "nowhere", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
