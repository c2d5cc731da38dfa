"""Strokes: moves are scaled, the last state of the pen is 2, and what is refused."""

import numpy as np
import pytest

from mf_keras.data import strokes
from mf_keras.outputs import Categorical, GaussianMixture, Joint
from tests.data.shared import SHARED, needs

PATH = SHARED / "strokes" / "omniglot_strokes.npz"
DRAWINGS = {
    "train": [[[2, 0, 0], [-2, 0, 1], [0, 2, 1]], [[0, -2, 1]]],
    "valid": [[[4, 4, 0]]],
    "test": [[[1, 0, 1], [0, 1, 0]]],
}


def write(path, drawings):
    arrays = {}
    for name, found in drawings.items():
        arrays[name] = np.empty(len(found), object)
        arrays[name][:] = [np.asarray(drawing) for drawing in found]
    np.savez(path, **arrays)
    return path


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "drawings.npz", DRAWINGS)


def test_moves_are_scaled_by_their_deviation_in_training(path):
    scale = np.std([2, 0, -2, 0, 0, 2, 0, -2])
    first, second = strokes(path).as_numpy_iterator()
    np.testing.assert_allclose(first[:, :2], np.float32([[2, 0], [-2, 0], [0, 2]]) / scale)
    np.testing.assert_array_equal(first[:, 2], [0, 1, 2])
    np.testing.assert_array_equal(second[:, 2], [2])
    (validation,) = strokes(path, "validation").as_numpy_iterator()
    np.testing.assert_allclose(validation, [[4 / scale, 4 / scale, 2]], rtol=1e-6)
    (test,) = strokes(path, "test", scale=2.0).as_numpy_iterator()
    np.testing.assert_array_equal(test, np.float32([[0.5, 0, 1], [0, 0.5, 2]]))


def test_what_is_refused(path, tmp_path):
    with pytest.raises(ValueError, match="longest is 2, but drawing 0 of 'train' has 3 steps"):
        strokes(path, longest=2)
    with pytest.raises(ValueError, match=r"scale must be above 0, got 0"):
        strokes(path, scale=0)
    with pytest.raises(ValueError, match="split must be one of"):
        strokes(path, "valid")
    with pytest.raises(FileNotFoundError, match="path must be an existing file"):
        strokes(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("text")
    for name, drawings in {
        "lacks": {"valid": DRAWINGS["valid"]},
        "pen": {"train": [[[0, 0, 2]], [[0, 0, 1], [0, 0, 1]]]},
        "columns": {"train": [[[0, 0]], [[0, 0], [1, 1]]]},
        "still": {"train": [[[0, 0, 1]], [[0, 0, 1], [0, 0, 1]]]},
        "text": None,
    }.items():
        wrong = tmp_path / f"{name}.npz"
        if drawings is not None:
            write(wrong, drawings)
        with pytest.raises(ValueError, match="path must"):
            strokes(wrong)


@needs("strokes")
def test_omniglot():
    output = Joint({"move": GaussianMixture(2), "pen": Categorical(3)})
    for split, count in {"validation": 1000, "test": 1000}.items():
        drawings = list(strokes(PATH, split).as_numpy_iterator())
        assert len(drawings) == count
        for drawing in drawings[:50]:
            output.check_values("drawing", drawing)
    assert np.mean([len(drawing) for drawing in drawings]) == pytest.approx(31, abs=1)
    assert int(strokes(PATH, longest=157).cardinality()) == 30_000
