"""Pictures of samples, of learning curves and of what the memory does.

Every function returns a `matplotlib.figure.Figure` that belongs to no window and no global state;
`save` writes it as a PNG. Time steps and slots are counted from 1, as in the papers: the memory at
t = 50 is the one after 50 steps, `memory[49]`.
"""

import math
import os
import pathlib
import uuid
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mf_keras.validation import positive_int, real_number, shape_of

_SMALL, _NORMAL, _LARGE = 8, 9, 11  # font sizes in points
_SIGNED = "RdBu_r"
_WEIGHTS = "viridis"
# Okabe and Ito's colours, distinct for the colour-blind; yellow left out, too pale for a line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES = ("-", "--", ":", "-.")
_MOST_PANELS = 100


def save(figure, path, dpi=150):
    """Write a figure as a PNG; a reader of `path` sees the old file or the new one, whole.

    Args:
        figure: a matplotlib figure.
        path: the file, ending in .png; its folder is created.
        dpi: pixels per inch.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        TypeError: `figure` is no figure, or `dpi` no integer.
        ValueError: `path` does not end in .png, or `dpi` is below 1.
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, got {type(figure).__name__}.")
    positive_int("dpi", dpi)
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path must end in .png, got {str(path)!r}.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        figure.savefig(temporary, format="png", dpi=dpi)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def sample_grid(sequences, image_shape, columns=None, title=None):
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
    height, width = _image_shape(image_shape)
    pixels = _array("sequences", sequences)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    shape_of("sequences", pixels, ("n", height * width, 1))
    _check_range("sequences", pixels, 0.0, 1.0)
    n = len(pixels)
    columns = math.ceil(math.sqrt(n)) if columns is None else positive_int("columns", columns)
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    cell = min(1.0, 8 / columns)  # inches
    figure = _figure(columns * cell, rows * cell * height / width, title)
    axes = figure.add_subplot()
    axes.imshow(
        _tiled(pixels.reshape(n, height, width), rows, columns),
        cmap="gray_r",
        vmin=0.0,
        vmax=1.0,
        interpolation="nearest",
    )
    lines = {"colors": "#b0b0b0", "linewidth": 0.6}
    axes.vlines(np.arange(1, columns) * width - 0.5, -0.5, rows * height - 0.5, **lines)
    axes.hlines(np.arange(1, rows) * height - 0.5, -0.5, columns * width - 0.5, **lines)
    axes.spines[:].set_color("#b0b0b0")
    axes.set_xticks([])
    axes.set_yticks([])
    return figure


def memory_heatmaps(memory, every=None, title=None, limit=None):
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
    memory = _array("memory", memory)
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
    figure = _figure(1.1 + 1.15 * columns, 0.5 + (0.3 + height) * rows, title)
    grid = figure.add_gridspec(rows, columns)
    panels = []
    for index, step in enumerate(shown):
        axes = figure.add_subplot(grid[divmod(index, columns)])
        image = _heatmap(axes, memory[step - 1], _SIGNED, -limit, limit)
        axes.locator_params(axis="x", nbins=4)
        axes.set_title(f"t = {step}", fontsize=_NORMAL)
        axes.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= len(shown))
        panels.append(axes)
    figure.supxlabel("column of the memory", fontsize=_NORMAL)
    figure.supylabel("slot", fontsize=_NORMAL)
    _colour_bar(figure, image, panels, "memory", height=rows * height)
    return figure


def memory_comparison(memories, every=None, title=None):
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
    arrays = {label: _array(f"memories[{label!r}]", value) for label, value in memories.items()}
    shape = next(iter(arrays.values())).shape
    for label, array in arrays.items():
        shape_of(f"memories[{label!r}]", array, shape if len(shape) == 3 else ("T", "N", "W"))
    every = math.ceil(shape[0] / 8) if every is None else positive_int("every", every)
    shown = np.arange(every, shape[0] + 1, every)
    if not 1 <= len(shown) <= 20:
        raise ValueError(f"every must give 1 to 20 columns of {shape[0]} steps, got {every}.")
    limit = max(_colour_limit(array[shown - 1], None) for array in arrays.values())
    height = 1.1 * min(max(shape[1] / shape[2], 0.6), 2.5)
    figure = _figure(1.3 + 1.15 * len(shown), 0.6 + (0.3 + height) * len(arrays), title)
    grid = figure.subplots(len(arrays), len(shown), sharex=True, sharey=True, squeeze=False)
    for row, (label, array) in zip(grid, arrays.items(), strict=True):
        for axes, step in zip(row, shown, strict=True):
            image = _heatmap(axes, array[step - 1], _SIGNED, -limit, limit)
            axes.locator_params(axis="x", nbins=4)
        row[0].set_ylabel(f"{label}\nslot", fontsize=_NORMAL)
    for axes, step in zip(grid[0], shown, strict=True):
        axes.set_title(f"t = {step}", fontsize=_NORMAL)
    figure.supxlabel("column of the memory", fontsize=_NORMAL)
    _colour_bar(figure, image, list(grid.flat), "memory", height=len(arrays) * height)
    return figure


def weights_over_time(weights, title=None):
    """Where the heads of one sequence look: slots over time, one row per head.

    Args:
        weights: (T, heads, N), read or write weights in [0, 1].
        title: a line above the pictures.

    Returns:
        A figure with one axes per head, then the colour bar's.

    Raises:
        TypeError: `weights` is no array of numbers.
        ValueError: it is not of rank 3, or a value is NaN or outside [0, 1].
    """
    weights = _weights("weights", weights, ("T", "heads", "N"))
    heads = weights.shape[1]
    figure = _figure(9.0, 0.7 + 1.5 * heads, title)
    panels = figure.subplots(heads, 1, sharex=True, squeeze=False)[:, 0]
    image = _draw_heads(panels, weights, "head")
    panels[-1].set_xlabel("time step t", fontsize=_NORMAL)
    _colour_bar(figure, image, panels, "weight", height=1.5 * heads)
    return figure


def memory_over_time(memory, write_weights, read_weights, title=None, limit=None):
    """What one sequence does with the memory (figures 1 and 2 of the paper).

    On top every cell of the memory over time, slot below slot; under it, on the same time axis, the
    write weights and the read weights, one row per head.

    Args:
        memory: (T, N, W).
        write_weights: (T, H, N), in [0, 1].
        read_weights: (T, R, N), in [0, 1].
        title: a line above the pictures.
        limit: the memory's colours reach from -limit to limit; None for its largest entry. Give the
            same to figures that are to be compared.

    Returns:
        A figure with 1 + H + R axes from top to bottom, then two colour bars'.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: shapes do not fit, a value is not finite, a weight is outside [0, 1], or `limit`
            is not positive.
    """
    memory = _array("memory", memory)
    shape_of("memory", memory, ("T", "N", "W"))
    steps, slots, words = memory.shape
    write_weights = _weights("write_weights", write_weights, (steps, "H", slots))
    read_weights = _weights("read_weights", read_weights, (steps, "R", slots))
    limit = _colour_limit(memory, limit)
    num_writes, num_reads = write_weights.shape[1], read_weights.shape[1]
    ratios = [2.6] + [1.0] * (num_writes + num_reads)
    figure = _figure(9.0, 0.7 + 1.35 * sum(ratios), title)
    top, *panels = figure.subplots(
        len(ratios), 1, sharex=True, gridspec_kw={"height_ratios": ratios}
    )
    cells = memory.reshape(steps, slots * words)
    image = _heatmap(top, cells.T, _SIGNED, -limit, limit, rows_per_unit=words)
    if slots <= 64:  # more lines would hide the cells
        top.hlines(np.arange(1, slots) + 0.5, 0.5, steps + 0.5, colors="#808080", linewidth=0.3)
    _row_title(top, "memory", f"slot ({words} cells each)")
    _colour_bar(figure, image, [top], "memory", height=1.35 * ratios[0])
    _draw_heads(panels[:num_writes], write_weights, "write head")
    image = _draw_heads(panels[num_writes:], read_weights, "read head")
    panels[-1].set_xlabel("time step t", fontsize=_NORMAL)
    _colour_bar(figure, image, panels, "weight", height=1.35 * len(panels))
    return figure


def curves(series, xlabel, ylabel, title=None):
    """Learning curves, each with its own colour and line style.

    Args:
        series: label -> (x, y), or label -> (x, mean, low, high) for a band around the mean; all
            (n,) with n free for each label.
        xlabel: name and unit of x.
        ylabel: name and unit of y.
        title: a line above the curves.

    Returns:
        A figure with one axes, and a legend beside it.

    Raises:
        TypeError: `series` is no mapping, or holds no arrays of numbers.
        ValueError: `series` is empty, lengths do not fit, a value is not finite, or low > high.
    """
    if not isinstance(series, Mapping):
        raise TypeError(f"series must map labels to arrays, got {type(series).__name__}.")
    if not series:
        raise ValueError("series must hold at least one curve, got none.")
    checked = {label: _curve(label, arrays) for label, arrays in series.items()}
    figure = _figure(8.0, 4.5, title)
    axes = figure.add_subplot()
    for index, (label, (x, y, *band)) in enumerate(checked.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        style = _STYLES[index % len(_STYLES)]
        marker = "o" if len(x) == 1 else None  # a line of one point is invisible
        axes.plot(x, y, color=colour, linestyle=style, marker=marker, label=str(label))
        if band:
            axes.fill_between(x, *band, color=colour, alpha=0.2, linewidth=0)
    axes.set_xlabel(xlabel, fontsize=_NORMAL)
    axes.set_ylabel(ylabel, fontsize=_NORMAL)
    axes.tick_params(labelsize=_SMALL)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=_NORMAL, frameon=False)
    return figure


def _array(name, value):
    """`value` as finite float64, whatever framework it comes from."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers: {error}") from error
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity.")
    return array


