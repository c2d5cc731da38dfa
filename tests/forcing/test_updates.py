"""Gradients that are not finite: skipped, counted, named, and survived."""

import keras
import numpy as np
import pytest

from mf_keras import (
    DNCCell,
    MemoryForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    SequenceTransducer,
    TeacherForcing,
    callbacks,
)
from mf_keras.forcing.updates import copied, inner, set_settings, settings
from tests.backends import tf
from tests.small import binary, small_generator

BAD = 9.0  # an input that a `Fragile` cell does not survive
TIME = 2


@keras.saving.register_keras_serializable(package="tests")
class Fragile(DNCCell):
    """A cell whose outputs are NaN in the steps whose input is `BAD`."""

    def step(self, inputs, state, training=False):
        outputs, state = super().step(inputs, state, training=training)
        poison = keras.ops.where(inputs[:, :1] == BAD, float("nan"), 1.0)
        return outputs * keras.ops.cast(poison, outputs.dtype), state


def transducer(cell_class=Fragile):
    keras.utils.set_random_seed(0)
    sizes = {"memory_size": 3, "word_size": 2, "num_reads": 1}
    # Links take longest to compile, and have no part in this.
    cell = cell_class(keras.layers.SimpleRNNCell(4), 1, linkage=None, **sizes)
    made = SequenceTransducer(cell)
    made.build((None, None, 2))
    return made


def data(*bad, batches=4, size=2):
    """Batches, of which those numbered in `bad` hold one input that is `BAD`."""
    x, y = binary(batches, size, TIME, 2), binary(batches, size, TIME, 1, seed=1)
    x[list(bad), 0, 1, 0] = BAD
    return tf.data.Dataset.from_tensor_slices((x, y))


def teacher(optimizer=None, **compiling):
    model = TeacherForcing(transducer())
    compiling = compiling or {"run_eagerly": True}
    model.compile(optimizer or keras.optimizers.Adam(0.1), **compiling)
    return model


def state_of(model):
    variables = [*model.trainable_variables, *model.optimizer.variables]
    return [np.array(v) for v in variables]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
@pytest.mark.parametrize("compiling", [{}, {"jit_compile": True, "steps_per_execution": 4}])
def test_a_run_with_a_bad_batch_is_the_run_without_it_to_the_bit(compiling):
    model, batches = teacher(**compiling), data(1)
    variables = [*model.trainable_variables, *model.optimizer.variables]
    start = state_of(model)
    logs = model.fit(batches, verbose=0).history
    after = state_of(model)
    assert int(model.optimizer.iterations) == 3
    assert logs["skipped_updates"] == [1.0]
    assert np.isfinite([logs[name][0] for name in ("nll", "loss", "bit_errors")]).all()
    for variable, value in zip(variables, start, strict=True):
        variable.assign(value)
    logs = model.fit(batches.take(1).concatenate(batches.skip(2)), verbose=0).history
    assert logs["skipped_updates"] == [0.0]
    assert_same(state_of(model), after)


@pytest.mark.long
def test_many_in_a_row_stop_with_the_term_named_and_the_good_file_kept(tmp_path):
    model, path = teacher(), tmp_path / "last.keras"
    options = {"callbacks": [callbacks.Checkpoint(path, every=1)], "verbose": 0}
    model.fit(data(batches=1), **options)
    good = state_of(model)
    words = "The gradient of nll was not finite 10 times in a row at step 10 of the epoch"
    with pytest.raises(FloatingPointError, match=words):
        model.fit(data(*range(12), batches=12, size=1), **options)
    assert_same(state_of(model), good)
    assert_same(state_of(keras.models.load_model(path)), good)
    model.fit(data(0, batches=1), verbose=0)  # another training begins to count anew


def test_an_epoch_of_nothing_else_and_a_bad_validation_stop_at_their_end():
    with pytest.raises(FloatingPointError, match="loss is nan at the end of epoch 1"):
        teacher().fit(data(0, batches=1, size=1), verbose=0)
    with pytest.raises(FloatingPointError, match=r"val_.* is nan at the end of epoch 1"):
        teacher().fit(data(batches=1), validation_data=data(0, batches=1), verbose=0)


def memory_forcing():
    keras.utils.set_random_seed(0)
    cell = DNCCell(keras.layers.GRUCell(4), 1, memory_size=3, word_size=2, num_reads=1)
    model = MemoryForcing(
        SequenceGenerator(cell), *(SequenceDiscriminator(4, (3,)) for _ in range(2)), gate=None
    )
    model.compile(keras.optimizers.Adam(0.1), keras.optimizers.Adam(0.1), run_eagerly=True)
    return model


def test_a_broken_discriminator_is_named_and_stops_the_others_from_nothing():
    model = memory_forcing()
    broken, sound = model.memory_discriminator, model.hidden_discriminator
    broken.logit.kernel.assign(np.full((3, 1), np.inf))
    before = [[np.array(v) for v in part.trainable_variables] for part in (model.generator, sound)]
    words = r"The gradient of c_m, memory_discriminator_loss was not finite 2 times in a row"
    with pytest.raises(FloatingPointError, match=words):
        model.fit(
            binary(6, TIME, 1),
            batch_size=2,
            callbacks=[callbacks.StopOnNonFinite(max_skipped=2)],
            verbose=0,
        )
    assert_same([np.array(v) for v in model.generator.trainable_variables], before[0])
    moved = zip([np.array(v) for v in sound.trainable_variables], before[1], strict=True)
    assert any((a != b).any() for a, b in moved)


