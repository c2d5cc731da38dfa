import numpy as np
import pytest
import tensorflow as tf

from mf_keras.contraction import contract, settled, turned

SIZES = {"r": 2, "h": 3, "i": 4, "j": 4, "n": 4, "w": 5, "b": 2}
EQUATIONS = [
    "rwb,nwb->rnb",
    "nwb,nwb->nb",
    "rb,rnb->rnb",
    "hib,hjb->hijb",
    "hjb,hijb->hijb",
    "hijb,rib->rhjb",
    "hnb,hwb->nwb",
    "rhb,rhnb->rnb",
    "hnb,hnb->hb",
]


def arrays(equation, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    inputs, result = equation.split("->")
    shapes = [[SIZES[letter] for letter in letters] for letters in (*inputs.split(","), result)]
    return [tf.constant(rng.normal(size=shape).astype(dtype)) for shape in shapes]


def with_gradients(function, equation, x, y, factors):
    with tf.GradientTape() as tape:
        tape.watch((x, y))
        result = function(equation, x, y)
        loss = tf.reduce_sum(result * factors)
    return [result, *tape.gradient(loss, (x, y))]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("equation", EQUATIONS)
def test_equals_einsum_in_values_and_gradients(equation, compiled):
    x, y, factors = arrays(equation)
    expected = with_gradients(tf.einsum, equation, x, y, factors)
    run = tf.function(with_gradients, jit_compile=compiled)
    for a, b in zip(run(contract, equation, x, y, factors), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_keeps_dtypes(dtype):
    x, y, factors = arrays("rwb,nwb->rnb", dtype)
    for part in with_gradients(contract, "rwb,nwb->rnb", x, y, factors):
        assert part.dtype == dtype


def test_the_batch_may_be_unknown_while_tracing():
    x, y, factors = arrays("hijb,rjb->rhib")
    free = [tf.TensorSpec((*part.shape[:-1], None), part.dtype) for part in (x, y, factors)]
    run = tf.function(
        lambda *parts: with_gradients(contract, "hijb,rjb->rhib", *parts), input_signature=free
    )
    expected = with_gradients(tf.einsum, "hijb,rjb->rhib", x, y, factors)
    for a, b in zip(run(x, y, factors), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_settled_changes_nothing():
    x = np.float32([[[np.nan, np.inf, -0.0]], [[1.0, 2.0, 3.0]]])
    assert settled(tf.constant(x)).numpy().tobytes() == x.tobytes()


@pytest.mark.parametrize("free", [(5, 3), (5, None), (None, 3), (None, None)])
def test_turned_is_the_transpose_in_values_and_gradients(free):
    x, factors = tf.random.normal((5, 3)), tf.random.normal((3, 5))

    @tf.function(input_signature=[tf.TensorSpec(free)], jit_compile=None not in free)
    def run(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = turned(x)
            loss = tf.reduce_sum(y * factors)
        return y, tape.gradient(loss, x)

    y, gradient = run(x)
    np.testing.assert_array_equal(y, tf.transpose(x))
    np.testing.assert_array_equal(gradient, tf.transpose(factors))
