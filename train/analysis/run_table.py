"""One table of runs for both experiments: a row a run, and a row for each step of its progress.

The runs come from run folders, which an experiment writes, and from published folders, which
`train.compare` writes: the progress of any number of runs as a CSV file, `seeds.csv`, a row a run,
and `settings.json`, what the runs share. A published folder can be read again, with more runs.

A *variant* is a method with those of its options that are not the default ones, as
`memory_forcing --no-gate`: the column `method` of all tables.
"""

import abc
import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from train.runs.folder import RunFolder
from train.runs.options import BASELINE, ExperimentOptions

SEEDS, SETTINGS = "seeds.csv", "settings.json"
KEYS = ["method", "seed"]
# In the order of the tables.
METHODS = {
    BASELINE: "teacher forcing",
    "professor_forcing": "Professor Forcing",
    "memory_forcing": "Memory Forcing",
    "sequence_gan": "sequence GAN",
    "positive_negative": "positive/negative",
}


class Run(NamedTuple):
    """One seed of a variant."""

    variant: str
    seed: int
    results: dict[str, Any]
    progress: pd.DataFrame  # a row an epoch or interval


class RunTable(NamedTuple):
    """The runs of a comparison, ordered by method, options and seed."""

    runs: pd.DataFrame  # index (method, seed); results, NaN where they are not known
    progress: pd.DataFrame  # index (method, seed, epoch or window)
    settings: dict[str, Any]  # the options that all runs share


class Experiment(abc.ABC):
    """How the runs of an experiment are tabulated and drawn: a base class.

    The formats of columns are format specifications of numbers in CSV; "s" for text.
    """

    options: ClassVar[type[ExperimentOptions]]
    table_file: ClassVar[str]
    figure_file: ClassVar[str]
    progress_file: ClassVar[str]
    step: ClassVar[str]  # what a row of the progress is
    limit: ClassVar[str]  # the option of `train.compare` that compares the first rows only
    limit_unit: ClassVar[int] = 1  # of that option, in a row
    table_head: ClassVar[str]  # the columns of the table
    progress_formats: ClassVar[dict[str, str]]
    result_formats: ClassVar[dict[str, str]]

    @abc.abstractmethod
    def read(self, folder: RunFolder, options: Any) -> Iterator[Run]:
        """The runs of a run folder."""

    @abc.abstractmethod
    def first(self, run: Run, count: int, settings: dict[str, Any]) -> dict[str, Any]:
        """The results as if the run had ended after `count` rows of its progress."""

    @abc.abstractmethod
    def table(self, paired: RunTable) -> str:
        """The table in Markdown of runs that have all seeds in common."""

    @abc.abstractmethod
    def figure(self, paired: RunTable) -> Figure:
        """The NLL over the training of runs that have all seeds in common."""

    def check(self, table: RunTable) -> None:  # noqa: B027 - there may be nothing to check
        """Raise ValueError where a result cannot be right."""


def collect(
    experiment: Experiment, paths: Iterable[str | os.PathLike], limit: int | None = None
) -> RunTable:
    """The table of all runs in run folders and published folders.

    Args:
        experiment: whose runs they are.
        paths: of the folders.
        limit: so many first rows of the progress of every run, also of unfinished runs; None for
            all rows of finished runs.

    Raises:
        FileNotFoundError: a folder holds no runs.
        ValueError: settings or lengths of the runs differ, a seed of a variant occurs twice, a run
            has fewer rows than `limit`, or has not ended, or there is no run.
    """
    found: dict[tuple[str, int], Run] = {}
    shared: dict[str, Any] | None = None
    for path in map(pathlib.Path, paths):
        published = (path / experiment.progress_file).exists()
        runs, settings = (_published if published else _trained)(experiment, path)
        if shared is not None and settings != shared:
            raise ValueError(f"{path} has other settings than the runs before it.")
        shared = settings
        for run in runs:
            if found.setdefault((run.variant, run.seed), run) is not run:
                raise ValueError(f"seed {run.seed} of {run.variant} occurs twice, again in {path}.")
    if shared is None or not found:
        raise ValueError("the runs have no finished seed in common.")
    ordered = sorted(found.values(), key=lambda run: (*order(run.variant), run.seed))
    _check_lengths(experiment, ordered, limit)
    if limit is not None:
        ordered = [
            run._replace(
                results=experiment.first(run, limit, shared), progress=run.progress[:limit]
            )
            for run in ordered
        ]
    return RunTable(*_frames(experiment, ordered), shared)


