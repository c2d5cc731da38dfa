"""Streams of arrays, which the tasks give on JAX; they are the same on either framework."""

import numpy as np
import pytest

from mf_keras.data.streams import Stream


def test_a_stream_that_ends_is_shuffled_and_batched():
    stream = Stream(lambda index: np.arange(10) + 10 * index, 10, length=10)
    assert [len(batch) for batch in stream.batch(4)] == [4, 4, 2]
    assert [len(batch) for batch in stream.batch(4, drop_remainder=True)] == [4, 4]
    shuffled = stream.shuffle(10, seed=1).batch(5)
    first, second = (np.concatenate(list(shuffled)) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(10))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, np.concatenate(list(stream.shuffle(10, seed=1).batch(5))))
    with pytest.raises(ValueError, match="shuffle needs a stream with an end"):
        Stream(lambda index: np.arange(10) + 10 * index, 10).shuffle(3)
    with pytest.raises(ValueError, match="batch must come before batch"):
        stream.batch(2).batch(2)
    with pytest.raises(IndexError):
        stream[10]


def test_an_endless_stream_goes_over_the_ends_of_its_blocks():
    stream = Stream(lambda index: {"x": np.arange(3) + 3 * index, "i": np.full(3, index)}, 3)
    assert stream.num_batches is stream.batch(4).num_batches is None
    batch = stream.batch(4)[1]  # examples 4 to 7, of the blocks 1 and 2
    np.testing.assert_array_equal(batch["x"], [4, 5, 6, 7])
    np.testing.assert_array_equal(batch["i"], [1, 1, 2, 2])
    assert [int(example["x"]) for example in stream.take(4)] == [0, 1, 2, 3]
    assert [len(batch["x"]) for batch in stream.take(5).batch(2)] == [2, 2, 1]
    assert stream.batch(2).take(2).num_batches == 2
    with pytest.raises(ValueError, match="take must come before shuffle"):
        stream.take(4).shuffle(4).take(2)


def test_what_changes_a_stream_leaves_the_old_one():
    stream = Stream(lambda index: np.arange(6), 6, length=6)
    stream.shuffle(6, seed=3).batch(2)
    assert [int(example) for example in stream] == list(range(6))
