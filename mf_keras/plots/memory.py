"""Memory matrices and the weights of the heads, over time."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mf_keras.plots.figure import (
    NORMAL,
    SMALL,
    WHOLE_TICKS,
    as_array,
    empty_figure,
)
from mf_keras.types import ArrayLike
from mf_keras.validation import positive_int, real_number, shape_of

_SIGNED = "RdBu_r"
_WEIGHTS = "viridis"
_ROUNDING = 0.01  # of weights in half precision
_MOST_PANELS = 100


def memory_heatmaps(
    memory: ArrayLike,
    every: int | None = None,
    title: str | None = None,
    limit: float | None = None,
) -> Figure:
    """The memory of one sequence at chosen time steps, side by side (figure 4 of the paper).

    Args:
        memory: (T, N, W).
        every: show t = every, 2 every, ...; None for every 50 steps, or what gives 8 to 16 pictures
            if that is less or more.
        title: a line above the pictures.
        limit: the colours reach from -limit to limit; None for the largest shown entry. Give the
            same to figures that are to be compared.

    Returns:
        A figure with one axes for each shown step, then the colour bar's.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `memory` is not of rank 3 or not finite, `every` is not in [1, T] or gives more
            than 100 pictures, `limit` is not positive.
    """
    memory = as_array("memory", memory)
    shape_of("memory", memory, ("T", "N", "W"))
    steps = np.arange(1, len(memory) + 1)
    every = _interval(len(memory)) if every is None else positive_int("every", every)
    shown = steps[every - 1 :: every]
    if not 1 <= len(shown) <= _MOST_PANELS:
        raise ValueError(
            f"every must give 1 to {_MOST_PANELS} pictures of {len(memory)} steps, got {every}."
        )
    limit = _colour_limit(memory[shown - 1], limit)
    slots, words = memory.shape[1:]
    columns = min(len(shown), 8)
    rows = math.ceil(len(shown) / columns)
    height = 1.1 * min(max(slots / words, 0.6), 2.5)
    figure = empty_figure(1.1 + 1.15 * columns, 0.5 + (0.3 + height) * rows, title)
    grid = figure.add_gridspec(rows, columns)
    panels = []
    for index, step in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        image = _heatmap(axes, memory[step - 1], _SIGNED, -limit, limit)
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(f"t = {step}", fontsize=NORMAL)
        axes.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= len(shown))
        panels.append(axes)
    figure.supxlabel("column of the memory", fontsize=NORMAL)
    figure.supylabel("slot", fontsize=NORMAL)
    _colour_bar(figure, image, panels, "memory", height=rows * height)
    return figure


def memory_comparison(
    memories: Mapping[str, ArrayLike], every: int | None = None, title: str | None = None
) -> Figure:
    """Memories of several sequences at the same time steps, one row each, in the same colours.

    For teacher-forced beside free-running memory (figure 4 of the paper).

    Args:
        memories: label -> (T, N, W), all of one shape.
        every: show t = every, 2 every, ...; None for what gives about eight columns.
        title: a line above the pictures.

    Returns:
        A figure with one axes for each label and shown step, row by row, then the colour bar's.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: there is nothing to show, shapes differ, a value is not finite, or `every` is
            not in [1, T] or gives more than 20 columns.
    """
    if not isinstance(memories, Mapping):
        raise TypeError(f"memories must map labels to arrays, got {type(memories).__name__}.")
    if not memories:
        raise ValueError("memories must hold at least one memory, got none.")
    arrays = {label: as_array(f"memories[{label!r}]", value) for label, value in memories.items()}
    shape = next(iter(arrays.values())).shape
    for label, array in arrays.items():
        shape_of(f"memories[{label!r}]", array, ("T", "N", "W"))
        shape_of(f"memories[{label!r}]", array, shape)
    every = math.ceil(shape[0] / 8) if every is None else positive_int("every", every)
    shown = np.arange(every, shape[0] + 1, every)
    if not 1 <= len(shown) <= 20:
        raise ValueError(f"every must give 1 to 20 columns of {shape[0]} steps, got {every}.")
    limit = _colour_limit(np.stack([array[shown - 1] for array in arrays.values()]), None)
    height = 1.1 * min(max(shape[1] / shape[2], 0.6), 2.5)
    figure = empty_figure(1.3 + 1.15 * len(shown), 0.6 + (0.3 + height) * len(arrays), title)
    grid = figure.subplots(len(arrays), len(shown), sharex=True, sharey=True, squeeze=False)
    for row, (label, array) in zip(grid, arrays.items(), strict=True):
        for axes, step in zip(row, shown, strict=True):
            image = _heatmap(axes, array[step - 1], _SIGNED, -limit, limit)
            axes.locator_params(axis="x", nbins=4)
        row[0].set_ylabel(f"{label}\nslot", fontsize=NORMAL)
    for axes, step in zip(grid[0], shown, strict=True):
        axes.set_title(f"t = {step}", fontsize=NORMAL)
    figure.supxlabel("column of the memory", fontsize=NORMAL)
    _colour_bar(figure, image, list(grid.flat), "memory", height=len(arrays) * height)
    return figure


def weights_over_time(weights: ArrayLike, title: str | None = None) -> Figure:
    """The weights of the heads of one sequence: slots over time, one row per head.

    The colours reach from 0 to 1; where weights are outside of that, as a `KanervaCell`'s may be,
    they are those of signed numbers, and reach as far as the largest weight.

    Args:
        weights: (T, heads, N), read or write weights.
        title: a line above the pictures.

    Returns:
        A figure with one axes per head, then the colour bar's.

    Raises:
        TypeError: `weights` is no array of numbers.
        ValueError: it is not of rank 3, or a value is NaN or infinite.
    """
    weights = _weights("weights", weights, ("T", "heads", "N"))
    heads = weights.shape[1]
    figure = empty_figure(9.0, 0.7 + 1.5 * heads, title)
    panels = figure.subplots(heads, 1, sharex=True, squeeze=False)[:, 0]
    image = _draw_heads(panels, weights, "head", *_weight_colours(weights))
    panels[-1].set_xlabel("time step t", fontsize=NORMAL)
    _colour_bar(figure, image, panels, "weight", height=1.5 * heads)
    return figure


def memory_over_time(
    memory: ArrayLike,
    write_weights: ArrayLike | None,
    read_weights: ArrayLike,
    title: str | None = None,
    limit: float | None = None,
) -> Figure:
    """What one sequence does with the memory (figures 1 and 2 of the paper).

    On top every cell of the memory over time, slot below slot; under it, on the same time axis, the
    write weights and the read weights, one row per head.

    Args:
        memory: (T, N, W).
        write_weights: (T, H, N); None of a cell whose state has none.
        read_weights: (T, R, N). The colours of weights are as in `weights_over_time`.
        title: a line above the pictures.
        limit: the memory's colours reach from -limit to limit; None for its largest entry. Give the
            same to figures that are to be compared.

    Returns:
        A figure with 1 + H + R axes (H = 0 without write weights) from top to bottom, then two
        colour bars'.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: shapes do not fit, a value is not finite, or `limit` is not positive.
    """
    memory = as_array("memory", memory)
    shape_of("memory", memory, ("T", "N", "W"))
    steps, slots, words = memory.shape
    if write_weights is not None:
        write_weights = _weights("write_weights", write_weights, (steps, "H", slots))
    read_weights = _weights("read_weights", read_weights, (steps, "R", slots))
    limit = _colour_limit(memory, limit)
    num_writes = 0 if write_weights is None else write_weights.shape[1]
    num_reads = read_weights.shape[1]
    ratios = [2.6] + [1.0] * (num_writes + num_reads)
    figure = empty_figure(9.0, 0.7 + 1.35 * sum(ratios), title)
    top, *panels = figure.subplots(
        len(ratios), 1, sharex=True, gridspec_kw={"height_ratios": ratios}
    )
    cells = memory.reshape(steps, slots * words)
    image = _heatmap(top, cells.T, _SIGNED, -limit, limit, rows_per_unit=words)
    if slots <= 64:  # more lines would hide the cells
        top.hlines(np.arange(1, slots) + 0.5, 0.5, steps + 0.5, colors="#808080", linewidth=0.3)
    _row_title(top, "memory", f"slot ({words} cells each)")
    _colour_bar(figure, image, [top], "memory", height=1.35 * ratios[0])
    colours = _weight_colours(*(each for each in (write_weights, read_weights) if each is not None))
    if write_weights is not None:
        _draw_heads(panels[:num_writes], write_weights, "write head", *colours)
    image = _draw_heads(panels[num_writes:], read_weights, "read head", *colours)
    panels[-1].set_xlabel("time step t", fontsize=NORMAL)
    _colour_bar(figure, image, panels, "weight", height=1.35 * len(panels))
    return figure


def _weights(name, value, shape):
    weights = as_array(name, value)
    shape_of(name, weights, shape)
    return weights


def _weight_colours(*weights):
    """The colours of all these weights, and the lowest and the highest number of their scale."""
    low, high = min(each.min() for each in weights), max(each.max() for each in weights)
    if low >= -_ROUNDING and high <= 1.0 + _ROUNDING:
        return _WEIGHTS, 0.0, 1.0
    limit = max(-low, high)
    return _SIGNED, -limit, limit


def _interval(steps):
    """Steps between pictures: the paper's 50 where that gives 8 to 16 of them."""
    return max(1, steps // 8) if steps < 400 else max(50, math.ceil(steps / 16))


def _colour_limit(shown, limit):
    if limit is None:
        return float(np.abs(shown).max()) or 1.0
    limit = real_number("limit", limit)
    if limit <= 0:
        raise ValueError(f"limit must be positive, got {limit!r}.")
    return limit


def _heatmap(axes, values, colours, low, high, rows_per_unit=1):
    """Draw values (rows, columns), both counted from 1, every `rows_per_unit` rows as one."""
    rows, columns = values.shape
    image = axes.imshow(
        values,
        cmap=colours,
        vmin=low,
        vmax=high,
        aspect="auto",
        # Sharp cells; where there are more of them than pixels, that would drop some unseen.
        interpolation="nearest" if max(rows, columns) <= 1000 else "antialiased",
        extent=(0.5, columns + 0.5, rows / rows_per_unit + 0.5, 0.5),
    )
    axes.xaxis.set_major_locator(MaxNLocator("auto", **WHOLE_TICKS))
    axes.yaxis.set_major_locator(MaxNLocator(5, **WHOLE_TICKS))
    axes.tick_params(labelsize=SMALL)
    return image


def _row_title(axes, title, ylabel):
    axes.set_title(title, fontsize=NORMAL, loc="left")
    axes.set_ylabel(ylabel, fontsize=NORMAL)


def _draw_heads(panels, weights, name, colours, low, high):
    """One heat map of slots over time for each head of weights (T, heads, N)."""
    for head, axes in enumerate(panels):
        image = _heatmap(axes, weights[:, head].T, colours, low, high)
        _row_title(axes, f"{name} {head + 1}", "slot")
    return image


def _colour_bar(figure, image, panels, label, height):
    """A bar of the same width, beside all the panels, whatever their height."""
    bar = figure.colorbar(image, ax=panels, pad=0.12 / figure.get_figwidth(), aspect=8 * height)
    bar.set_label(label, fontsize=NORMAL)
    bar.ax.tick_params(labelsize=SMALL)
