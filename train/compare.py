"""Compare the methods on the copy task over paired seeds: table 2 and figure 7 of the paper.

python -m train.compare runs/copy_task-teacher_forcing runs/copy_task-positive_negative

Runs of one method may come in several folders. Prints a Markdown table and writes it to
table_2.md, with table_2.csv (one row a seed) and figure_7.png beside it.
"""

import argparse
import csv
import io
import pathlib
import sys

import numpy as np

from mf_keras import files, plots
from train.copy_task import RESULTS
from train.run_folder import RunFolder
from train.statistics import paired_interval

BASELINE = "teacher_forcing"
TABLE_HEAD = "correct predictions, mean"
FIELDS = ["method", "seed", "correct_predictions", "steps_to_95_percent", "last_nll", "seconds"]
# What is written, and by what a file of our own making is known.
OUTPUTS = {
    "figure_7.png": plots.MARK,
    "table_2.csv": ",".join(FIELDS).encode(),
    "table_2.md": TABLE_HEAD.encode(),
}
# These may differ in a pair.
ARM_OPTIONS = {"method", "out", "resume", "seeds", "first_seed", "checkpoint_windows"}
FORCING_OPTIONS = {
    "weight",
    "no_gate",
    "capacity",
    "discriminator_batch",
    "discriminator_learning_rate",
    "final_memory",
}


def read(runs):
    """method -> seed -> (result, history) of all finished seeds.

    Raises:
        FileNotFoundError: a folder holds no run.
        ValueError: the runs differ in more than their method and seeds, or a seed comes twice.
    """
    arms, shared, forcing = {}, None, {}
    for run in runs:
        folder, config = RunFolder.open(run, "seeds")
        common = {k: v for k, v in config.items() if k not in ARM_OPTIONS | FORCING_OPTIONS}
        own = {k: config[k] for k in sorted(FORCING_OPTIONS)}
        if common != (shared or common) or own != forcing.setdefault(config["method"], own):
            raise ValueError(f"{run} has other settings than the runs before it.")
        shared = common
        arm = arms.setdefault(config["method"], {})
        finished = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
        for seed, result in finished.items():
            if int(seed) in arm:
                raise ValueError(f"seed {seed} of {config['method']} comes twice, again in {run}.")
            arm[int(seed)] = result, folder.rows(f"seed_{seed}.csv")
    return arms


def paired(arms):
    """The arms with the seeds alone that all of them have, in order."""
    seeds = sorted(set.intersection(*(set(arm) for arm in arms.values())))
    if not seeds:
        raise ValueError("the runs have no finished seed in common.")
    return {method: [arm[seed] for seed in seeds] for method, arm in arms.items()}, seeds


def table(arms, seeds):
    """Table 2 in Markdown: one row a method, over the same seeds."""
    lines = [
        f"| method ({len(seeds)} seeds) | {TABLE_HEAD} | sd | paired difference, "
        "95 % interval | steps to the first window 95 % correct, median | seconds, mean |",
        "|---|---|---|---|---|---|",
    ]
    for method, runs in arms.items():
        results = [result for result, _ in runs]
        correct = [result["correct_predictions"] for result in results]
        sd = f"{np.std(correct, ddof=1):.0f}" if len(correct) > 1 else "-"
        difference = "-"
        if method != BASELINE and BASELINE in arms and len(seeds) > 1:
            base = [result["correct_predictions"] for result, _ in arms[BASELINE]]
            mean, low, high = paired_interval(base, correct)
            difference = f"{mean:+.0f} ({low:+.0f} to {high:+.0f})"
        # A run that never gets there counts as later than all others.
        steps = [result["steps_to_95_percent"] or np.inf for result in results]
        seconds = np.mean([result["seconds"] for result in results])
        lines.append(
            f"| {method.replace('_', ' ')} | {np.mean(correct):.0f} | {sd} | {difference} | "
            f"{np.median(steps):.0f} | {seconds:.0f} |"
        )
    return "\n".join(lines) + "\n"


def rows(arms, seeds):
    """The table's numbers, a row a seed and method, as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for method, runs in arms.items():
        for seed, (result, _) in zip(seeds, runs, strict=True):
            writer.writerow({"method": method, "seed": seed, **result})
    return text.getvalue()


def figure_7(arms):
    """NLL of the methods over the training, mean and range over the seeds."""
    series = {}
    for method, runs in arms.items():
        nll = np.array([[row["nll"] for row in history] for _, history in runs])
        steps = np.arange(1, nll.shape[1] + 1)
        label = method.replace("_", " ")
        series[label] = (steps, nll.mean(axis=0), nll.min(axis=0), nll.max(axis=0))
    title = "mean over seeds, and their range"
    return plots.curves(series, "training steps (thousands)", "NLL (nats per sequence)", title)


def compare(runs, out):
    """Write table 2 and figure 7 to the folder `out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `read` and `paired`.
        OSError: a file that is not ours stands in the way, or cannot be written.
    """
    check_outputs(out)
    arms, seeds = paired(read(runs))
    text = table(arms, seeds)
    plots.save(figure_7(arms), out / "figure_7.png")
    for name, content in (("table_2.csv", rows(arms, seeds)), ("table_2.md", text)):
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
    parser.add_argument("runs", nargs="+", help="folders of train.copy_task")
    parser.add_argument("--out", default="runs/figures", help="default: runs/figures")
    options = parser.parse_args(arguments)
    try:
        print(compare(options.runs, pathlib.Path(options.out)))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
