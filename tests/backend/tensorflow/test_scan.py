import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import backend
from mf_keras.backend.tensorflow.scan import _chunk_length
from tests.backend.tensorflow.loops import XLA_ROUNDS, assert_close, by_loop, problem, run


@pytest.mark.parametrize("time", [1, 2, 7, 9])
@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7, 20, "sqrt"])
def test_every_chunk_gives_the_results_and_gradients_of_a_plain_loop(time, chunk):
    arguments = problem(time)
    (states, h, total), expected = by_loop(*arguments)
    stacked, last, gradients = run(*arguments, chunk=chunk)
    assert_close([stacked["h"], last["h"], last["sum"]], [states, h, total])
    assert_close(gradients, expected)


@pytest.mark.parametrize("sums", [None, {"h": False, "sum": True}])
@pytest.mark.parametrize("chunk", [None, 2])
def test_what_is_not_kept_is_none_and_changes_nothing(chunk, sums):
    arguments = problem(5)
    keep = {"h": True, "sum": False}
    stacked, last, gradients = run(*arguments, keep=keep, chunk=chunk, sums=sums)
    assert stacked["sum"] is None
    everything = run(*arguments)
    assert_close([stacked["h"], last, gradients], [everything[0]["h"], *everything[1:]])


@pytest.mark.long
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


@pytest.mark.parametrize("jit_compile", [False, True])
def test_rows_of_the_last_carry_may_be_gathered(jit_compile):
    """Their gradient is a list of rows and not an array."""
    step, weights, start, inputs = problem(time=4)

    @tf.function(jit_compile=jit_compile)
    def gradient():
        with tf.GradientTape() as tape:
            _, last = backend.scan(step, [weights], start, inputs)
            loss = tf.reduce_sum(tf.gather(last["h"], [0]) ** 2)
        return tape.gradient(loss, weights.value)

    carry = start
    with tf.GradientTape() as tape:
        for t in range(4):
            carry = step(carry, (inputs[0][t], inputs[1][t]))
        loss = tf.reduce_sum(carry["h"][:1] ** 2)
    np.testing.assert_allclose(gradient(), tape.gradient(loss, weights.value), **XLA_ROUNDS)


@pytest.mark.parametrize("dynamic", [False, True])
def test_chunks_are_as_long_as_asked_for(dynamic):
    for chunk, time, expected in (
        *(("sqrt", 1, 1), ("sqrt", 2, 2), ("sqrt", 9, 3), ("sqrt", 10, 4), ("sqrt", 784, 28)),
        *((3, 9, 3), (3, 2, 2), (None, 9, None)),
    ):
        sequence = tf.TensorSpec([None if dynamic else time, 1])

        @tf.function(input_signature=[sequence])
        def length(x, chunk=chunk):
            found = _chunk_length(chunk, x)
            return tf.constant(-1) if found is None else found

        assert length(tf.zeros((time, 1))) == (-1 if expected is None else expected)


def test_gradients_of_half_float_weights_are_summed_in_float32():
    """In float16 a sum of 2048 ones stays there."""
    weights = keras.Variable(np.zeros(1), dtype="float16")
    start, inputs = [tf.zeros((1, 1), "float16")], [tf.zeros((4000, 1, 1), "float16")]

    @tf.function(jit_compile=True)
    def gradient():
        with tf.GradientTape() as tape:
            stacked, _ = backend.scan(lambda _, x: [x[0] + weights], [weights], start, inputs)
            loss = tf.reduce_sum(stacked[0])
        return tape.gradient(loss, weights.value)

    assert float(gradient()[0]) == 4000.0


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_chunk_is_no_longer_than_the_sequence(dynamic):
    """It would otherwise keep as many states as the chunk has steps."""
    step, weights, start, inputs = problem(time=4)
    signature = [tf.TensorSpec([None if dynamic else 4, *x.shape[1:]], x.dtype) for x in inputs]

    @tf.function(input_signature=signature)
    def gradient(x, mask):
        with backend.compiling_loops(), tf.GradientTape() as tape:
            stacked, _ = backend.scan(step, [weights], start, (x, mask), chunk=2**31 - 1)
            loss = tf.reduce_sum(stacked["h"] ** 2)
        return tape.gradient(loss, weights.value)

    with tf.GradientTape() as tape:
        stacked, _ = backend.scan(step, [weights], start, inputs)
        loss = tf.reduce_sum(stacked["h"] ** 2)
    expected = tape.gradient(loss, weights.value)
    np.testing.assert_allclose(gradient(*inputs), expected, **XLA_ROUNDS)


def test_integers_that_are_kept_need_no_gradient():
    """Within a function of its own, a tape gives them None: samples of tokens are such."""
    weight = keras.Variable(np.float32(2.0))

    @tf.function
    def of(inputs):
        def step(carry, inputs_t):
            return {"h": carry["h"] * weight + inputs_t[0], "n": carry["n"] + 1}

        carry = {"h": tf.zeros((1,)), "n": tf.zeros((1,), tf.int32)}
        return backend.scan(step, [weight], carry, [inputs])[0]

    @tf.function
    def gradient(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(of(inputs)["h"])
        return tape.gradient(loss, weight.value)

    # h = 1, 1 + w, 1 + w + w^2: the sum's derivative is 1 + 1 + 2 w.
    assert float(gradient(tf.ones((3, 1)))) == 6.0
