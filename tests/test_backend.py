import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import backend


def problem(time, batch=2, size=3):
    """A step with weights, two carries and two inputs, one of them a mask."""
    rng = np.random.default_rng(0)
    weights = keras.Variable(rng.normal(size=(size, size)), dtype="float64")
    start = {"h": rng.normal(size=(batch, size)), "sum": rng.normal(size=(batch, size))}
    inputs = (rng.normal(size=(time, batch, size)), rng.uniform(size=(time, batch, 1)) > 0.3)

    def step(carry, inputs_t):
        x, mask = inputs_t
        h = tf.tanh(carry["h"] @ weights + x)
        new = {"h": h, "sum": carry["sum"] + h * h}
        return {name: tf.where(mask, new[name], carry[name]) for name in new}

    as_tensors = tf.nest.map_structure(tf.constant, (start, inputs))
    return step, weights, *as_tensors


def run(step, weights, start, inputs, keep=None, chunk=None):
    """Results, and gradients of a function of everything that is returned."""
    sources = [weights.value, start, inputs[0]]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        stacked, last = backend.scan(step, [weights], start, inputs, keep=keep, chunk=chunk)
        results = [stacked["h"], last["h"], last["sum"]]
        loss = sum(tf.reduce_sum(tf.sin(x * (i + 2.0))) for i, x in enumerate(results))
    return stacked, last, tape.gradient(loss, sources)


def by_loop(step, weights, start, inputs):
    """The same by a Python loop under one tape."""
    sources = [weights.value, start, inputs[0]]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        carry, states = start, []
        for t in range(len(inputs[0])):
            carry = step(carry, (inputs[0][t], inputs[1][t]))
            states.append(carry["h"])
        results = [tf.stack(states), carry["h"], carry["sum"]]
        loss = sum(tf.reduce_sum(tf.sin(x * (i + 2.0))) for i, x in enumerate(results))
    return results, tape.gradient(loss, sources)


def assert_close(actual, expected):
    for x, y in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("time", [1, 2, 7, 9])
@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7, 20, "sqrt"])
def test_every_chunk_gives_the_results_and_gradients_of_a_plain_loop(time, chunk):
    arguments = problem(time)
    (states, h, total), expected = by_loop(*arguments)
    stacked, last, gradients = run(*arguments, chunk=chunk)
    assert_close([stacked["h"], last["h"], last["sum"]], [states, h, total])
    assert_close(gradients, expected)


@pytest.mark.parametrize("chunk", [None, 2])
def test_what_is_not_kept_is_none_and_changes_nothing(chunk):
    arguments = problem(5)
    stacked, last, gradients = run(*arguments, keep={"h": True, "sum": False}, chunk=chunk)
    assert stacked["sum"] is None
    everything = run(*arguments)
    assert_close([stacked["h"], last, gradients], [everything[0]["h"], *everything[1:]])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_chunks_work_compiled_and_for_lengths_unknown_while_tracing(jit_compile):
    step, weights, start, inputs = problem(7)
    specs = [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in inputs]
    compiled = tf.function(
        lambda *inputs: run(step, weights, start, inputs, chunk="sqrt"),
        input_signature=specs,
        jit_compile=jit_compile,
    )
    for length in (7, 4):
        some = [x[:length] for x in inputs]
        assert_close(compiled(*some), run(step, weights, start, some))
