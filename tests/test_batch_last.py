import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from mf_keras import addressing, batch_last
from tests import reference
from tests.test_addressing import INPUTS, Sizes, seeds, sizes

FUNCTIONS = [
    "content_weights",
    "retention",
    "update_usage",
    "allocation_weights",
    "update_link",
    "update_precedence",
    "follow_links",
    "erase_and_write",
    "read",
]
EACH = pytest.mark.parametrize("name", FUNCTIONS)


def inputs(name, seed, s):
    return INPUTS[name](np.random.default_rng(seed), s)


def flat(outputs):
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def by_batch_last(name):
    """A function of `batch_last` on tensors (B, ...), as that of `addressing`."""

    def function(*tensors):
        moved = [tf.experimental.numpy.moveaxis(x, 0, -1) for x in tensors]
        outputs = flat(getattr(batch_last, name)(*moved))
        return [tf.experimental.numpy.moveaxis(x, -1, 0) for x in outputs]

    return function


def with_gradients(function, arrays):
    """Outputs, and the gradients of the sum of them, each entry with its own factor."""
    tensors = [tf.constant(x) for x in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = flat(function(*tensors))
        factors = [np.random.default_rng(1).normal(size=x.shape) for x in outputs]
        total = sum(tf.reduce_sum(f * x) for f, x in zip(factors, outputs, strict=True))
    return outputs, tape.gradient(total, tensors, unconnected_gradients="zero")


@EACH
@settings(max_examples=10)
@given(s=sizes, seed=seeds)
def test_equals_the_paper(name, s, seed):
    arrays = inputs(name, seed, s)
    expected = flat(getattr(reference, name)(*arrays))
    actual = by_batch_last(name)(*map(tf.constant, arrays))
    for x, y in zip(actual, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-13)


@EACH
@settings(max_examples=5)
@given(s=sizes, seed=seeds)
def test_has_the_gradients_of_addressing(name, s, seed):
    arrays = inputs(name, seed, s)
    expected = with_gradients(getattr(addressing, name), arrays)
    actual = with_gradients(by_batch_last(name), arrays)
    for x, y in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@EACH
def test_keeps_float32(name):
    arrays = inputs(name, 0, Sizes(3, 2, 2, 4, 3, 0))
    tensors = [tf.constant(x.astype("float32")) for x in arrays]
    assert all(x.dtype == "float32" for x in by_batch_last(name)(*tensors))


@pytest.mark.parametrize(
    "usage",
    [[0.5, 0.2, 0.5, 0.2], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]],
)
def test_ties_and_ends_of_usage_are_as_in_addressing(usage):
    arrays = [np.array([usage])]
    expected = with_gradients(addressing.allocation_weights, arrays)
    actual = with_gradients(by_batch_last("allocation_weights"), arrays)
    for x, y in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("zeroed", [[0], [1], [0, 1]])
def test_a_zero_key_or_memory_is_safe(zeroed):
    arrays = inputs("content_weights", 0, Sizes(2, 1, 2, 4, 3, 0))
    for i in zeroed:
        arrays[i] = np.zeros_like(arrays[i])
    expected = with_gradients(addressing.content_weights, arrays)
    actual = with_gradients(by_batch_last("content_weights"), arrays)
    for x, y in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9)
        assert np.isfinite(x).all()


def test_the_softmax_is_that_of_any_scale():
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 5, 2)) * 1e4)
    expected = tf.experimental.numpy.moveaxis(tf.nn.softmax(tf.transpose(x, (0, 2, 1))), -1, 1)
    np.testing.assert_allclose(batch_last.softmax(x), expected, rtol=1e-12)
