"""Compare methods over paired seeds: tables 1 and 2 and figure 7 of the paper.

python -m train.compare RUN RUN ... --out runs/comparison

Of runs of train.sequence_generation: table_1.md and the NLL over the epochs, nll.png. Of runs of
train.copy_task: table_2.md and figure_7.png. With them are written the CSV files that they are made
of, a row a run in seeds.csv; a folder that holds these can be compared again instead of the runs,
as train/results/copy_task. Runs of one method may be in several folders; runs with other options of
the forcing are variants of the method, with a row of their own.
"""

import dataclasses
import json
import os
import pathlib
import sys
from collections.abc import Iterable, Sequence

from mf_keras import plots
from train.analysis.copying import Copying
from train.analysis.generation import Generation
from train.analysis.run_table import (
    KEYS,
    SEEDS,
    SETTINGS,
    Experiment,
    RunTable,
    collect,
    csv_text,
    paired,
)
from train.analysis.tables import check_outputs, publish
from train.copy_task import INTERVAL
from train.runs.folder import RunFolder
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional, positive_int

GENERATION, COPYING = Generation(), Copying()


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.compare"

    runs: Sequence[str] = positional("folders of runs, or of an earlier comparison", nargs="+")
    steps: int | None = option(
        None,
        "compare so many first steps of every run of the copy task; default: all",
        positive_int,
    )
    epochs: int | None = option(
        None,
        "compare so many first epochs of every run of a generator, also of unfinished ones; "
        "default: all",
        positive_int,
    )
    out: str = option("", "default: runs/table_1 or runs/table_2")

    def check(self) -> None:
        """Refuse a part of an interval."""
        if self.steps is not None and self.steps % INTERVAL:
            raise ValueError(
                f"argument --steps: must be a multiple of {INTERVAL}, got {self.steps}"
            )

    def limit(self, experiment: Experiment) -> int | None:
        """How many first rows of the progress to compare; None for all.

        Raises:
            ValueError: the option given is that of the other experiment.
        """
        given = getattr(self, experiment.limit)
        if (self.steps, self.epochs).count(None) < (2 if given is None else 1):
            raise ValueError("--steps goes with runs of the copy task, --epochs with generators.")
        return None if given is None else given // experiment.limit_unit


def experiment_of(runs: Iterable[str | os.PathLike]) -> Experiment:
    """The experiment that all runs are of.

    Raises:
        FileNotFoundError: a folder holds no run and no comparison.
        ValueError: the runs are of different experiments.
    """
    found = {_experiment_of(pathlib.Path(run)) for run in runs}
    if len(found) > 1:
        raise ValueError("the runs must be of one command: they are of two tables.")
    return found.pop()


def _experiment_of(path: pathlib.Path) -> Experiment:
    for experiment in (COPYING, GENERATION):
        if (path / experiment.progress_file).exists():
            return experiment
    _, options = RunFolder.open(path, GENERATION.options, COPYING.options)
    return GENERATION if isinstance(options, GENERATION.options) else COPYING


def marks(experiment: Experiment) -> dict[str, bytes]:
    """What a comparison writes, and by what a file of this program is recognised."""
    heads = {
        SEEDS: [*KEYS, *experiment.result_formats],
        experiment.progress_file: [*KEYS, experiment.step, *experiment.progress_formats],
    }
    return {
        experiment.figure_file: plots.MARK,
        experiment.table_file: experiment.table_head.encode(),
        SETTINGS: b"controller_units",
        **{file: ",".join(columns).encode() for file, columns in heads.items()},
    }


def only_paired(table: RunTable) -> RunTable:
    """The runs of the seeds that all variants have.

    Raises:
        ValueError: there is no such seed.
    """
    return table._replace(runs=paired(table.runs), progress=paired(table.progress))


def compare(
    experiment: Experiment,
    runs: Iterable[str | os.PathLike],
    out: pathlib.Path,
    limit: int | None = None,
) -> str:
    """Write the table, the figure and their data to the folder `out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `run_table.collect` and `run_table.paired`, or a
            result cannot be right.
        OSError: a file of another program would be replaced, or one cannot be written.
    """
    check_outputs(out, marks(experiment))
    table = collect(experiment, runs, limit)
    experiment.check(table)
    chosen = only_paired(table)
    text = experiment.table(chosen)
    texts = {
        experiment.table_file: text,
        SEEDS: csv_text(table.runs, experiment.result_formats),
        experiment.progress_file: csv_text(table.progress, experiment.progress_formats),
        SETTINGS: json.dumps(table.settings, indent=2) + "\n",
    }
    publish(out, {experiment.figure_file: experiment.figure(chosen)}, texts)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Compare the runs."""
    options = Options.parse(arguments)
    try:
        experiment = experiment_of(options.runs)
        limit = options.limit(experiment)
        out = pathlib.Path(options.out or f"runs/{experiment.table_file.removesuffix('.md')}")
        if limit and out.resolve() in {pathlib.Path(run).resolve() for run in options.runs}:
            raise ValueError(f"{out} would lose the rows that are left out; give another --out.")
        print(compare(experiment, options.runs, out, limit))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
