"""The arms of a comparison on the copy task: every seed's windows, from run folders and from CSV.

A run folder is what `train.copy_task` leaves. A published folder is what `train.compare` writes:
of any number of runs `windows.csv`, a row a window, `seeds.csv`, a row a run, and `settings.json`,
what they share. It can be compared again, and together with more runs.
"""

import argparse
import csv
import io
import json
import pathlib
from typing import NamedTuple

import numpy as np

from train import copy_task
from train.run_folder import RunFolder

SEEDS, SETTINGS, WINDOWS = "seeds.csv", "settings.json", "windows.csv"
COLUMNS = ["correct_predictions", "nll", "bit_errors", "c_p", "discriminator_accuracy", "seconds"]
WINDOW_FIELDS = ["method", "seed", "window", *COLUMNS]
TESTS = ["test_correct", "test_bit_errors_2x", "test_bit_errors_4x"]
SUMMARY = ["correct_predictions", "steps_to_95_percent", "last_nll", "seconds"]
SEED_FIELDS = ["method", "seed", *SUMMARY, *TESTS]
ROUNDED = ["last_nll", *TESTS]
# What may differ between the runs of an arm, and what between the arms.
RUN_OPTIONS = {
    "out", "resume", "seeds", "first_seed", "steps", "checkpoint_windows", "strategy", "devices"
}  # fmt: skip
ARM_OPTIONS = {
    "method",
    "weight",
    "no_gate",
    "capacity",
    "discriminator_batch",
    "discriminator_learning_rate",
    "final_memory",
}


class Run(NamedTuple):
    """One seed of an arm."""

    windows: list  # a dict a window
    result: dict  # as `copy_task.summarize` gives it, and the errors after the training


def read(paths, steps=None):
    """The arms of all finished seeds in run folders and published folders.

    Args:
        paths: of the folders.
        steps: so many first steps of every run; None for all of them.

    Returns:
        `(arms, settings)`: arm -> seed -> `Run`, and the options that all of them share.

    Raises:
        FileNotFoundError: a folder holds neither.
        ValueError: the runs differ in more than an arm may, a seed comes twice, or runs have
            different numbers of steps, or fewer than `steps`.
    """
    arms, shared = {}, None
    for path in map(pathlib.Path, paths):
        found, settings = (_published if (path / WINDOWS).exists() else _trained)(path)
        if settings != (shared or settings):
            raise ValueError(f"{path} has other settings than the runs before it.")
        shared = settings
        for arm, seed, run in found:
            if seed in arms.setdefault(arm, {}):
                raise ValueError(f"seed {seed} of {arm} comes twice, again in {path}.")
            arms[arm][seed] = run
    lengths = {len(run.windows) for seeds in arms.values() for run in seeds.values()}
    if steps is None and len(lengths) > 1:
        raise ValueError(
            "the runs must have the same number of steps, or --steps must say how many of them to "
            f"compare; got {sorted(length * copy_task.WINDOW for length in lengths)}."
        )
    if steps is not None and lengths:
        arms = _shortened(arms, steps, min(lengths), shared)
    return arms, shared


def name(config):
    """An arm's name: its method, and the options of the forcing that are not the default ones."""
    words = [config["method"]]
    defaults = vars(copy_task.parse_arguments([]))
    if config["method"] != defaults["method"]:
        for option in sorted(ARM_OPTIONS - {"method"}):
            value = config[option]
            if value != defaults[option]:
                words.append("--" + option.replace("_", "-"))
                words += [] if value is True else [f"{value:g}"]
    return " ".join(words)


def summarize(windows, settings):
    """`copy_task.summarize` of some windows."""
    steps = len(windows) * copy_task.WINDOW
    options = argparse.Namespace(steps=steps, batch_size=settings["batch_size"])
    return copy_task.summarize(windows, options)


