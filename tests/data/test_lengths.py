"""Batches of unequal lengths: nothing is lost, padding has weight 0, few shapes."""

import numpy as np
import pytest
import tensorflow as tf

from mf_keras.data import copy_task, padded_batches
from mf_keras.data.lengths import stream_of

LENGTHS = [3, 1, 4, 6, 2, 5, 3, 3]
ARRAYS = [np.full((n, 2), i + 1.0, "float32") for i, n in enumerate(LENGTHS)]


def sequences():
    return stream_of(ARRAYS, "float32")


def check(batches, batch_size):
    """Every sequence is there once, whole, before its padding; the shapes of the batches."""
    found, shapes = {}, []
    for x, targets, weights in batches:
        x, weights = np.asarray(x), np.asarray(weights)
        assert targets is None
        assert x.shape[:2] == weights.shape
        assert len(x) <= batch_size
        assert weights.dtype == np.float32
        shapes.append(weights.shape)
        for row, weight in zip(x, weights, strict=True):
            steps = int(weight.sum())
            np.testing.assert_array_equal(weight, np.arange(len(weight)) < steps)
            np.testing.assert_array_equal(row[steps:], 0.0)
            found[int(row[0, 0])] = row[:steps]
    return found, shapes


def test_a_stream_has_the_arrays_in_order():
    stream = sequences()
    assert int(stream.cardinality()) == len(ARRAYS)
    assert stream.element_spec == tf.TensorSpec((None, 2), tf.float32)
    for found, wanted in zip(stream.as_numpy_iterator(), ARRAYS, strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_every_batch_is_as_long_as_its_longest_sequence():
    found, shapes = check(padded_batches(sequences(), 3), 3)
    assert shapes == [(3, 4), (3, 6), (2, 3)]
    assert len(found) == len(ARRAYS)


def test_lengths_make_few_shapes():
    found, shapes = check(padded_batches(sequences(), 2, lengths=(3, 6)), 2)
    assert set(shapes) == {(2, 3), (1, 3), (2, 6), (1, 6)}
    for i, wanted in enumerate(ARRAYS):
        np.testing.assert_array_equal(found[i + 1], wanted)
    _, shapes = check(padded_batches(sequences(), 2, lengths=(3, 6), drop_remainder=True), 2)
    assert set(shapes) == {(2, 3), (2, 6)}


@pytest.mark.parametrize("lengths", [None, (2, 4, 8)])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_the_number_of_batches_is_known(lengths, drop_remainder):
    batches = padded_batches(sequences(), 3, lengths, drop_remainder)
    assert int(batches.cardinality()) == len(list(batches)) > 0
    unknown = sequences().filter(lambda x: True)
    assert int(padded_batches(unknown, 3, lengths).cardinality()) < 0


def test_triples_are_padded_too():
    task = copy_task(length=2, width=1, seed=0).take(3)  # T = 5
    inputs, targets, weights = next(iter(padded_batches(task, 3, lengths=(8,))))
    for batch, part in zip((inputs, targets, weights), zip(*task, strict=True), strict=True):
        np.testing.assert_array_equal(batch[:, :5], np.stack(part))
        np.testing.assert_array_equal(batch[:, 5:], np.zeros_like(batch[:, 5:]))


def test_sequences_that_are_too_long_are_refused_as_they_come():
    with pytest.raises(tf.errors.InvalidArgumentError, match="must have at most 5 steps"):
        list(padded_batches(sequences(), 2, lengths=(3, 5)))
    empty = tf.data.Dataset.from_tensors(tf.zeros((0, 2)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one step"):
        list(padded_batches(empty, 2))


@pytest.mark.parametrize("lengths", [(), (3, 3), (5, 3), (0, 3), "35", (1.5,), 4])
def test_wrong_lengths(lengths):
    with pytest.raises((TypeError, ValueError), match="lengths must"):
        padded_batches(sequences(), 2, lengths=lengths)


def test_wrong_examples():
    with pytest.raises(TypeError, match="sequences must be a tf"):
        padded_batches(ARRAYS, 2)
    pairs = tf.data.Dataset.from_tensors((tf.zeros((3, 2)), tf.zeros((3,))))
    for wrong in (pairs, tf.data.Dataset.range(3)):
        with pytest.raises(ValueError, match="sequences must be of examples x"):
            padded_batches(wrong, 2)
