import ast
import pathlib
import resource
import zipfile

import keras
import numpy as np
import pytest

from mf_keras import TeacherForcing, callbacks, checkpoints
from mf_keras.files import NotWrittenError
from tests.small import binary, small_generator


def test_keeps_the_best_epoch(tmp_path):
    generator = small_generator()
    best = callbacks.SaveBest(tmp_path / "best.keras", generator)
    best.set_model(generator)
    kept = None
    for epoch, nll in enumerate([3.0, 1.0, 2.0]):
        generator.trainable_variables[0].assign_add(np.ones((1,)) * 0.1)
        best.on_epoch_end(epoch, {"val_nll": nll})
        if nll == 1.0:
            kept = generator(binary(2, 4, 1)).numpy()
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded(binary(2, 4, 1)), kept)
    assert (best.best, best.best_epoch) == (1.0, 2)


def test_saves_under_fit(tmp_path):
    model = TeacherForcing(small_generator())
    model.compile(jit_compile=False)
    x = binary(4, 5, 1)
    best = callbacks.SaveBest(tmp_path / "best.keras")
    model.fit(x, validation_data=x, callbacks=[best], verbose=0)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.generator(x), model.generator(x))


def test_passes_over_epochs_without_a_validation(tmp_path):
    best = callbacks.SaveBest(tmp_path / "best.keras", small_generator())
    with pytest.warns(UserWarning, match="watches val_nll, but epoch 1 had no validation"):
        best.on_epoch_end(0, {"nll": 1.0})
    assert not (tmp_path / "best.keras").exists()
    best.on_epoch_end(1, {"nll": 1.0, "val_nll": 2.0})
    best.on_epoch_end(2, {"nll": 1.0})
    best.on_train_end()
    assert (best.best, best.best_epoch) == (2.0, 2)


def test_the_last_file_is_from_before_weights_are_averaged(tmp_path):
    """Keras overwrites them by their averages before training ends, and a resumed run would too."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True), "mse")
    seen = []
    keep = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(model.get_weights()))
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras", epochs=2)
    x = np.random.default_rng(0).normal(size=(64, 2))
    model.fit(x, x[:, :1], epochs=3, callbacks=[keep, checkpoint], verbose=0)
    saved = keras.models.load_model(tmp_path / "last.keras").get_weights()
    assert (saved[0] == seen[-1][0]).all()
    assert (model.get_weights()[0] != seen[-1][0]).any()


def test_a_failing_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("good")

    class Failing(keras.Model):
        def save(self, path):
            path.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save_model(Failing(), path)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_refuses_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.keras"):
        callbacks.SaveBest(tmp_path / "best.h5")
    with pytest.raises(ValueError, match=r"path must end in \.keras"):
        callbacks.Checkpoint(tmp_path / "last.KERAS")  # as Keras wants it
    with pytest.raises(ValueError, match="monitor must be one of 'nll'"):
        callbacks.SaveBest(tmp_path / "best.keras", monitor="nl").on_epoch_end(0, {"nll": 1.0})
    with pytest.raises(ValueError, match="monitor must be one of 'val_nll'"):
        callbacks.SaveBest(tmp_path / "a.keras", monitor="val_x").on_epoch_end(0, {"val_nll": 1})
    never = callbacks.SaveBest(tmp_path / "best.keras")
    with pytest.warns(UserWarning, match="nothing is saved yet"):
        never.on_epoch_end(0, {"nll": 1.0})
    never.on_epoch_end(1, {"nll": 1.0})  # says it once
    with pytest.raises(ValueError, match="monitor must be one of 'nll', got 'val_nll'"):
        never.on_train_end()


def test_checkpoint_saves_inside_and_after_epochs(tmp_path):
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras", every=2)
    checkpoint.set_model(small_generator())
    checkpoint.on_train_batch_end(0)
    assert not (tmp_path / "last.keras").exists()
    checkpoint.on_train_batch_end(1)
    assert (tmp_path / "last.keras").exists()
    (tmp_path / "last.keras").unlink()
    checkpoint.on_epoch_end(0)
    assert (tmp_path / "last.keras").exists()


def test_checkpoint_counts_steps_that_pass_at_once(tmp_path):
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras", every=4)
    checkpoint.set_model(small_generator())
    saved = []
    checkpoint.save = lambda: saved.append(checkpoint._seen)
    checkpoint.on_epoch_begin(0)
    for step in range(3, 25, 3):
        checkpoint.on_train_batch_end(step - 1)
    assert saved == [6, 9, 12, 18, 21, 24]


def test_checkpoint_keeps_the_good_file_when_weights_are_not_finite(tmp_path):
    generator = small_generator()
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras")
    checkpoint.set_model(generator)
    checkpoint.on_epoch_end(0)
    good = (tmp_path / "last.keras").read_bytes()
    generator.trainable_variables[0].assign(np.nan * generator.trainable_variables[0])
    with pytest.raises(FloatingPointError, match="is not finite"):
        checkpoint.on_epoch_end(1)
    assert (tmp_path / "last.keras").read_bytes() == good


def test_the_one_before_is_kept(tmp_path):
    path, generator = tmp_path / "last.keras", small_generator()
    checkpoint = callbacks.Checkpoint(path)
    checkpoint.set_model(generator)
    saved = []
    for epoch in range(3):
        checkpoint.on_epoch_end(epoch)
        saved.append(path.read_bytes())
        generator.trainable_variables[0].assign_add(np.ones((1,)))
    assert checkpoints.previous(path).read_bytes() == saved[1]
    assert {p.name for p in tmp_path.iterdir()} == {"last.keras", "last.previous.keras"}
    checkpoints.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_every_so_many_epochs_and_at_the_end(tmp_path):
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras", epochs=3)
    checkpoint.set_model(small_generator())
    saved = []
    checkpoint.save = lambda: saved.append(epoch)
    for epoch in range(5):
        checkpoint.on_epoch_end(epoch)
    assert saved == [2]
    checkpoint.on_train_end()
    assert saved == [2, 4]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of a generator, and the generator."""
    generator = small_generator()
    path = tmp_path_factory.mktemp("good") / "model.keras"
    checkpoints.save_model(generator, path)
    return path, generator


