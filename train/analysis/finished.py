"""Finished runs of train.sequence_generation, whose generators are compared."""

import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import pandas as pd

from mf_keras import SequenceGenerator, checkpoints
from train.analysis.run_table import KEYS, order, paired
from train.runs.folder import RunFolder
from train.sequence_generation import BEST, RESULTS, Options


class FinishedRun(NamedTuple):
    """One run, of which the best generator is compared."""

    folder: RunFolder
    options: Options


def finished_runs(paths: Iterable[str | os.PathLike]) -> list[FinishedRun]:
    """The runs in some folders, sorted as in the tables.

    Raises:
        FileNotFoundError: a folder holds no run, or one that has not ended.
        ValueError: a run is of another command, dataset, settings or number of epochs, a seed of a
            variant occurs twice, or the variants have no seed in common.
    """
    found: dict[tuple, FinishedRun] = {}
    shared: dict[str, Any] = {}
    for path in paths:
        folder, options = RunFolder.open(path, Options)
        if not (folder / BEST).is_file():
            raise FileNotFoundError(f"{str(path)!r} has no {BEST} yet.")
        if not (folder / RESULTS).is_file():
            raise FileNotFoundError(f"{str(path)!r} has not ended: --resume continues it.")
        key = (options.variant(), options.seed)
        if key in found:
            raise ValueError(f"seed {key[1]} of {key[0]} occurs twice, again in {path}.")
        found[key] = FinishedRun(folder, options)
        settings = options.settings() | {"epochs": options.epochs}
        shared = shared or settings
        names = sorted(settings.keys() | shared.keys())  # rare ones are named only where given
        other = [name for name in names if settings.get(name) != shared.get(name)]
        if other:
            raise ValueError(f"{path} differs from the runs before it in {', '.join(other)}.")
    paired(pd.DataFrame(index=pd.MultiIndex.from_tuples(found, names=KEYS)))
    return [found[key] for key in sorted(found, key=lambda key: (*order(key[0]), key[1]))]


def measure(
    runs: list[FinishedRun], of: Callable[[SequenceGenerator], pd.DataFrame]
) -> pd.DataFrame:
    """What `of` finds of each run's best generator, with the index levels method and seed first.

    Args:
        runs: as `finished_runs` gives them.
        of: a function of a generator, which gives a table.
    """
    bar = keras.utils.Progbar(len(runs), unit_name="run")
    found = {}
    for folder, options in runs:
        found[options.variant(), options.seed] = of(checkpoints.load(folder / BEST))
        bar.add(1)
    return pd.concat(found, names=KEYS)
