import numpy as np
import pytest

from mf_keras import backend, layouts
from tests.backends import tf

SIZES = {"r": 2, "h": 3, "i": 4, "j": 4, "k": 3, "n": 4, "w": 5, "b": 2}
EQUATIONS = [
    "rw,nw->rn",
    "nw,nw->n",
    "r,rn->rn",
    "hi,hj->hij",
    "hj,hij->hij",
    "hij,rj->rhi",
    "hij,ri->rhj",
    "hn,hw->nw",
    "hk,hkn->hn",
    "rh,rhn->rn",
    "hn,hn->h",
    ",n->n",
    "hin,hjn->hij",
]
EACH_LAYOUT = pytest.mark.parametrize("name", layouts.BY_NAME)


def arrays(equation, dtype="float64"):
    """The two arrays, (B, ...), and factors of the result."""
    rng = np.random.default_rng(0)
    inputs, result = equation.split("->")
    letters = ["b" + each for each in (*inputs.split(","), result)]
    return [
        tf.constant(rng.normal(size=[SIZES[letter] for letter in each]).astype(dtype))
        for each in letters
    ]


def moved(layout, x):
    """A tensor (B, ...) as it lies in the layout."""
    return tf.experimental.numpy.moveaxis(x, 0, layout.batch_axis)


def moved_back(layout, x):
    return tf.experimental.numpy.moveaxis(x, layout.batch_axis, 0)


def with_gradients(contract, x, y, factors):
    with tf.GradientTape() as tape:
        tape.watch((x, y))
        result = contract(x, y)
        loss = tf.reduce_sum(result * factors)
    return [result, *tape.gradient(loss, (x, y))]


def einsum(equation):
    left, right = equation.split(",")
    right, result = right.split("->")
    return lambda x, y: tf.einsum(f"b{left},b{right}->b{result}", x, y)


def contraction(layout, equation):
    """`layout.contract` of tensors (B, ...)."""

    def run(x, y):
        return moved_back(layout, layout.contract(equation, moved(layout, x), moved(layout, y)))

    return run


def check(run, equation, expected):
    for a, b in zip(run, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12, err_msg=equation)


@EACH_LAYOUT
def test_a_contraction_is_that_of_einsum_in_values_and_gradients(name):
    layout = layouts.BY_NAME[name]
    for equation in EQUATIONS:
        given = arrays(equation)
        expected = with_gradients(einsum(equation), *given)
        check(with_gradients(contraction(layout, equation), *given), equation, expected)


@EACH_LAYOUT
def test_contractions_are_the_same_under_xla_and_with_an_unknown_batch(name):
    layout = layouts.BY_NAME[name]
    given = {equation: arrays(equation) for equation in ("rw,nw->rn", "hij,ri->rhj", "hn,hw->nw")}
    free = {
        equation: [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in tensors]
        for equation, tensors in given.items()
    }

    def run(given):
        return {
            equation: with_gradients(contraction(layout, equation), *tensors)
            for equation, tensors in given.items()
        }

    compiled = tf.function(run, jit_compile=True)(given)
    traced = tf.function(run, input_signature=[free])(given)
    for equation, tensors in given.items():
        expected = with_gradients(einsum(equation), *tensors)
        check(compiled[equation], equation, expected)
        check(traced[equation], equation, expected)


@EACH_LAYOUT
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_keeps_dtypes(name, dtype):
    run = contraction(layouts.BY_NAME[name], "rw,nw->rn")
    assert all(x.dtype == dtype for x in with_gradients(run, *arrays("rw,nw->rn", dtype)))


@EACH_LAYOUT
@pytest.mark.parametrize("slots", [1, 5])
def test_softmax_sum_and_max_are_over_the_slots(name, slots):
    layout = layouts.BY_NAME[name]
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, slots)) * 1e4)
    lying = moved(layout, x)
    softmax = moved_back(layout, layout.softmax(lying))
    np.testing.assert_allclose(softmax, tf.nn.softmax(x), rtol=1e-12)
    total = moved_back(layout, layout.sum(lying))
    np.testing.assert_allclose(total, tf.reduce_sum(x, axis=-1), rtol=1e-12)
    largest = moved_back(layout, layout.max(lying))
    np.testing.assert_array_equal(largest, tf.reduce_max(x, axis=-1, keepdims=True))


@EACH_LAYOUT
def test_axes_count_without_the_batch(name):
    layout = layouts.BY_NAME[name]
    x = tf.reshape(tf.range(24.0), (2, 3, 4))
    lying = moved(layout, x)
    assert [layout.size(lying, i) for i in range(2)] == [3, 4]
    parts = [moved_back(layout, part) for part in layout.split(lying, [1, 3], 1)]
    np.testing.assert_array_equal(tf.concat(parts, axis=-1), x)
    product = moved_back(layout, layout.product(lying))
    np.testing.assert_array_equal(product, tf.reduce_prod(x, axis=1))
    again = layout.stack(layout.unstack(lying, 1), 1)
    np.testing.assert_array_equal(moved_back(layout, again), x)
    rows = layout.rows(lying)
    np.testing.assert_array_equal(rows, tf.reshape(x, (2, 12)))
    back = moved_back(layout, layout.reshape(layout.from_rows(rows), (3, 4)))
    np.testing.assert_array_equal(back, x)


def test_chooses_by_rows_slots_words_compilation_and_device(monkeypatch):
    def name(slots=20, words=16, rows=64):
        return layouts.choose(slots, words, rows).name

    assert name() == "batch_first"  # nothing is compiled here
    with tf.Graph().as_default(), backend.compiling_loops():
        assert name() == name(rows=None) == name(rows=8) == name(32, 32) == "batch_last"
        assert name(rows=7) == name(slots=33) == name(words=33) == "batch_first"
        monkeypatch.setattr(backend, "on_cpu", lambda: False)
        assert name() == "batch_first"


def test_a_visible_gpu_is_no_cpu_alone(monkeypatch):
    assert backend.on_cpu()
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [kind] * (kind == "GPU"))
    assert not backend.on_cpu()


@EACH_LAYOUT
def test_one_part_is_the_whole(name):
    x = tf.ones((3, 3))
    (part,) = layouts.BY_NAME[name].split(x, [3])
    np.testing.assert_array_equal(part, x)
