import numpy as np
import pytest
import tensorflow as tf

from mf_keras.backend.tensorflow import datasets


def dataset(*parts):
    return tf.data.Dataset.from_tensors(parts if len(parts) > 1 else parts[0])


def test_a_spec_has_none_for_a_part_that_is_none():
    x, weights = np.zeros((4, 3, 1), "float32"), np.ones((4, 3))
    first, nothing, second = datasets.spec_of("x", dataset(x, None, weights))
    assert (first.shape, first.dtype) == ((4, 3, 1), tf.float32)
    assert nothing is None
    assert (second.shape, second.dtype) == ((4, 3), tf.float64)


def test_what_is_not_dense_or_of_no_known_rank_is_refused():
    ragged = tf.ragged.constant([[1.0], [2.0, 3.0]])
    with pytest.raises(TypeError, match="x must give dense tensors, got Ragged"):
        datasets.spec_of("x", dataset(ragged))
    spec = tf.TensorSpec(None, tf.float32)
    unknown = tf.data.Dataset.from_generator(lambda: iter([0.0]), output_signature=spec)
    with pytest.raises(ValueError, match="x must give tensors of a known rank"):
        datasets.spec_of("x", unknown)


def test_what_never_ends_is_known_by_its_cardinality():
    once = dataset(np.zeros(2))
    assert datasets.is_endless(once.repeat())
    assert not datasets.is_endless(once)
    assert not datasets.is_endless(once.repeat().filter(lambda x: x[0] > 0))  # it may end
    assert not datasets.is_endless(np.zeros(2))


def positive(parts, reduce_any):
    """A condition on the first part: no row of it may have a number that is not positive."""
    x = parts[0]
    assert x.dtype == tf.float32  # also of integers
    return [(~reduce_any(x <= 0.0), "x must be positive, got", x)]


def test_values_are_checked_as_they_come_and_stay_as_they_are():
    x = np.array([[1, 2], [3, 4]])
    good = dataset(x, x).concatenate(dataset(x, x))
    for first, second in datasets.with_checks(good, positive).as_numpy_iterator():
        np.testing.assert_array_equal(first, x)
        np.testing.assert_array_equal(second, x)
        assert first.dtype == x.dtype
    (alone,) = datasets.with_checks(dataset(x), positive).as_numpy_iterator()
    np.testing.assert_array_equal(alone, x)
    checked = datasets.with_checks(dataset(x).concatenate(dataset(-x)), positive)
    batches = checked.as_numpy_iterator()
    next(batches)
    with pytest.raises(tf.errors.InvalidArgumentError, match="x must be positive, got"):
        next(batches)


def test_parts_must_have_the_same_sizes_if_asked():
    x, short = np.ones((2, 3, 1), "float32"), np.ones((2, 2))
    words = "as many steps"
    parts = {"sequence": x, "context": np.ones((2, 5), "float32")}, None, short
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        datasets.checked(tf.nest.map_structure(maybe_tensor, parts), nothing, words)
    parts = (*parts[:2], np.ones((2, 3)))
    found = datasets.checked(tf.nest.map_structure(maybe_tensor, parts), nothing, words)
    assert found[1] is None
    np.testing.assert_array_equal(found[0]["sequence"], x)


def maybe_tensor(x):
    return None if x is None else tf.constant(x)


def nothing(parts, reduce_any):
    return []
