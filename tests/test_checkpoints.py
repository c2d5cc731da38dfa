import keras
import numpy as np
import pytest

from mf_keras import TeacherForcing, checkpoints
from tests.models import binary, small_generator


def test_keeps_the_best_epoch(tmp_path):
    generator = small_generator()
    best = checkpoints.SaveBest(tmp_path / "best.keras", generator)
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
    best = checkpoints.SaveBest(tmp_path / "best.keras")
    model.fit(x, validation_data=x, callbacks=[best], verbose=0)
    loaded = keras.models.load_model(tmp_path / "best.keras")
    np.testing.assert_array_equal(loaded.generator(x), model.generator(x))


def test_a_failing_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("good")

    class Failing:
        def save(self, path):
            path.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save_model(Failing(), path)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


def test_refuses_bad_input(tmp_path):
    with pytest.raises(ValueError, match=r"path must end in \.keras"):
        checkpoints.SaveBest(tmp_path / "best.h5")
    with pytest.raises(ValueError, match="monitor must be one of 'nll'"):
        checkpoints.SaveBest(tmp_path / "best.keras").on_epoch_end(0, {"nll": 1.0})


def test_checkpoint_saves_inside_and_after_epochs(tmp_path):
    checkpoint = checkpoints.Checkpoint(tmp_path / "last.keras", every=2)
    checkpoint.set_model(small_generator())
    checkpoint.on_train_batch_end(0)
    assert not (tmp_path / "last.keras").exists()
    checkpoint.on_train_batch_end(1)
    assert (tmp_path / "last.keras").exists()
    (tmp_path / "last.keras").unlink()
    checkpoint.on_epoch_end(0)
    assert (tmp_path / "last.keras").exists()


def test_checkpoint_counts_steps_that_pass_at_once(tmp_path):
    checkpoint = checkpoints.Checkpoint(tmp_path / "last.keras", every=4)
    checkpoint.set_model(small_generator())
    saved = []
    checkpoint.save = lambda: saved.append(checkpoint._seen)
    checkpoint.on_epoch_begin(0)
    for step in range(3, 25, 3):
        checkpoint.on_train_batch_end(step - 1)
    assert saved == [6, 9, 12, 18, 21, 24]


def test_checkpoint_keeps_the_good_file_when_weights_are_not_finite(tmp_path):
    generator = small_generator()
    checkpoint = checkpoints.Checkpoint(tmp_path / "last.keras")
    checkpoint.set_model(generator)
    checkpoint.on_epoch_end(0)
    good = (tmp_path / "last.keras").read_bytes()
    generator.trainable_variables[0].assign(np.nan * generator.trainable_variables[0])
    with pytest.raises(FloatingPointError, match="is not finite"):
        checkpoint.on_epoch_end(1)
    assert (tmp_path / "last.keras").read_bytes() == good
