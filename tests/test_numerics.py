"""`tf.debugging.enable_check_numerics`, the first tool for a NaN, is silent on healthy models."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import DNCCell, MemoryForcing, SequenceDiscriminator, SequenceGenerator, outputs
from tests.small import binary, small_cell, small_generator


@pytest.fixture
def alarmed():
    tf.debugging.enable_check_numerics()
    yield
    tf.debugging.disable_check_numerics()


@pytest.mark.usefixtures("alarmed")
def test_no_alarm_on_healthy_models():
    """In eager code, where every operation is looked at, which takes long; and in a graph."""
    x, generator = binary(2, 2, 1), small_generator(kind=DNCCell, linkage=None)
    players = [SequenceDiscriminator(gru_units=2, dense_units=(2,)) for _ in range(2)]
    model = MemoryForcing(generator, *players, gate=None)
    model.compile(run_eagerly=True)
    model.fit(x, validation_data=x, verbose=0)
    of_tokens = SequenceGenerator(small_cell(3), outputs.Categorical(3))  # a MANN
    noise = np.random.default_rng(0).random((2, 2, 3), "float32")
    of_tokens.in_both_modes(np.array([[0, 1], [2, 1]]), noise)
    generator.sample(2, 2, seed=0)  # XLA would compile its loop, but it lacks the checks


@pytest.mark.usefixtures("alarmed")
def test_an_alarm_on_nan():
    generator = small_generator()
    kernel = generator.cell.readout.kernel
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(tf.errors.InvalidArgumentError, match="NaN"):
        generator.nll(binary(2, 2, 1))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(
    ("output", "x"),
    [(outputs.Bernoulli(1), [[[0.0]], [[1.0]]]), (outputs.Categorical(2), [[0], [1]])],
)
def test_a_step_is_forced_whatever_the_logits(output, x, dtype):
    x = np.array(x)
    forced = np.array(output.forced(x, dtype), "float64")
    assert np.isfinite(forced).all()
    for logit in (0.0, 1e4, -1e4):
        parameters = keras.ops.cast(np.array([[logit, 0.0]] * 2)[:, : output.size], dtype)
        found = output.draw(parameters, keras.ops.cast(forced[:, 0], dtype))
        np.testing.assert_array_equal(np.array(found), x[:, 0])
