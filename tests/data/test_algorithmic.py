"""The copy task: layout, randomness, repeatability and speed of the stream."""

import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras.data import copy_task


def examples(count, skip=0, **arguments):
    data = copy_task(**arguments).skip(skip).batch(count).take(1)
    return next(data.as_numpy_iterator())


@settings(max_examples=8)
@given(
    length=st.integers(1, 9),
    width=st.integers(1, 7),
    seed=st.integers(0, 2**63 - 1),
    delimiter=st.booleans(),
)
def test_layout(length, width, seed, delimiter):
    data = copy_task(length, width, seed, delimiter)
    steps = 2 * length + delimiter
    shapes = ((steps, width + delimiter), (steps, width), (steps,))
    assert data.element_spec == tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)

    inputs, targets, weight = next(data.as_numpy_iterator())
    bits = inputs[:length, :width]
    assert ((bits == 0) | (bits == 1)).all()
    expected_inputs = np.zeros_like(inputs)
    expected_inputs[:length, :width] = bits
    if delimiter:
        expected_inputs[length, width] = 1
    np.testing.assert_array_equal(inputs, expected_inputs)
    expected_targets = np.zeros_like(targets)
    expected_targets[-length:] = bits
    np.testing.assert_array_equal(targets, expected_targets)
    np.testing.assert_array_equal(weight, [0.0] * (steps - length) + [1.0] * length)


def test_defaults_are_the_papers():
    assert [spec.shape for spec in copy_task().element_spec] == [(25, 7), (25, 6), (25,)]


def test_endless():
    assert int(copy_task().cardinality()) == tf.data.INFINITE_CARDINALITY
    assert examples(3, skip=5000)[0].shape == (3, 25, 7)


def test_bits_are_uniform_and_independent():
    bits = examples(8192)[0][:, :12, :6].reshape(8192, -1)
    deviation = 0.5 / np.sqrt(len(bits))
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 5 * deviation  # each place
    correlation = np.corrcoef(bits.T) - np.eye(bits.shape[1])
    assert np.abs(correlation).max() < 6 / np.sqrt(len(bits))
    assert len(np.unique(bits, axis=0)) == len(bits)  # blocks differ too


def test_a_seed_is_a_stream():
    data = copy_task(seed=7)
    first, again = (
        next(data.batch(3000).as_numpy_iterator())[0]
        for _ in range(2)  # 3000: across blocks
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, examples(3000, seed=7)[0])
    np.testing.assert_array_equal(first[1500:], examples(1500, skip=1500, seed=7)[0])


def test_the_stream_stays_what_it_was():
    """Results are compared across versions: a changed stream must not go unnoticed."""
    bits = examples(1025, length=3, width=4)[0][[0, 1024], :3, :4].astype(int)
    assert ["".join(map(str, example.ravel())) for example in bits] == [
        "010000001101",
        "100101101011",
    ]


@pytest.mark.parametrize("other", [1, 2**31, 2**32, 2**63 - 1])
def test_another_seed_is_another_stream(other):
    zero, another = examples(64, seed=0)[0], examples(64, seed=other)[0]
    agreement = (zero[:, :12, :6] == another[:, :12, :6]).mean()
    assert 0.4 < agreement < 0.6


def test_neighbouring_seeds_share_no_block():
    zero = {row.tobytes() for row in examples(4096, seed=0)[0]}
    one = {row.tobytes() for row in examples(4096, seed=1)[0]}
    assert not zero & one


def test_long_sequences_come_in_small_blocks():
    start = time.monotonic()
    inputs, _, _ = next(copy_task(length=20_000, width=8).as_numpy_iterator())
    assert inputs.shape == (40_001, 9)
    assert time.monotonic() - start < 10


def test_fast_enough_never_to_be_waited_for():
    data = copy_task().batch(1000).prefetch(2).take(20)
    list(data)
    start = time.monotonic()
    list(data)
    assert time.monotonic() - start < 2.0  # 10 000 examples a second; 100 000 on an idle machine


@pytest.mark.parametrize("name", ["length", "width"])
@pytest.mark.parametrize(
    ("value", "error"),
    [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError), ("3", TypeError)],
)
def test_wrong_sizes(name, value, error):
    with pytest.raises(error, match=f"{name} must be an integer >= 1"):
        copy_task(**{name: value})


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (-1, ValueError),
        (2**63, ValueError),
        (0.5, TypeError),
        (False, TypeError),
        (None, TypeError),
    ],
)
def test_wrong_seeds(value, error):
    with pytest.raises(error, match="seed must be"):
        copy_task(seed=value)


@pytest.mark.parametrize("value", [0, 1, None, "yes"])
def test_wrong_delimiters(value):
    with pytest.raises(TypeError, match="delimiter must be True or False"):
        copy_task(delimiter=value)


def test_numpy_arguments():
    data = copy_task(np.int64(2), np.int32(3), np.uint8(1), np.bool_(False))
    assert data.element_spec[0].shape == (4, 3)
