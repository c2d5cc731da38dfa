"""The arms of a comparison of generators: every seed's epochs, from run folders and from CSV.

A run folder is what `train.sequence_generation` leaves. A published folder holds, of any number of
runs, `epochs.csv`, a row an epoch, `seeds.csv`, a row a run, and `settings.json`, what they share.
"""

import json
from typing import NamedTuple

import numpy as np

from train import arms, sequence_generation
from train.arms import SEEDS, SETTINGS
from train.run_folder import RunFolder

EPOCHS = "epochs.csv"
COLUMNS = [
    "nll",
    "val_nll",
    "c_h",
    "c_m",
    "hidden_discriminator_accuracy",
    "memory_discriminator_accuracy",
    "skipped_updates",
    "seconds",
]
EPOCH_FIELDS = ["method", "seed", "epoch", *COLUMNS]
NUMBERS = ["epochs", "best_epoch", "validation_nll", "test_nll", "test_bits_per_pixel"]
MACHINE = ["processor", "tensorflow", "keras"]
SEED_FIELDS = ["method", "seed", *NUMBERS, "seconds_per_epoch", *MACHINE]
# What may differ between the runs of an arm.
RUN_OPTIONS = {
    "method",
    "seed",
    "epochs",
    "out",
    "resume",
    "data_dir",
    "manual_dir",
    "pictures_every",
    "checkpoint_steps",
    "strategy",
    "devices",
}


class Run(NamedTuple):
    """One seed of an arm."""

    epochs: list  # a dict an epoch
    result: dict  # of `SEED_FIELDS`; None for what is not known


def read(paths, epochs=None):
    """The arms of all runs in run folders and published folders.

    Args:
        paths: of the folders.
        epochs: so many first epochs of every run, also of unfinished ones; None for all of the
            finished ones.

    Returns:
        `(arms, settings)`: arm -> seed -> `Run`, and the options that all of them share.

    Raises:
        FileNotFoundError: a folder holds neither.
        ValueError: the runs differ in more than an arm may, a seed comes twice, runs have
            different numbers of epochs, or a run has fewer than `epochs`, or has not ended.
    """
    found, settings = arms.collect(paths, _read)
    runs = {(arm, seed): run for arm, seeds in found.items() for seed, run in seeds.items()}
    for (arm, seed), run in runs.items():
        if len(run.epochs) < (epochs or run.result["epochs"]):
            raise ValueError(
                f"{arm} with seed {seed} has {len(run.epochs)} epochs, of which --epochs may "
                "compare the first ones."
            )
    lengths = {run.result["epochs"] for run in runs.values()}
    if epochs is None and len(lengths) > 1:
        raise ValueError(
            "the runs must have the same number of epochs, or --epochs must say how many of them "
            f"to compare; got {sorted(lengths)}."
        )
    if epochs is not None:
        found = {
            arm: {seed: _shortened(run, epochs) for seed, run in seeds.items()}
            for arm, seeds in found.items()
        }
    return found, settings


def opened(paths):
    """Run folders of finished runs.

    Args:
        paths: of the folders.

    Returns:
        A list of `(arm, seed, folder, config)`, sorted by seed.

    Raises:
        FileNotFoundError: a folder holds no run, or one that has not ended.
        ValueError: a run is of another command, dataset, settings or number of epochs, or a seed of
            an arm comes twice.
    """
    found, shared = {}, None
    for path in paths:
        folder, config = RunFolder.open(path, "dataset")
        if not (folder / sequence_generation.BEST).is_file():
            raise FileNotFoundError(f"{str(path)!r} has no {sequence_generation.BEST} yet.")
        if not (folder / sequence_generation.RESULTS).is_file():
            raise FileNotFoundError(f"{str(path)!r} has not ended: --resume goes on with it.")
        key = (config["seed"], arm_of(config))
        if key in found:
            raise ValueError(f"seed {key[0]} of {key[1]} comes twice, again in {path}.")
        found[key] = (folder, config)
        settings = {**_with_defaults(_shared(config)), "epochs": config["epochs"]}
        shared = shared or settings
        other = sorted(k for k in settings if settings[k] != shared[k])
        if other:
            raise ValueError(f"{path} differs from the runs before it in {', '.join(other)}.")
    return [(arm, seed, *found[seed, arm]) for seed, arm in sorted(found, key=lambda key: key[0])]


def by_arm(opened):
    """What `opened` gave, as arm -> seed -> folder."""
    arms = {}
    for arm, seed, folder, _ in opened:
        arms.setdefault(arm, {})[seed] = folder
    return arms


