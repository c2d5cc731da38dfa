import numpy as np
import pytest

from mf_keras import DNCCell, SequenceGenerator, backend
from mf_keras.models.free_running import free_run, shift_right, with_context
from tests.backends import tf
from tests.small import LouderInTraining, binary


def test_free_running_keeps_what_it_is_asked_for(generator):
    _, _, trace = generator.free_run(2, 5, seed=0, keep=("hidden",))
    assert trace.hidden.shape == (2, 5, 8)
    assert trace.memory is trace.link is trace.read_vectors is None


@pytest.mark.parametrize("keep", [None, ("hidden", "memory")])
def test_free_running_is_no_training(keep):
    generator = SequenceGenerator(DNCCell(LouderInTraining(8), 1, memory_size=5, word_size=4))
    samples, logits, _ = generator.free_run(4, 12, seed=7, keep=keep)
    np.testing.assert_allclose(logits, generator(samples), atol=1e-5)
    assert np.abs(logits - generator(samples, training=True)).max() > 1e-3


@pytest.mark.long
@pytest.mark.parametrize("compiling", [False, True])
def test_both_modes_are_teacher_forcing_and_free_running(generator, compiling):
    x, variables = tf.constant(binary(3, 6, 1)), [v.value for v in generator.trainable_variables]
    noise = np.random.default_rng(0).uniform(size=(3, 6, 1)).astype("float32")
    keep = ("hidden", "memory")

    def apart():
        limits = generator.output.thresholds(noise, 1.0)
        _, *free = free_run(generator.cell, generator.output, limits, keep=keep)
        return generator.teacher_force(x, keep=keep), free

    def together():
        return generator.in_both_modes(x, noise, keep=keep)

    def gradients(run):
        with tf.GradientTape() as tape:
            both = run()
            parts = [
                part for logits, trace in both for part in (logits, trace.hidden, trace.memory)
            ]
            loss = sum(tf.reduce_sum(tf.sin((i + 1.0) * part)) for i, part in enumerate(parts))
        return [*parts, *tape.gradient(loss, variables)]

    actual = backend.compiled(lambda: gradients(together))() if compiling else gradients(together)
    for a, b in zip(actual, gradients(apart), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_samples_are_detached_and_the_trace_is_not(generator):
    variables = [v.value for v in generator.trainable_variables]
    with tf.GradientTape(persistent=True) as tape:
        samples, _, trace = generator.free_run(2, 5, seed=0)
        of_samples, of_trace = tf.reduce_sum(samples), tf.reduce_sum(trace.memory**2)
    zero = tape.gradient(of_samples, variables, unconnected_gradients="zero")
    assert all(not np.any(g) for g in zero)
    assert any(np.any(g) for g in tape.gradient(of_trace, variables, unconnected_gradients="zero"))


def test_a_context_stands_beside_what_was_read_the_step_before():
    x, context = binary(2, 3, 1), np.float32([[5.0, 6.0], [7.0, 8.0]])
    found = np.array(with_context(shift_right(x), context))
    for b, t in np.ndindex(2, 3):
        np.testing.assert_array_equal(found[b, t], [x[b, t - 1, 0] if t else 0.0, *context[b]])
    assert with_context(x, None) is x
