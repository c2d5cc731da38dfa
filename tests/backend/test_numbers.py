"""All frameworks give one set of numbers, to rounding."""

import pathlib

import numpy as np
import pytest
from keras import ops

from mf_keras import addressing, backend
from tests.backend.numbers import CASES, key, numbers

FROZEN = np.load(pathlib.Path(__file__).with_name("numbers.npz"))


@pytest.mark.parametrize(("name", "rows", "chunk"), CASES)
def test_cells_and_their_gradients_are_those_of_tensorflow(name, rows, chunk):
    frozen, start = FROZEN[key(name, rows, chunk)], 0
    for array in numbers(name, rows, chunk):
        expected = frozen[start : start + array.size].reshape(array.shape)
        start += array.size
        scale = max(np.abs(expected).max(), 1e-3)
        np.testing.assert_allclose(array / scale, expected / scale, atol=5e-5)
    assert start == frozen.size


def test_the_gradient_of_a_sharp_weighting_is_that_of_the_formula():
    """Where the largest entry is all that is left of the sum, which rounds to 1."""
    w, gamma, size = np.array([0.97, 0.02, 0.01]), 6.0, 1e-4

    def first(w):
        return (w**gamma / (w**gamma).sum())[0]

    expected = [(first(w + size * e) - first(w - size * e)) / (2 * size) for e in np.eye(3)]
    gammas = ops.convert_to_tensor([[gamma]], "float32")

    def run(weights):
        return [addressing.sharpen(weights, gammas)[0, 0, 0]], None

    _, _, pull = backend.pullback(run, [], [ops.convert_to_tensor([[w]], "float32")])
    _, (found,) = pull([ops.ones(())])
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-8)


def test_the_similarity_to_a_word_of_the_least_norm_has_no_gradient():
    """A cosine of one number is constant, also where its norm is the floor of the division."""
    keys, strengths = ops.ones((1, 1, 1)), ops.ones((1, 1))

    def run(memory):
        return [addressing.content_weights(memory, keys, strengths)[0, 0, 0]], None

    _, _, pull = backend.pullback(run, [], [ops.full((1, 4, 1), 1e-6)])
    _, (found,) = pull([ops.ones(())])
    np.testing.assert_allclose(found, 0.0, atol=1.0)  # half of the gradient would be 62 500