def _trained(experiment: Experiment, path: pathlib.Path) -> tuple[list[Run], dict[str, Any]]:
    folder, options = RunFolder.open(path, experiment.options)
    return list(experiment.read(folder, options)), options.settings()


def _published(experiment: Experiment, path: pathlib.Path) -> tuple[list[Run], dict[str, Any]]:
    progress = read_csv(
        path / experiment.progress_file, [*KEYS, experiment.step], experiment.progress_formats
    )
    parts = dict(iter(progress.groupby(level=KEYS)))
    results = read_csv(path / SEEDS, KEYS, experiment.result_formats)
    rows: list[Any] = results.to_dict("records")
    runs = []
    for key, row in zip(results.index, rows, strict=True):
        if key not in parts:
            raise ValueError(
                f"{path / experiment.progress_file} has no rows of {key[0]} with seed {key[1]}."
            )
        runs.append(Run(key[0], key[1], row, parts[key]))
    # Options that were added after the settings were written had their defaults.
    stored = json.loads((path / SETTINGS).read_text(encoding="utf-8"))
    return runs, dict(sorted((experiment.options().settings() | stored).items()))


def _check_lengths(experiment: Experiment, runs: list[Run], limit: int | None) -> None:
    """Check that all runs have the rows that are compared."""
    name, unit = experiment.limit, experiment.limit_unit
    # Of a finished run; those of the copy task are read only when they are finished.
    lengths = [int(run.results.get("epochs", len(run.progress))) for run in runs]
    for run, length in zip(runs, lengths, strict=True):
        if len(run.progress) < (limit or length):
            raise ValueError(
                f"{run.variant} with seed {run.seed} has {len(run.progress) * unit} {name} of "
                f"{(limit or length) * unit}; --{name} N compares the first N of all runs."
            )
    if limit is None and len(set(lengths)) > 1:
        raise ValueError(
            f"the runs must have the same number of {name}, or --{name} must be how many of them "
            f"to compare; got {sorted(length * unit for length in set(lengths))}."
        )


def _frames(experiment: Experiment, runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    keys = [(run.variant, run.seed) for run in runs]
    results = pd.DataFrame(
        [run.results for run in runs], pd.MultiIndex.from_tuples(keys, names=KEYS)
    ).reindex(columns=list(experiment.result_formats))
    numbers = [name for name, form in experiment.result_formats.items() if form != "s"]
    results = results.astype(dict.fromkeys(numbers, float))
    parts = [
        run.progress.reindex(columns=list(experiment.progress_formats)).set_axis(
            range(1, len(run.progress) + 1)
        )
        for run in runs
    ]
    return results, pd.concat(parts, keys=keys, names=[*KEYS, experiment.step])


def order(variant: str) -> tuple[int, str]:
    """The key by which variants are sorted."""
    method = variant.split(" ")[0]
    return list(METHODS).index(method) if method in METHODS else len(METHODS), variant


def title(variant: str) -> str:
    """A variant's name for readers: `positive/negative, --no-gate`."""
    method, *options = variant.split(" ", 1)
    return ", ".join([METHODS.get(method, method), *options])


def by_variant(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each variant of a table with the index level method, and its rows."""
    for variant, rows in table.groupby("method", sort=False):
        yield str(variant), rows


def paired(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the seeds that all variants have.

    Args:
        frame: with the index levels method and seed.

    Raises:
        ValueError: there is no such seed.
    """
    runs = frame.index.to_frame()[KEYS].drop_duplicates()
    counts = runs["seed"].value_counts()
    common = counts.index[counts == runs["method"].nunique()]
    if common.empty:
        raise ValueError("the runs have no finished seed in common.")
    return frame[frame.index.get_level_values("seed").isin(common)]


def read_csv(path: pathlib.Path, index: list[str], formats: dict[str, str]) -> pd.DataFrame:
    """A CSV file that `csv_text` made; what is not known is NaN.

    Raises:
        ValueError: it has other columns.
    """
    text = {name: str for name, form in formats.items() if form == "s"}
    frame = pd.read_csv(path, dtype={"method": str, **text})
    if list(frame.columns) != [*index, *formats]:
        raise ValueError(f"{path} must have the columns {','.join([*index, *formats])}.")
    return frame.set_index(index)


def csv_text(frame: pd.DataFrame, formats: dict[str, str]) -> str:
    """A table as CSV, its index first, each column in its format; NaN and None stay empty."""
    cells = {
        name: ["" if pd.isna(value) else format(value, form) for value in frame[name]]
        for name, form in formats.items()
    }
    return pd.DataFrame(cells, frame.index).to_csv(lineterminator="\n")
