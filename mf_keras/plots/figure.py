"""Figures, files and checks of numbers for all pictures."""

import io
import pathlib

import numpy as np
from matplotlib.figure import Figure

from mf_keras import files
from mf_keras.types import ArrayLike, Path
from mf_keras.validation import path as check_path
from mf_keras.validation import positive_int
from mf_keras.validation import text as check_text

SOFTWARE = "mf_keras"  # the entry "Software" of a PNG
MARK = b"Software\0" + SOFTWARE.encode()  # its bytes in the file
SMALL, NORMAL, LARGE = 8, 9, 11  # font sizes in points
# For matplotlib's MaxNLocator, on an axis of what can be counted.
WHOLE_TICKS = {"integer": True, "min_n_ticks": 1, "steps": [1, 2, 5, 10]}


class Picture(Figure):
    """A figure that a notebook shows as it is, without pyplot."""

    def _repr_png_(self) -> bytes:
        return as_png(self)


def as_png(figure: Figure) -> bytes:
    """A figure as a PNG, of the pixels that it has on a screen."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def save(figure: Figure, path: Path, dpi: int = 150) -> pathlib.Path:
    """Write a figure as a PNG, atomically.

    Args:
        figure: a matplotlib figure.
        path: the file, ending in .png; its folder is created.
        dpi: pixels per inch.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        TypeError: `figure` is no figure, or `dpi` no integer.
        ValueError: `path` does not end in .png, or `dpi` is below 1.
        mf_keras.files.NotWrittenError: writing failed, e.g. on a full disk; an existing file is
            unchanged.
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, got {type(figure).__name__}.")
    positive_int("dpi", dpi)
    path = check_path("path", path, ".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi, metadata={"Software": SOFTWARE})
    return path


def empty_figure(width: float, height: float, title: str | None) -> Figure:
    """An empty figure of that many inches, and more where the title needs them."""
    title = "" if title is None or title == "" else check_text("title", title)
    lines = title.splitlines()
    width = max([width, *(0.4 + 0.09 * len(line) for line in lines)])
    figure = Picture(figsize=(width, height + 0.3 * len(lines)), layout="constrained")
    if lines:
        figure.suptitle(title, fontsize=LARGE)
    return figure


def as_array(name: str, value: ArrayLike) -> np.ndarray:
    """`value` as finite float64, whatever framework it comes from."""
    try:
        if np.iscomplexobj(value):  # NumPy would drop the imaginary parts with only a warning
            raise TypeError("got complex numbers.")
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return array


def check_range(
    name: str, array: np.ndarray, low: float, high: float, tolerance: float = 0.0
) -> None:
    """Raise ValueError for an entry of `array` that is more than `tolerance` outside."""
    if array.min() < low - tolerance or array.max() > high + tolerance:
        raise ValueError(
            f"{name} must be in [{low}, {high}], got values from {array.min()} to {array.max()}."
        )
