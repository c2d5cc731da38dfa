"""Bits: their likelihood in numbers, whatever the size of a logit."""

import numpy as np
import pytest

from mf_keras.outputs import Bernoulli


def test_correct_looks_at_the_weighted_steps_alone():
    targets = np.array([[[1, 0], [1, 1]], [[0, 0], [1, 0]], [[1, 1], [0, 1]]], "float32")
    logits = np.where(targets == 1, 2.0, -2.0).astype("float32")
    logits[1, 1, 0] *= -1  # a wrong bit that counts
    logits[2, 0, 0] *= -1  # a wrong bit that does not
    weights = np.array([[0, 1]] * 3, "float32")
    np.testing.assert_array_equal(
        Bernoulli(2).correct(targets, logits, weights), [True, False, True]
    )
    np.testing.assert_array_equal(Bernoulli(2).correct(targets, logits), [True, False, False])


def test_the_nll_is_that_of_the_probabilities_and_linear_in_large_logits():
    logits = np.float32([[[-2.0, 0.5]], [[0.0, 3.0]]])
    x = np.float32([[[0, 1]], [[1, 0]]])
    p = 1.0 / (1.0 + np.exp(-logits))
    expected = -np.log(np.where(x == 1, p, 1.0 - p)).sum(axis=-1)
    np.testing.assert_allclose(Bernoulli(2).step_nll(x, logits), expected, rtol=1e-6)
    large = np.float32([[[-1e4, 1e4]]])
    np.testing.assert_allclose(Bernoulli(2).step_nll(np.float32([[[1, 0]]]), large), [[2e4]])
    np.testing.assert_array_equal(Bernoulli(2).step_nll(np.float32([[[0, 1]]]), large), [[0.0]])


def test_a_threshold_is_the_logit_of_the_noise_times_the_temperature():
    noise = np.float32([[0.2], [0.5], [0.9]])
    found = Bernoulli(1).thresholds(noise, 2.0)
    np.testing.assert_allclose(found, 2.0 * np.log(noise / (1.0 - noise)), rtol=1e-5, atol=1e-6)
    assert np.isfinite(Bernoulli(1).thresholds(np.float32([0.0, 1.0]), 1.0)).all()


def test_one_bit_a_step_is_a_pixel():
    np.testing.assert_array_equal(Bernoulli(1).as_pixels(np.ones((2, 3, 1))), np.ones((2, 3)))
    with pytest.raises(ValueError, match="a pixel"):
        Bernoulli(2).as_pixels(np.ones((2, 3, 2)))


@pytest.mark.parametrize("units", [0, -1, 1.5, "2", True])
def test_wrong_sizes_are_named(units):
    with pytest.raises((TypeError, ValueError), match="units must be an integer >= 1"):
        Bernoulli(units)
