"""Sequences of pixels as images."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mf_keras.plots.figure import as_array, check_range, empty_figure
from mf_keras.types import ArrayLike
from mf_keras.validation import positive_int, shape_of


def sample_grid(
    sequences: ArrayLike,
    image_shape: Sequence[int],
    columns: int | None = None,
    title: str | None = None,
) -> Figure:
    """Sequences of pixels as a grid of images, dark ink on a light ground (figure 5 of the paper).

    Args:
        sequences: (n, T, 1) or (n, T), values in [0, 1], in raster order.
        image_shape: (height, width) with height * width = T.
        columns: images per row; None for about as many columns as rows.
        title: a line above the grid.

    Returns:
        A figure with one axes.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: shapes do not fit, or a value is NaN or outside [0, 1].
    """
    height, width = check_image_shape(image_shape)
    pixels = as_array("sequences", sequences)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    shape_of("sequences", pixels, ("n", height * width, 1))
    check_range("sequences", pixels, 0.0, 1.0)
    n = len(pixels)
    columns = math.ceil(math.sqrt(n)) if columns is None else positive_int("columns", columns)
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    cell = min(1.0, 8 / columns)  # inches
    figure = empty_figure(columns * cell, rows * cell * height / width, title)
    axes = figure.add_subplot()
    axes.imshow(
        _tiled(pixels.reshape(n, height, width), rows, columns),
        cmap="gray_r",
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
    )
    lines: dict[str, Any] = {"colors": "#b0b0b0", "linewidth": 0.6}
    axes.vlines(np.arange(1, columns) * width - 0.5, -0.5, rows * height - 0.5, **lines)
    axes.hlines(np.arange(1, rows) * height - 0.5, -0.5, columns * width - 0.5, **lines)
    axes.spines[:].set_color("#b0b0b0")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def check_image_shape(image_shape: Sequence[int]) -> tuple[int, int]:
    """`image_shape` as (height, width).

    Raises:
        TypeError, ValueError: it is something else.
    """
    if not isinstance(image_shape, (tuple, list)):
        raise TypeError(f"image_shape must be (height, width), got {image_shape!r}.")
    if len(image_shape) != 2:
        raise ValueError(f"image_shape must be (height, width), got {image_shape!r}.")
    height, width = (positive_int("image_shape", size) for size in image_shape)
    return height, width


def _tiled(images, rows, columns):
    """Images (n, height, width) in one (rows * height, columns * width), the rest blank."""
    n, height, width = images.shape
    canvas = np.zeros((rows * columns, height, width))
    canvas[:n] = images
    canvas = canvas.reshape(rows, columns, height, width).swapaxes(1, 2)
    return canvas.reshape(rows * height, columns * width)
