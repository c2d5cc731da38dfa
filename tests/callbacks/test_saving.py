import keras
import numpy as np
import pytest

from mf_keras import TeacherForcing, callbacks, checkpoints
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
    model.compile(run_eagerly=True)
    x = binary(4, 3, 1)
    best = callbacks.SaveBest(tmp_path / "best.keras")
    model.fit(x, validation_data=x, callbacks=[best], verbose=0)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.generator(x), model.generator(x))


def test_passes_over_epochs_without_a_validation(tmp_path):
    best = callbacks.SaveBest(tmp_path / "best.keras", small_generator())
    with pytest.warns(UserWarning, match="watches val_nll, but epoch 1 had no validation"):
        best.on_epoch_end(0, {"nll": 1.0, "val_hidden_discriminator_auc": 0.5})
    assert not (tmp_path / "best.keras").exists()
    best.on_epoch_end(1, {"nll": 1.0, "val_loss": 2.0, "val_nll": 2.0})
    best.on_epoch_end(2, {"nll": 1.0, "val_hidden_discriminator_auc": 0.5})
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


def test_refuses_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.keras"):
        callbacks.SaveBest(tmp_path / "best.h5")
    with pytest.raises(ValueError, match=r"path must end in \.keras"):
        callbacks.Checkpoint(tmp_path / "last.KERAS")  # as Keras wants it
    with pytest.raises(ValueError, match="monitor must be one of 'nll'"):
        callbacks.SaveBest(tmp_path / "best.keras", monitor="nl").on_epoch_end(0, {"nll": 1.0})
    with pytest.raises(ValueError, match="monitor must be one of 'val_loss'"):
        callbacks.SaveBest(tmp_path / "a.keras", monitor="val_x").on_epoch_end(0, {"val_loss": 1})
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


def test_the_logs_of_an_epoch_are_saved_with_the_model(tmp_path):
    """Those of the training, though the validation that comes in between resets them."""
    model = TeacherForcing(small_generator())
    model.compile(run_eagerly=True)
    checkpoint = callbacks.Checkpoint(tmp_path / "last.keras")
    checkpoint.set_model(model)
    model._logs.track({"nll": np.array([1.0, 4.0], "float32")})
    model.evaluate(binary(2, 3, 1), callbacks=[checkpoint], verbose=0)
    checkpoint.save()
    logs = checkpoints.load(tmp_path / "last.keras").get_metrics_result()
    assert float(logs["nll"]) == 2.5
    assert float(logs["loss"]) == 0.0
