"""Tables and figures of variants over paired seeds, and the folder that they are written to."""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mf_keras import files, plots
from train.analysis.run_table import by_variant, title
from train.analysis.statistics import paired_interval
from train.runs.folder import write_text
from train.runs.options import BASELINE

Curve = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [_line(head), "|" + "---|" * len(head), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def number(value: float, digits: int) -> str:
    """A number with so many digits after the point; "-" for NaN."""
    return "-" if np.isnan(value) else f"{value:.{digits}f}"


def difference(column: pd.Series, variant: str, digits: int) -> str:
    """A variant's paired difference to teacher forcing: `+0.35 (-0.55 to +1.25)`, of 95 %.

    Args:
        column: of numbers, NaN where one is not known; index (method, seed), the same seeds for
            all variants.
        variant: its name.
        digits: after the point.

    Returns:
        "-" for teacher forcing itself, or where there are no two pairs, or one is not known.
    """
    variants = column.index.unique("method")
    if variant == BASELINE or BASELINE not in variants:
        return "-"
    first, second = (column.loc[[name]].to_numpy() for name in (BASELINE, variant))
    if len(first) < 2 or not np.isfinite([first, second]).all():
        return "-"
    mean, low, high = (f"{x:+.{digits}f}" for x in paired_interval(first, second))
    return f"{mean} ({low} to {high})"


def over_steps(column: pd.Series) -> dict[str, Curve]:
    """Curves of variants for `plots.curves`: steps, and mean, minimum, maximum over the seeds.

    Args:
        column: of numbers; index (method, seed, step).
    """
    curves = {}
    for variant, rows in by_variant(column.to_frame("value")):
        steps = rows["value"].groupby(level=2)
        mean = steps.mean()
        curves[title(variant)] = (
            mean.index.to_numpy(),
            mean.to_numpy(),
            steps.min().to_numpy(),
            steps.max().to_numpy(),
        )
    return curves


def check_outputs(out: pathlib.Path, marks: dict[str, bytes]) -> None:
    """Refuse a folder where a file of another program would be replaced.

    Args:
        out: the folder.
        marks: name of a file -> the bytes by which a file of this program is recognised.

    Raises:
        OSError: as for `files.check_ours`.
    """
    for name, mark in marks.items():
        files.check_ours(out / name, mark)


def publish(out: pathlib.Path, figures: dict[str, Figure], texts: dict[str, str]) -> None:
    """Write figures and texts, by their names, to a folder, each atomically."""
    for name, figure in figures.items():
        plots.save(figure, out / name)
    for name, text in texts.items():
        write_text(out / name, text)