def _check_range(name, array, low, high, tolerance=0.0):
    if array.min() < low - tolerance or array.max() > high + tolerance:
        raise ValueError(
            f"{name} must be in [{low}, {high}], got values from {array.min()} to {array.max()}."
        )


def _weights(name, value, shape):
    weights = _array(name, value)
    shape_of(name, weights, shape)
    _check_range(name, weights, 0.0, 1.0, tolerance=0.01)  # what half precision may round to
    return weights


def _image_shape(image_shape):
    if not isinstance(image_shape, (tuple, list)):
        raise TypeError(f"image_shape must be (height, width), got {image_shape!r}.")
    if len(image_shape) != 2:
        raise ValueError(f"image_shape must be (height, width), got {image_shape!r}.")
    return tuple(positive_int("image_shape", size) for size in image_shape)


def _curve(label, arrays):
    """The checked (x, y) or (x, mean, low, high) of one label."""
    name = f"series[{label!r}]"
    if not isinstance(arrays, (tuple, list)) or len(arrays) not in (2, 4):
        raise ValueError(f"{name} must be (x, y) or (x, mean, low, high).")
    x, *rest = (_array(name, array) for array in arrays)
    shape_of(name, x, ("n",))
    for array in rest:
        shape_of(name, array, (len(x),))
    if len(rest) == 3 and (rest[1] > rest[2]).any():
        raise ValueError(f"{name} must have low <= high.")
    return x, *rest


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


