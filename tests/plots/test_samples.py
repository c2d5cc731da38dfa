"""Grids of samples: what they show and refuse."""

import numpy as np
import pytest
from matplotlib import image as mpl_image

from mf_keras import plots
from tests.backends import tf

RNG = np.random.default_rng(0)


def shown(axes):
    return np.asarray(axes.get_images()[0].get_array())


def test_sample_grid_puts_each_image_in_its_place():
    x = RNG.random((5, 6))
    figure = plots.sample_grid(x, (2, 3), columns=3)
    assert len(figure.axes) == 1
    canvas = shown(figure.axes[0])
    assert canvas.shape == (4, 9)
    for index, pixels in enumerate(x):
        row, column = divmod(index, 3)
        tile = canvas[2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(tile, pixels.reshape(2, 3))
    np.testing.assert_array_equal(canvas[2:, 6:], 0)  # the empty place is blank


def test_sample_grid_is_dark_ink_on_light_ground(tmp_path):
    x = np.zeros((2, 64))
    x[1] = 1
    path = plots.save(plots.sample_grid(x, (8, 8), columns=2), tmp_path / "a.png", dpi=100)
    pixels = mpl_image.imread(path)[..., :3].mean(axis=2)
    middle = len(pixels) // 2
    quarter = pixels.shape[1] // 4
    assert pixels[middle, quarter] == 1.0
    assert pixels[middle, 3 * quarter] == 0.0


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 2), (9, 3), (10, 4), (64, 8)])
def test_sample_grid_is_about_square(n, columns):
    canvas = shown(plots.sample_grid(np.zeros((n, 64, 1)), (8, 8)).axes[0])
    assert canvas.shape == (8 * -(-n // columns), 8 * columns)


def test_sample_grid_takes_tensors_and_both_ranks():
    x = RNG.integers(0, 2, (4, 64, 1)).astype("float32")
    canvases = [
        shown(plots.sample_grid(value, (8, 8)).axes[0])
        for value in (x, x[..., 0], tf.constant(x), tf.cast(x, "bfloat16"), x.astype(bool))
    ]
    for canvas in canvases[1:]:
        np.testing.assert_array_equal(canvas, canvases[0])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (np.zeros((3, 63)), "sequences must have shape"),
        (np.zeros((3, 64, 2)), "sequences must have shape"),
        (np.zeros((64,)), "sequences must have shape"),
        (np.zeros((0, 64)), "sequences must have shape"),
        (np.full((1, 64), np.nan), "sequences must be finite"),
        (np.full((1, 64), 1.5), r"sequences must be in \[0.0, 1.0\]"),
        (np.full((1, 64), -0.1), r"sequences must be in \[0.0, 1.0\]"),
    ],
)
def test_sample_grid_refuses(sequences, message):
    with pytest.raises(ValueError, match=message):
        plots.sample_grid(sequences, (8, 8))


def test_sample_grid_refuses_other_arguments():
    x = np.zeros((4, 64))
    for shape, error in ((64, TypeError), ((8,), ValueError), ((8, 0), ValueError)):
        with pytest.raises(error, match="image_shape must be"):
            plots.sample_grid(x, shape)
    for columns, error in ((0, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match="columns must be"):
            plots.sample_grid(x, (8, 8), columns=columns)
    with pytest.raises(TypeError, match="sequences must be an array of numbers"):
        plots.sample_grid([["a"]], (1, 1))


# Memory and weights.
