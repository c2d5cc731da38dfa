"""Training on JAX by plain `fit`: logs, files, and a resumed training that is the same one."""

import keras
import numpy as np
import pytest

from mf_keras import (
    KanervaMachine,
    KanervaMemoryForcing,
    SequenceGenerator,
    SequenceTransducer,
    TeacherForcing,
    callbacks,
    checkpoints,
    data,
)
from tests.backend.jax.models import (
    TIME,
    cell,
    discriminator,
    memory_forcing,
    positive_negative,
)
from tests.small import binary


def everything(model):
    """All that a training changes."""
    players = [a.optimizer for a in model.adversaries.values()]
    variables = [*model.variables, *model.optimizer.variables]
    variables += [v for optimizer in players for v in optimizer.variables]
    return [np.asarray(keras.ops.convert_to_numpy(v)).copy() for v in variables]


@pytest.mark.parametrize("make", [memory_forcing, positive_negative])
def test_a_training_that_is_resumed_is_the_same_to_the_bit(make, tmp_path):
    model, arrays = make()
    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    if "replay" in vars(model) or hasattr(model, "replay"):
        model.build((None, TIME, 2))
        model.replay.push(np.random.default_rng(0).normal(size=(4, TIME, 3, 2)), [1, 0, 1, 0])
    checkpoint = callbacks.Checkpoint(tmp_path / "checkpoint.keras")
    before = everything(model)
    first = model.fit(**arrays, **options, callbacks=[checkpoint])
    assert np.isfinite([values[0] for values in first.history.values()]).all()
    assert first.history["skipped_updates"] == [0.0]
    middle = everything(model)
    changed = [not np.array_equal(a, b) for a, b in zip(before, middle, strict=True)]
    assert sum(changed) > 0.6 * len(changed)
    second = model.fit(**arrays, **options)
    assert model.trained_steps == 4
    for player in model.adversaries.values():
        assert int(player.optimizer.iterations) > 0

    loaded = checkpoints.load_latest(tmp_path / "checkpoint.keras", like=model)
    for a, b in zip(everything(loaded), middle, strict=True):
        np.testing.assert_array_equal(a, b)
    again = loaded.fit(**arrays, **options)
    assert again.history == second.history
    for a, b in zip(everything(loaded), everything(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert loaded.predict(arrays["x"], verbose=0).shape == (8, TIME, 1)


def test_a_task_is_a_stream_that_fit_takes():
    tasks = {
        "copy": data.copy_task(3, 2, min_length=1),
        "reverse": data.reverse_task(3, 2),
        "repeat": data.repeat_copy_task(2, 2, 2),
        "recall": data.associative_recall_task(3, 2, 2),
    }
    for stream in tasks.values():
        batches = stream.batch(3).take(2)
        joined = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
        for index, example in zip(range(6), stream, strict=False):
            for whole, part in zip(joined, example, strict=True):
                assert part.dtype == np.float32
                np.testing.assert_array_equal(whole[index], part)
    inputs, targets, weight = tasks["copy"][0]
    rows = int(weight.sum())
    answer = slice(rows + 1, 2 * rows + 1)
    np.testing.assert_array_equal(targets[answer], inputs[:rows, :2])
    assert inputs[rows, 2] == 1.0
    model = TeacherForcing(SequenceTransducer(cell(2)))
    model.compile("sgd", steps_per_execution=2)
    batches = tasks["copy"].batch(4)
    with pytest.raises(ValueError, match="steps_per_epoch must be given, as x never ends"):
        model.fit(batches)
    with pytest.raises(ValueError, match="shuffle needs a stream with an end"):
        tasks["copy"].shuffle(3)
    assert len(list(data.digits("test", labels=True))) == 200
    history = model.fit(batches, steps_per_epoch=4, verbose=0).history
    assert 0 < history["nll"][0] < 6 * np.log(2) * 1.2
    assert model.trained_steps == 4


def test_updates_that_are_not_finite_are_skipped_and_end_the_training():
    model = TeacherForcing(SequenceGenerator(cell()))
    model.compile("sgd")
    kernel = model.generator.cell.readout.kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    before = [np.asarray(v) for v in model.generator.trainable_variables]
    with pytest.raises(FloatingPointError, match="The gradient of nll was not finite 10 times"):
        model.fit(binary(12, TIME, 1), batch_size=1, verbose=0)
    for a, b in zip(before, model.generator.trainable_variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_first_step_that_fails_leaves_the_weights(monkeypatch):
    model = TeacherForcing(SequenceGenerator(cell()))
    model.compile("adam")
    before = [np.asarray(v).copy() for v in model.variables]

    def fail(*args, **kwargs):
        raise RuntimeError("no step")

    monkeypatch.setattr(model, "_forward", fail)
    with pytest.raises(RuntimeError, match="no step"):
        model.fit(binary(4, TIME, 1), verbose=0)
    for a, b in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == model.trained_steps == 0


def test_averages_of_weights_become_the_weights_in_half_floats():
    keras.config.set_dtype_policy("mixed_float16")
    model, arrays = memory_forcing()
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, clipnorm=1.0))
    history = model.fit(**arrays, batch_size=4, verbose=0).history
    assert np.isfinite(history["nll"][0])
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    weights = model.generator.trainable_variables
    averages = [v for v in model.optimizer.variables if "average" in v.path]
    for average, weight in zip(averages, weights, strict=True):
        np.testing.assert_array_equal(average, weight)


def test_memory_forcing_of_a_kanerva_machine_is_resumed_to_the_bit(tmp_path):
    def new():
        keras.utils.set_random_seed(0)
        layers = keras.layers.Dropout(0.5), keras.layers.Dense(2)
        encoder = keras.Sequential([keras.Input((4,)), *layers])
        decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4)])
        model = KanervaMemoryForcing(KanervaMachine(encoder, decoder, 3, 2), discriminator())
        model.compile(keras.optimizers.Adam(1e-2))
        return model

    x = binary(4, 3, 4)
    model = new()
    before = {v.path: np.array(v) for v in model.trainable_variables}
    model.fit(x, batch_size=2, shuffle=False, verbose=0)
    still = [v.path for v in model.trainable_variables if np.all(before[v.path] == v)]
    assert all("recurrent" in path for path in still)  # D sees one memory: its GRU takes one step
    model.save(tmp_path / "model.keras")
    loaded = checkpoints.load_latest(tmp_path / "model.keras", like=new())
    histories = [
        each.fit(x, batch_size=2, shuffle=False, verbose=0).history for each in (model, loaded)
    ]
    assert histories[0] == histories[1]
    for a, b in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.evaluate(x, verbose=0) == loaded.evaluate(x, verbose=0)