def test_where_only_the_gradient_is_wrong_all_terms_are_named():
    model = memory_forcing()
    x = binary(2, TIME, 1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.generator.nll(x))
    variables = model.generator.trainable_variables
    gradients = tape.gradient(loss, variables)
    gradients[0] = gradients[0] * np.inf
    terms = {"nll": loss, "c_h": (tf.zeros(2), None), "c_m": tf.zeros(2)}
    model._updates.apply(model.optimizer, gradients, variables, terms)
    assert model.skipped_updates.streaks()["model"] == (1, ["nll", "c_h", "c_m"])
    assert int(model.optimizer.iterations) == 0


def test_a_loss_scale_that_is_too_high_is_logged_and_never_stops():
    keras.config.set_dtype_policy("mixed_float16")
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), 2.0**40)
    model = teacher(optimizer)
    stop = callbacks.StopOnNonFinite(max_skipped=2)
    logs = model.fit(data(batches=6), callbacks=[stop], verbose=0).history
    assert logs["skipped_updates"] == [6.0]
    # What is wrong at every scale does stop it.
    optimizer.dynamic_scale.assign(2.0)
    with pytest.raises(FloatingPointError, match="nll was not finite 2 times in a row at step 4"):
        model.fit(data(*range(5), batches=5), callbacks=[stop], verbose=0)


@pytest.mark.parametrize("value", [0, -1])
def test_max_skipped_must_be_positive(value):
    with pytest.raises(ValueError, match="max_skipped must be an integer >= 1"):
        callbacks.StopOnNonFinite(value)


def test_fit_takes_callbacks_alone():
    with pytest.raises(TypeError, match="callbacks must be Keras callbacks, got 'stop'"):
        teacher().fit(data(), callbacks=["stop"], verbose=0)


def test_a_copy_has_what_no_configuration_has():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    given = {
        "names": keras.optimizers.AdamW(0.1),
        "lambda": keras.optimizers.SGD(lambda: 0.1),
        "schedule": keras.optimizers.SGD(schedule),
        "subclass": Doubled(factor=2.0, learning_rate=0.1),
        "scaled": keras.optimizers.LossScaleOptimizer(keras.optimizers.AdamW(0.1)),
    }
    given["schedule"].iterations.assign(1)
    for name in ("names", "scaled"):
        inner(given[name]).exclude_from_weight_decay(var_names=["bias"])
    moved = {}
    for name, optimizer in given.items():
        kernel, bias = (keras.Variable(np.ones(2), name=name) for name in ("kernel", "bias"))
        found = copied("optimizer", optimizer)
        found.build([kernel, bias])
        zero = isinstance(inner(found), keras.optimizers.AdamW)
        found.apply([np.full(2, 0.0 if zero else 1.0, "float32")] * 2, [kernel, bias])
        moved[name] = [float(kernel[0]), float(bias[0])]
        assert int(optimizer.iterations) == (1 if name == "schedule" else 0)
        assert type(found) is type(optimizer)
    decayed = 1.0 - 0.1 * 0.004
    assert moved == {
        "names": [pytest.approx(decayed), 1.0],
        "lambda": [pytest.approx(0.9)] * 2,
        "schedule": [pytest.approx(0.95)] * 2,
        "subclass": [pytest.approx(0.8)] * 2,
        "scaled": [pytest.approx(decayed), 1.0],
    }


class Doubled(keras.optimizers.SGD):
    """An optimizer of a user, which forgot `get_config`."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, self.factor * learning_rate)


def test_what_cannot_be_copied_is_refused():
    class Strange(keras.optimizers.SGD):
        def __init__(self, needed):
            super().__init__(0.1)

    with pytest.raises(ValueError, match=r"judge must be an optimizer that can be copied .* dict"):
        copied("judge", Strange(1))
    built = keras.optimizers.SGD(0.1)
    built.build([])
    with pytest.raises(ValueError, match="judge must not be built to be copied"):
        copied("judge", built)


def test_every_discriminator_and_every_file_keeps_what_was_excluded(tmp_path):
    def optimizer():
        found = keras.optimizers.AdamW(0.1, weight_decay=0.5)
        found.exclude_from_weight_decay(var_names=["bias", "kernel"])
        return found

    players = [SequenceDiscriminator(gru_units=2, dense_units=(2,)) for _ in range(2)]
    model = MemoryForcing(small_generator(), *players)
    model.compile(optimizer(), discriminator_optimizer=optimizer(), run_eagerly=True)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        found = [each.optimizer, *(player.optimizer for player in each.adversaries.values())]
        assert len(set(map(id, found))) == 3
        for optimizer in found:
            bias = keras.Variable(np.ones(2), name="bias")
            again = copied("optimizer", type(optimizer).from_config(optimizer.get_config()))
            set_settings(again, settings(optimizer))
            again.build([bias])
            again.apply([np.zeros(2, "float32")], [bias])
            np.testing.assert_array_equal(bias, 1.0)


def test_a_file_says_what_it_cannot_keep_and_sets_no_methods():
    optimizer, variable = keras.optimizers.AdamW(0.1), keras.Variable(np.ones(2))
    optimizer.exclude_from_weight_decay(var_list=[variable])
    with pytest.warns(UserWarning, match=r"var_names=\["):
        assert settings(optimizer) == {}
    set_settings(optimizer, {"apply": "nothing", "own": 2.0})
    assert callable(optimizer.apply)
    assert optimizer.own == 2.0
