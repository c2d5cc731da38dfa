"""Compare methods over paired seeds: tables 1 and 2 and figure 7 of the paper.

python -m train.compare RUN RUN ... --out runs/comparison

Of runs of train.sequence_generation: table_1.md and the NLL over the epochs, nll.png. Of runs of
train.copy_task: table_2.md and figure_7.png. Beside them stand the CSV files that they are made of,
a row a run in seeds.csv; a folder that holds these can be compared again in the place of the runs,
as train/results/copy_task. Runs of one method may come in several folders, and runs of other
options of the forcing are arms of their own.
"""

import argparse
import pathlib
import sys

from train import copy_task, copying_arms, generation_arms, table_1, table_2
from train import options as shared
from train.run_folder import RunFolder


def tables(runs):
    """The module that compares these runs: `table_1` or `table_2`.

    Raises:
        FileNotFoundError: a folder holds no run and no comparison.
        ValueError: the runs are not all of one command.
    """
    kinds = {_table(pathlib.Path(run)) for run in runs}
    if len(kinds) > 1:
        raise ValueError("the runs must be of one command: they are of two tables.")
    return kinds.pop()


def _table(path):
    if (path / copying_arms.WINDOWS).exists():
        return table_2
    if (path / generation_arms.EPOCHS).exists():
        return table_1
    _, config = RunFolder.open(path)
    return table_1 if "dataset" in config else table_2


def main(arguments=None):
    """Compare the runs."""
    parser = argparse.ArgumentParser(
        prog="python -m train.compare", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("runs", nargs="+", help="folders of runs, or of an earlier comparison")
    limit = parser.add_mutually_exclusive_group()
    limit.add_argument(
        "--steps",
        type=shared.positive_int,
        help="compare so many first steps of every run of the copy task; default: all",
    )
    limit.add_argument(
        "--epochs",
        type=shared.positive_int,
        help="compare so many first epochs of every run of a generator, unfinished ones too; "
        "default: all",
    )
    parser.add_argument("--out", help="default: runs/table_1 or runs/table_2")
    options = parser.parse_args(arguments)
    if (options.steps or 0) % copy_task.WINDOW:
        parser.error(
            f"argument --steps: must be a multiple of {copy_task.WINDOW}, got {options.steps}"
        )
    try:
        table = tables(options.runs)
        limits = {table_1: options.epochs, table_2: options.steps}
        other = next(value for module, value in limits.items() if module is not table)
        if other is not None:
            raise ValueError("--steps goes with runs of the copy task, --epochs with generators.")
        out = pathlib.Path(options.out or f"runs/{table.__name__.rpartition('.')[-1]}")
        if limits[table] and out.resolve() in {pathlib.Path(run).resolve() for run in options.runs}:
            raise ValueError(f"{out} would lose what is cut off; give another --out.")
        print(table.compare(options.runs, out, limits[table]))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {out}")


if __name__ == "__main__":
    main()
