"""All frameworks give one set of numbers, to rounding."""

import pathlib

import numpy as np
import pytest

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
