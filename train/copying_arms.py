"""The arms of a comparison on the copy task: every seed's windows, from run folders and from CSV.

A run folder is what `train.copy_task` leaves. A published folder holds, of any number of runs,
`windows.csv`, a row a window, `seeds.csv`, a row a run, and `settings.json`, what they share.
"""

import argparse
import json
from typing import NamedTuple

import numpy as np

from train import arms, copy_task
from train.arms import SEEDS, SETTINGS
from train.run_folder import RunFolder

WINDOWS = "windows.csv"
COLUMNS = ["correct_predictions", "nll", "bit_errors", "c_p", "discriminator_accuracy", "seconds"]
WINDOW_FIELDS = ["method", "seed", "window", *COLUMNS]
TESTS = ["test_correct", "test_bit_errors_2x", "test_bit_errors_4x"]
SUMMARY = ["correct_predictions", "steps_to_95_percent", "last_nll", "seconds"]
SEED_FIELDS = ["method", "seed", *SUMMARY, *TESTS]
ROUNDED = ["last_nll", *TESTS]
# What may differ between the runs of an arm.
RUN_OPTIONS = {
    "method",
    "out",
    "resume",
    "seeds",
    "first_seed",
    "steps",
    "checkpoint_windows",
    "strategy",
    "devices",
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
    found, shared = arms.collect(paths, _read)
    lengths = {len(run.windows) for seeds in found.values() for run in seeds.values()}
    if steps is None and len(lengths) > 1:
        raise ValueError(
            "the runs must have the same number of steps, or --steps must say how many of them to "
            f"compare; got {sorted(length * copy_task.WINDOW for length in lengths)}."
        )
    if steps is not None and lengths:
        found = _shortened(found, steps, min(lengths), shared)
    return found, shared


def summarize(windows, settings):
    """`copy_task.summarize` of some windows."""
    steps = len(windows) * copy_task.WINDOW
    options = argparse.Namespace(steps=steps, batch_size=settings["batch_size"])
    return copy_task.summarize(windows, options)


def write_windows(found):
    """All windows of all arms as CSV."""
    rows = []
    for arm, seeds in found.items():
        for seed, run in sorted(seeds.items()):
            for number, window in enumerate(run.windows, 1):
                known = {column: window.get(column, np.nan) for column in COLUMNS}
                known["correct_predictions"] = int(known["correct_predictions"])
                known = {k: v if isinstance(v, int) else f"{v:.4g}" for k, v in known.items()}
                rows.append({"method": arm, "seed": seed, "window": number, **known})
    return arms.write_csv(WINDOW_FIELDS, rows)


def write_seeds(found):
    """A row for every run, as CSV."""
    rows = []
    for arm, seeds in found.items():
        for seed, run in sorted(seeds.items()):
            known = {
                k: f"{v:.4g}" if k in ROUNDED and v is not None else v
                for k, v in run.result.items()
            }
            rows.append({"method": arm, "seed": seed, **known})
    return arms.write_csv(SEED_FIELDS, rows)


def _read(path):
    """`(found, settings)` of a folder, as `collect` wants them."""
    return (_published if (path / WINDOWS).exists() else _trained)(path)


def arm_of(config):
    """The name of the arm that a run belongs to."""
    defaults = vars(copy_task.parse_arguments([]))
    return arms.name(config, copy_task.FORCING_OPTIONS, defaults)


def _trained(path):
    """`(arm, seed, run)` of the finished seeds of a run folder, and its settings."""
    folder, config = RunFolder.open(path, "seeds")
    arm, settings = arm_of(config), _settings(config)
    finished = folder.read_json(copy_task.RESULTS) if (folder / copy_task.RESULTS).exists() else {}
    found = []
    for seed, result in finished.items():
        windows = folder.rows(f"seed_{seed}.csv")
        errors = _errors(result.get("test", {}), config["length"])
        found.append((arm, int(seed), Run(windows, {**summarize(windows, settings), **errors})))
    return found, settings


def _settings(config):
    return {
        k: v for k, v in sorted(config.items()) if k not in copy_task.FORCING_OPTIONS | RUN_OPTIONS
    }


def _errors(test, length):
    """Of what `copy_task.evaluate` found: exactly right as trained, and wrong bits beyond it."""
    known = {int(key) // length: value for key, value in test.items()}
    errors = {"test_correct": known[1]["correct"]} if 1 in known else {}
    longer = {f"test_bit_errors_{n}x": known[n]["bit_errors"] for n in (2, 4) if n in known}
    return {**errors, **longer}


def _published(path):
    """`(arm, seed, run)` of a published folder, and its settings."""
    windows = {}
    for row in arms.read_csv(path / WINDOWS, WINDOW_FIELDS):
        values = {column: float(row[column] or "nan") for column in COLUMNS}
        windows.setdefault((row["method"], row["seed"]), []).append(values)
    found = []
    for row in arms.read_csv(path / SEEDS, SEED_FIELDS):
        result = {k: json.loads(row[k] or "null") for k in [*SUMMARY, *TESTS]}
        own = windows.get((row["method"], row["seed"]))
        if own is None:
            raise ValueError(f"{path / WINDOWS} has no windows of {row['method']} {row['seed']}.")
        found.append((row["method"], int(row["seed"]), Run(own, result)))
    return found, json.loads((path / SETTINGS).read_text())


def _shortened(found, steps, shortest, settings):
    """The runs as if they had ended after `steps`."""
    count = steps // copy_task.WINDOW
    if count > shortest:
        raise ValueError(
            f"--steps must be at most the {shortest * copy_task.WINDOW} of the shortest run, "
            f"got {steps}."
        )

    def cut(run):
        if count == len(run.windows):
            return run
        windows = run.windows[:count]
        return Run(windows, summarize(windows, settings))

    return {arm: {seed: cut(run) for seed, run in seeds.items()} for arm, seeds in found.items()}