def _tiled(images, rows, columns):
    """Images (n, height, width) in one (rows * height, columns * width), the rest blank."""
    n, height, width = images.shape
    canvas = np.zeros((rows * columns, height, width))
    canvas[:n] = images
    canvas = canvas.reshape(rows, columns, height, width).swapaxes(1, 2)
    return canvas.reshape(rows * height, columns * width)


def _figure(width, height, title):
    """An empty figure of that many inches, and more where the title needs them."""
    lines = title.splitlines() if title else []
    width = max([width, *(0.4 + 0.09 * len(line) for line in lines)])
    figure = Figure(figsize=(width, height + 0.3 * len(lines)), layout="constrained")
    if lines:
        figure.suptitle(title, fontsize=_LARGE)
    return figure


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
    ticks = {"integer": True, "min_n_ticks": 1, "steps": [1, 2, 5, 10]}
    axes.xaxis.set_major_locator(MaxNLocator("auto", **ticks))
    axes.yaxis.set_major_locator(MaxNLocator(5, **ticks))
    axes.tick_params(labelsize=_SMALL)
    return image


def _row_title(axes, title, ylabel):
    axes.set_title(title, fontsize=_NORMAL, loc="left")
    axes.set_ylabel(ylabel, fontsize=_NORMAL)


def _draw_heads(panels, weights, name):
    """One heat map of slots over time for each head of weights (T, heads, N)."""
    for head, axes in enumerate(panels):
        image = _heatmap(axes, weights[:, head].T, _WEIGHTS, 0.0, 1.0)
        _row_title(axes, f"{name} {head + 1}", "slot")
    return image


def _colour_bar(figure, image, panels, label, height):
    """A bar of the same width, beside all the panels, whatever their height."""
    bar = figure.colorbar(image, ax=panels, pad=0.12 / figure.get_figwidth(), aspect=8 * height)
    bar.set_label(label, fontsize=_NORMAL)
    bar.ax.tick_params(labelsize=_SMALL)