def lambda_model(path):
    """A file that holds code, which Keras would run if it were told to."""
    layer = keras.layers.Lambda(lambda x: x + 1.0)
    keras.Sequential([keras.Input((2,)), layer]).save(path)


def test_a_damaged_file_is_named(tmp_path, good):
    whole, path = good[0].read_bytes(), tmp_path / "last.keras"
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"last\.keras cannot be loaded: it is cut short"):
            checkpoints.load(path)
    inside = whole.index(b"HDF") + 4000
    path.write_bytes(whole[:inside] + bytes(4 * [255]) + whole[inside + 4 :])
    with pytest.raises(ValueError, match=r"last\.keras cannot .* model\.weights\.h5 is damaged"):
        checkpoints.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", "a picture")
    with pytest.raises(ValueError, match=r"last\.keras cannot be loaded: .*config\.json"):
        checkpoints.load(path)
    path.unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"last\.keras cannot .* no such file"):
            checkpoints.load(path)
        path.mkdir(exist_ok=True)


def test_another_model_is_named(good):
    path, generator = good
    assert type(checkpoints.load(path, like=generator)) is type(generator)
    with pytest.raises(ValueError, match="holds a SequenceGenerator, not a TeacherForcing"):
        checkpoints.load(path, like=TeacherForcing(generator))
    with pytest.raises(ValueError, match="holds a SequenceGenerator of other sizes"):
        checkpoints.load(path, like=small_generator(units=2))


def test_code_in_a_file_is_refused(tmp_path):
    lambda_model(tmp_path / "last.keras")
    with pytest.raises(ValueError, match=r"last\.keras cannot be loaded: .*Lambda.*unsafe"):
        checkpoints.load(tmp_path / "last.keras")


def test_nobody_turns_the_safe_mode_off():
    root = pathlib.Path(__file__).parent.parent
    for folder in ("mf_keras", "train", "benchmarks", "serving"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "safe_mode":
                    assert isinstance(node.value, ast.Constant), path
                    assert node.value.value is True, path
                name = getattr(node, "attr", getattr(node, "id", ""))
                assert name != "enable_unsafe_deserialization", path
                assert name != "load_model" or path.name == "checkpoints.py", path


def test_the_newest_that_can_be_used(tmp_path, good):
    path, generator = tmp_path / "last.keras", good[1]
    assert checkpoints.load_latest(path, like=generator) is None
    checkpoints.previous(path).write_bytes(good[0].read_bytes())
    assert checkpoints.load_latest(path, like=generator) is not None
    for number in (1, 2):
        path.write_bytes(b"half")
        with pytest.warns(UserWarning, match=r"last\.keras cannot .* resuming from .*previous"):
            loaded = checkpoints.load_latest(path, like=generator)
        np.testing.assert_array_equal(loaded(binary(2, 4, 1)), generator(binary(2, 4, 1)))
        assert (tmp_path / f"last.unusable-{number}.keras").read_bytes() == b"half"
        assert not path.exists()


def test_none_that_can_be_used_is_an_error_that_names_all(tmp_path, good):
    path = tmp_path / "last.keras"
    path.write_bytes(b"half")
    lambda_model(checkpoints.previous(path))
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"last\.keras cannot .*last\.previous\.keras cannot"):
        checkpoints.load_latest(path, like=good[1])
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("size", [0, 3000, 20_000])
def test_a_full_disk(tmp_path, good, size):
    """A limit on the size of files stands for it: writing fails at whatever byte it is."""
    path = tmp_path / "last.keras"
    path.write_bytes(b"old")
    checkpoints.previous(path).write_bytes(b"older")
    assert good[0].stat().st_size > size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(NotWrittenError, match=r"last\.keras could not be written: File too"):
            checkpoints.save_model(good[1], path, keep_previous=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert found == {"last.keras": b"old", "last.previous.keras": b"older"}


def test_the_logs_of_an_epoch_are_saved_with_the_model(tmp_path):
    """Those of the training, though the validation that comes in between resets them."""
    model = TeacherForcing(small_generator())
    model.compile(run_eagerly=True)
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras")
    checkpoint.set_model(model)
    model._track(nll=np.array([1.0, 4.0], "float32"))
    model.evaluate(binary(2, 3, 1), callbacks=[checkpoint], verbose=0)
    checkpoint.save()
    logs = checkpoints.load(tmp_path / "last.keras").get_metrics_result()
    assert float(logs["nll"]) == 2.5
    assert float(logs["loss"]) == 0.0
