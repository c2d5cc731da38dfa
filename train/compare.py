"""Compare the methods on the copy task over paired seeds: table 2 and figure 7 of the paper.

python -m train.compare runs/copy_task-teacher_forcing runs/copy_task-positive_negative

Runs of one method may come in several folders, and runs of other options of the forcing are arms
of their own. Prints a Markdown table and writes it to table_2.md, with figure_7.png beside it, and
what they are made of: seeds.csv, windows.csv and settings.json. A folder that holds these three can
be compared again in the place of the runs, as train/results/copy_task.
"""

import argparse
import pathlib
import sys

import numpy as np

from mf_keras import files, plots
from train import arms as reading
from train import copy_task
from train import options as shared
from train.statistics import paired_interval

BASELINE = "teacher_forcing"
TABLE_HEAD = "correct predictions, mean"
# What is written, and by what a file of our own making is known.
OUTPUTS = {
    "figure_7.png": plots.MARK,
    "table_2.md": TABLE_HEAD.encode(),
    reading.SEEDS: ",".join(reading.SEED_FIELDS).encode(),
    reading.WINDOWS: ",".join(reading.WINDOW_FIELDS).encode(),
    reading.SETTINGS: b"controller_units",
}


def paired(arms):
    """The runs of the seeds that all arms have, in order, and these seeds."""
    seeds = sorted(set.intersection(*(set(arm) for arm in arms.values()))) if arms else []
    if not seeds:
        raise ValueError("the runs have no finished seed in common.")
    return {name: [arm[seed] for seed in seeds] for name, arm in arms.items()}, seeds


def table(arms, seeds):
    """Table 2 in Markdown: one row an arm, over the same seeds."""
    lines = [
        f"| method ({len(seeds)} seeds) | {TABLE_HEAD} | sd | paired difference, "
        "95 % interval | steps to the first window 95 % correct, median | seconds, mean |",
        "|---|---|---|---|---|---|",
    ]
    for method, runs in arms.items():
        results = [run.result for run in runs]
        correct = [result["correct_predictions"] for result in results]
        sd = f"{np.std(correct, ddof=1):.0f}" if len(correct) > 1 else "-"
        difference = "-"
        if method != BASELINE and BASELINE in arms and len(seeds) > 1:
            base = [run.result["correct_predictions"] for run in arms[BASELINE]]
            mean, low, high = paired_interval(base, correct)
            difference = f"{mean:+.0f} ({low:+.0f} to {high:+.0f})"
        # A run that never gets there counts as later than all others.
        steps = [result["steps_to_95_percent"] or np.inf for result in results]
        seconds = np.mean([result["seconds"] or np.nan for result in results])
        lines.append(
            f"| {_words(method)} | {np.mean(correct):.0f} | {sd} | {difference} | "
            f"{np.median(steps):.0f} | {'-' if np.isnan(seconds) else f'{seconds:.0f}'} |"
        )
    return "\n".join(lines) + "\n"


def _words(method):
    """An arm's name as a reader wants it: `positive/negative, --no-gate`."""
    method, *options = method.split(" ", 1)
    words = method.replace("positive_negative", "positive/negative").replace("_", " ")
    return ", ".join([words, *options])


def figure_7(arms):
    """NLL of the methods over the training, mean and range over the seeds."""
    series = {}
    for method, runs in arms.items():
        nll = np.array([[window["nll"] for window in run.windows] for run in runs])
        steps = np.arange(1, nll.shape[1] + 1)
        series[_words(method)] = (steps, nll.mean(axis=0), nll.min(axis=0), nll.max(axis=0))
    title = "mean over seeds, and their range"
    return plots.curves(series, "training steps (thousands)", "NLL (nats per sequence)", title)


def compare(runs, out, steps=None):
    """Write table 2, figure 7 and what they are made of to the folder `out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `arms.read` and `paired`.
        OSError: a file that is not ours stands in the way, or cannot be written.
    """
    check_outputs(out)
    arms, settings = reading.read(runs, steps)
    chosen, seeds = paired(arms)
    text = table(chosen, seeds)
    contents = {
        "table_2.md": text,
        reading.SEEDS: reading.write_seeds(arms),
        reading.WINDOWS: reading.write_windows(arms),
        reading.SETTINGS: reading.write_settings(settings),
    }
    plots.save(figure_7(chosen), out / "figure_7.png")
    for name, content in contents.items():
        with files.aside(out / name) as temporary:
            temporary.write_text(content)
    return text


def check_outputs(out):
    """Refuse a folder where a file that is not ours would be replaced.

    Raises:
        OSError: as for `files.check_ours`.
    """
    for name, mark in OUTPUTS.items():
        files.check_ours(out / name, mark)


def main(arguments=None):
    """Compare the runs."""
    parser = argparse.ArgumentParser(
        prog="python -m train.compare", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "runs", nargs="+", help="folders of train.copy_task, or of an earlier comparison"
    )
    parser.add_argument(
        "--steps",
        type=shared.positive_int,
        help="compare so many first steps of every run; default: all",
    )
    parser.add_argument("--out", default="runs/figures", help="default: runs/figures")
    options = parser.parse_args(arguments)
    if (options.steps or 0) % copy_task.WINDOW:
        parser.error(
            f"argument --steps: must be a multiple of {copy_task.WINDOW}, got {options.steps}"
        )
    try:
        print(compare(options.runs, pathlib.Path(options.out), options.steps))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
