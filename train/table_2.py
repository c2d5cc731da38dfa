"""Table 2 and figure 7 of the paper: the methods on the copy task over paired seeds."""

import numpy as np

from mf_keras import plots
from train import copying_arms as reading
from train.arms import (
    SEEDS,
    SETTINGS,
    check_outputs,
    difference,
    paired,
    publish,
    words,
    write_settings,
)

TABLE_HEAD = "correct predictions, mean"
# What is written, and by what a file of our own making is known.
MARKS = {
    "figure_7.png": plots.MARK,
    "table_2.md": TABLE_HEAD.encode(),
    SEEDS: ",".join(reading.SEED_FIELDS).encode(),
    reading.WINDOWS: ",".join(reading.WINDOW_FIELDS).encode(),
    SETTINGS: b"controller_units",
}


def table(arms, seeds):
    """Table 2 in Markdown: one row an arm, over the same seeds."""
    lines = [
        f"| method ({len(seeds)} seeds) | {TABLE_HEAD} | sd | paired difference, "
        "95 % interval | steps to the first window 95 % correct, median | seconds, mean |",
        "|---|---|---|---|---|---|",
    ]
    columns = {
        method: [run.result["correct_predictions"] for run in runs] for method, runs in arms.items()
    }
    for method, correct in columns.items():
        results = [run.result for run in arms[method]]
        sd = f"{np.std(correct, ddof=1):.0f}" if len(correct) > 1 else "-"
        # A run that never gets there counts as later than all others.
        steps = [result["steps_to_95_percent"] or np.inf for result in results]
        seconds = np.mean([result["seconds"] or np.nan for result in results])
        lines.append(
            f"| {words(method)} | {np.mean(correct):.0f} | {sd} | "
            f"{difference(method, columns, 0)} | "
            f"{np.median(steps):.0f} | {'-' if np.isnan(seconds) else f'{seconds:.0f}'} |"
        )
    return "\n".join(lines) + "\n"


def figure_7(arms):
    """NLL of the methods over the training, mean and range over the seeds."""
    series = {}
    for method, runs in arms.items():
        nll = np.array([[window["nll"] for window in run.windows] for run in runs])
        steps = np.arange(1, nll.shape[1] + 1)
        series[words(method)] = (steps, nll.mean(axis=0), nll.min(axis=0), nll.max(axis=0))
    title = "mean over seeds, and their range"
    return plots.curves(series, "training steps (thousands)", "NLL (nats per sequence)", title)


def compare(runs, out, steps=None):
    """Write table 2, figure 7 and what they are made of to the folder `out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `copying_arms.read` and `arms.paired`.
        OSError: a file that is not ours stands in the way, or cannot be written.
    """
    check_outputs(out, MARKS)
    arms, settings = reading.read(runs, steps)
    chosen, seeds = paired(arms)
    text = table(chosen, seeds)
    texts = {
        "table_2.md": text,
        SEEDS: reading.write_seeds(arms),
        reading.WINDOWS: reading.write_windows(arms),
        SETTINGS: write_settings(settings),
    }
    publish(out, {"figure_7.png": figure_7(chosen)}, texts)
    return text
