"""Pictures of sequences that are no images: piano rolls, drawings of a pen, text."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

LOWEST_KEY = 21  # MIDI, of the 88 keys


def piano_rolls(pieces: Sequence[np.ndarray], title: str) -> Figure:
    """Pieces (T, 88) of 0/1, one below the other: which keys sound in each frame."""
    figure = Figure(figsize=(9.0, 0.5 + 1.6 * len(pieces)), layout="constrained")
    figure.suptitle(title)
    longest = max(len(piece) for piece in pieces)
    panels = figure.subplots(len(pieces), 1, squeeze=False)[:, 0]
    for axes, piece in zip(panels, pieces, strict=True):
        extent = (0, len(piece), LOWEST_KEY - 0.5, LOWEST_KEY + piece.shape[1] - 0.5)
        options = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
        axes.imshow(piece.T, origin="lower", aspect="auto", extent=extent, **options)
        axes.set_xlim(0, longest)
        axes.set_ylabel("MIDI key")
    axes.set_xlabel("frame")
    return figure


def pen_drawings(drawings: Sequence[np.ndarray], title: str, columns: int = 6) -> Figure:
    """Drawings (T, 3) of moves and states of the pen: 0 draws on, 1 is lifted, 2 ends."""
    rows = math.ceil(len(drawings) / columns)
    figure = Figure(figsize=(1.5 * columns, 0.4 + 1.5 * rows), layout="constrained")
    figure.suptitle(title)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, drawing in itertools.zip_longest(grid.flat, drawings):
        axes.axis("off")
        for line in pen_lines(drawing) if drawing is not None else ():
            axes.plot(*line.T, color="black", linewidth=1.0)
        axes.set_aspect("equal", adjustable="datalim")
        axes.invert_yaxis()  # as on a screen
    return figure


def pen_lines(drawing: np.ndarray) -> list[np.ndarray]:
    """The lines (n, 2) of a drawing (T, 3), up to the step that ends it."""
    pen = drawing[:, 2]
    ends = np.flatnonzero(pen == 2)
    length = ends[0] + 1 if len(ends) else len(drawing)
    points = np.cumsum(drawing[:length, :2], axis=0)
    lifted = np.flatnonzero(pen[: length - 1] == 1) + 1
    return [line for line in np.split(points, lifted) if len(line)]