def arm_of(config):
    """The name of the arm that a run belongs to."""
    defaults = vars(sequence_generation.parse_arguments([]))
    return arms.name(config, sequence_generation.FORCING_OPTIONS, defaults)


def write_epochs(found):
    """All epochs of all arms as CSV."""
    rows = []
    for arm, seeds in found.items():
        for seed, run in sorted(seeds.items()):
            for number, epoch in enumerate(run.epochs, 1):
                known = {name: f"{epoch.get(name, np.nan):.9g}" for name in COLUMNS}
                rows.append({"method": arm, "seed": seed, "epoch": number, **known})
    return arms.write_csv(EPOCH_FIELDS, rows)


def write_seeds(found):
    """A row for every run, as CSV."""
    rows = []
    for arm, seeds in found.items():
        for seed, run in sorted(seeds.items()):
            known = {k: f"{v:.9g}" if isinstance(v, float) else v for k, v in run.result.items()}
            rows.append({"method": arm, "seed": seed, **known})
    return arms.write_csv(SEED_FIELDS, rows)


def _read(path):
    """`(found, settings)` of a folder, as `arms.collect` wants them."""
    found, settings = (_published if (path / EPOCHS).exists() else _trained)(path)
    return found, _with_defaults(settings)


def _with_defaults(settings):
    """Settings, with the defaults of the options that were none yet when they were written."""
    return {**_shared(vars(sequence_generation.parse_arguments([]))), **settings}


def _shared(config):
    """What all runs of a comparison must share, of the options of one; later ones have more."""
    own = RUN_OPTIONS | sequence_generation.FORCING_OPTIONS
    if config.get("cosine"):  # along which the epochs decide on every learning rate
        own = own - {"epochs"}
    return {k: v for k, v in sorted(config.items()) if k not in own}


def _trained(path):
    folder, config = RunFolder.open(path, "dataset")
    epochs = folder.rows(sequence_generation.HISTORY)
    finished = (folder / sequence_generation.RESULTS).exists()
    results = folder.read_json(sequence_generation.RESULTS) if finished else {}
    result = {
        **dict.fromkeys([*NUMBERS, *MACHINE]),
        **{name: results.get(name) for name in MACHINE},
        "epochs": config["epochs"],
    }
    if finished:
        result["best_epoch"] = results["best_epoch"]
        result["test_nll"] = results["test"]["nll"]
        result["test_bits_per_pixel"] = results["test"]["bits_per_step"]
    return [
        (arm_of(config), config["seed"], Run(epochs, {**result, **_of_epochs(epochs)}))
    ], _shared(config)


def _of_epochs(epochs):
    """What of a run's result its epochs tell; those before the clock was kept have no seconds."""
    if not epochs:
        return {"validation_nll": None, "seconds_per_epoch": None}
    seconds = [epoch["seconds"] for epoch in epochs if np.isfinite(epoch.get("seconds", np.nan))]
    return {
        "validation_nll": min(epoch["val_nll"] for epoch in epochs),
        "seconds_per_epoch": float(np.median(seconds)) if seconds else None,
    }


def _published(path):
    epochs = {}
    for row in arms.read_csv(path / EPOCHS, EPOCH_FIELDS):
        values = {name: float(row[name] or "nan") for name in COLUMNS}
        epochs.setdefault((row["method"], row["seed"]), []).append(values)
    found = []
    for row in arms.read_csv(path / SEEDS, SEED_FIELDS):
        own = epochs.get((row["method"], row["seed"]))
        if own is None:
            raise ValueError(f"{path / EPOCHS} has no epochs of {row['method']} {row['seed']}.")
        result = {k: json.loads(row[k] or "null") for k in [*NUMBERS, "seconds_per_epoch"]}
        result |= {name: row[name] or None for name in MACHINE}
        found.append((row["method"], int(row["seed"]), Run(own, result)))
    return found, json.loads((path / SETTINGS).read_text())


def _shortened(run, count):
    """The run as if it had ended after `count` epochs.

    Its test NLL stays where the generator that it is of would have been chosen then, too.
    """
    epochs = run.epochs[:count]
    best = min(range(count), key=lambda index: epochs[index]["val_nll"]) + 1
    result = {**run.result, **_of_epochs(epochs), "epochs": count, "best_epoch": best}
    if best != run.result["best_epoch"]:
        result |= {"test_nll": None, "test_bits_per_pixel": None}
    return Run(epochs, result)
