"""Learning curves."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mf_keras.plots.figure import NORMAL, SMALL, WHOLE_TICKS, as_array, empty_figure
from mf_keras.types import ArrayLike
from mf_keras.validation import shape_of, text

# Okabe and Ito's colours, distinct for the colour-blind; yellow left out, too pale for a line.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
_STYLES = ("-", "--", ":", "-.")
# Figure -> (label -> log, name of the axis).
_TRAINING = {
    "nll": ({"training": "nll", "validation": "val_nll"}, "NLL (nats per sequence)"),
    "discriminators": (
        {
            f"{part}: {label}": log.format(f"{part}_discriminator")
            for label, log in (
                ("accuracy", "{}_accuracy"),
                ("AUC, held out", "val_{}_auc"),
                ("gate open", "{}_gate_open"),
            )
            for part in ("hidden", "memory")
        },
        "accuracy, AUC, share of steps",
    ),
}


def curves(
    series: Mapping[str, Sequence[ArrayLike]], xlabel: str, ylabel: str, title: str | None = None
) -> Figure:
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
    text("xlabel", xlabel)
    text("ylabel", ylabel)
    checked = {label: _curve(label, arrays) for label, arrays in series.items()}
    figure = empty_figure(8.0, 4.5, title)
    axes = figure.add_subplot()
    for index, (label, (x, y, *band)) in enumerate(checked.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        style = _STYLES[index % len(_STYLES)]
        marker = "o" if len(x) == 1 else None  # a line of one point is invisible
        axes.plot(x, y, color=colour, linestyle=style, marker=marker, label=str(label))
        if band:
            axes.fill_between(x, *band, color=colour, alpha=0.2, linewidth=0)
    if all((x == x.round()).all() for x, *_ in checked.values()):  # epochs are whole
        axes.xaxis.set_major_locator(MaxNLocator("auto", **WHOLE_TICKS))
    axes.set_xlabel(xlabel, fontsize=NORMAL)
    axes.set_ylabel(ylabel, fontsize=NORMAL)
    axes.tick_params(labelsize=SMALL)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=NORMAL, frameon=False)
    return figure


def training_curves(logs: Mapping[str, Sequence[ArrayLike]]) -> dict[str, Figure]:
    """The NLL of a run, and the game of its discriminators of hidden states and of the memory.

    Of each discriminator the accuracy in training, the AUC on held-out data where
    `callbacks.DiscriminatorScores` measures it, and the share of steps in which the generator
    received its gradient.

    Args:
        logs: name of a log of `fit`, such as "val_nll" -> (epochs, values).

    Returns:
        A dict of figures: "nll" and "discriminators", those whose logs there are.

    Raises:
        TypeError, ValueError: as for `curves`.
    """
    if not isinstance(logs, Mapping):
        raise TypeError(f"logs must map names to arrays, got {type(logs).__name__}.")
    figures = {}
    for name, (labels, ylabel) in _TRAINING.items():
        series = {label: logs[log] for label, log in labels.items() if log in logs}
        if series:
            figures[name] = curves(series, "epoch", ylabel)
    return figures


def _curve(label, arrays):
    """The checked (x, y) or (x, mean, low, high) of one label."""
    name = f"series[{label!r}]"
    if not isinstance(arrays, (tuple, list)) or len(arrays) not in (2, 4):
        raise ValueError(f"{name} must be (x, y) or (x, mean, low, high).")
    x, *rest = (as_array(name, array) for array in arrays)
    shape_of(name, x, ("n",))
    for array in rest:
        shape_of(name, array, (len(x),))
    if len(rest) == 3 and (rest[1] > rest[2]).any():
        raise ValueError(f"{name} must have low <= high.")
    return x, *rest