def write_windows(arms):
    """All windows of all arms as CSV."""
    rows = []
    for arm, seeds in arms.items():
        for seed, run in sorted(seeds.items()):
            for number, window in enumerate(run.windows, 1):
                known = {column: window.get(column, np.nan) for column in COLUMNS}
                known["correct_predictions"] = int(known["correct_predictions"])
                known = {k: v if isinstance(v, int) else f"{v:.4g}" for k, v in known.items()}
                rows.append({"method": arm, "seed": seed, "window": number, **known})
    return _csv(WINDOW_FIELDS, rows)


def write_seeds(arms):
    """A row for every run, as CSV."""
    rows = []
    for arm, seeds in arms.items():
        for seed, run in sorted(seeds.items()):
            known = {
                k: f"{v:.4g}" if k in ROUNDED and v is not None else v
                for k, v in run.result.items()
            }
            rows.append({"method": arm, "seed": seed, **known})
    return _csv(SEED_FIELDS, rows)


def write_settings(settings):
    """What all arms share, as JSON."""
    return json.dumps(settings, indent=2) + "\n"


def _trained(path):
    """`(arm, seed, run)` of the finished seeds of a run folder, and its settings."""
    folder, config = RunFolder.open(path, "seeds")
    arm, settings = name(config), _settings(config)
    finished = folder.read_json(copy_task.RESULTS) if (folder / copy_task.RESULTS).exists() else {}
    found = []
    for seed, result in finished.items():
        windows = folder.rows(f"seed_{seed}.csv")
        errors = _errors(result.get("test", {}), config["length"])
        found.append((arm, int(seed), Run(windows, {**summarize(windows, settings), **errors})))
    return found, settings


def _settings(config):
    return {k: v for k, v in sorted(config.items()) if k not in ARM_OPTIONS | RUN_OPTIONS}


def _errors(test, length):
    """Of what `copy_task.evaluate` found: exactly right as trained, and wrong bits beyond it."""
    known = {int(key) // length: value for key, value in test.items()}
    errors = {"test_correct": known[1]["correct"]} if 1 in known else {}
    longer = {f"test_bit_errors_{n}x": known[n]["bit_errors"] for n in (2, 4) if n in known}
    return {**errors, **longer}


def _published(path):
    """`(arm, seed, run)` of a published folder, and its settings."""
    windows = {}
    for row in _rows(path / WINDOWS, WINDOW_FIELDS):
        values = {column: float(row[column] or "nan") for column in COLUMNS}
        windows.setdefault((row["method"], row["seed"]), []).append(values)
    found = []
    for row in _rows(path / SEEDS, SEED_FIELDS):
        result = {k: json.loads(row[k] or "null") for k in [*SUMMARY, *TESTS]}
        own = windows.get((row["method"], row["seed"]))
        if own is None:
            raise ValueError(f"{path / WINDOWS} has no windows of {row['method']} {row['seed']}.")
        found.append((row["method"], int(row["seed"]), Run(own, result)))
    return found, json.loads((path / SETTINGS).read_text())


def _rows(path, fields):
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != fields:
            raise ValueError(f"{path} must have the columns {','.join(fields)}.")
        yield from reader


def _csv(fields, rows):
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        # What is not known, None or NaN, is left empty.
        writer.writerow({k: "" if str(v) in ("None", "nan") else v for k, v in row.items()})
    return text.getvalue()


def _shortened(arms, steps, shortest, settings):
    """The runs as if they had ended after `steps`."""
    count = steps // copy_task.WINDOW
    if count > shortest:
        raise ValueError(
            f"--steps must be at most the {shortest * copy_task.WINDOW} of the shortest run, "
            f"got {steps}."
        )
    cut = {
        arm: {seed: run.windows[:count] for seed, run in seeds.items()}
        for arm, seeds in arms.items()
    }
    return {
        arm: {seed: Run(windows, summarize(windows, settings)) for seed, windows in seeds.items()}
        for arm, seeds in cut.items()
    }
