"""Compare how well discriminators of runs tell behaviours apart that they have not seen.

python -m train.discriminators RUN RUN ... --out runs/discriminators

Runs of train.sequence_generation by Professor or Memory Forcing have in history.csv, after every
epoch, the area under the ROC curve (AUC) of each discriminator on held-out sequences and fresh
noise: 0.5 at chance, 1 where every teacher-forced behaviour has a larger logit than every
free-running one. Writes discriminators.md, a table over the seeds that all variants have,
epochs.csv, and a figure of the AUC over the epochs for each discriminator.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from mf_keras import plots
from train.analysis.finished import FinishedRun, finished_runs
from train.analysis.run_table import KEYS, by_variant, csv_text, paired, title
from train.analysis.tables import check_outputs, markdown, number, over_steps, publish
from train.runs.model import WATCHED
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional, positive_int
from train.sequence_generation import HISTORY

FIELDS = ("hidden", "memory")
# A column of epochs.csv -> the log.
COLUMNS = {
    **{f"{field}_auc": f"val_{field}_discriminator_auc" for field in FIELDS},
    **{f"{field}_gate_open": f"{field}_discriminator_gate_open" for field in FIELDS},
    "val_nll": "val_nll",
    "seconds": "seconds",
}
FORMATS = dict.fromkeys(COLUMNS, ".4f") | {"seconds": ".1f"}
INDEX = [*KEYS, "epoch"]
TABLE_HEAD = "discriminators of behaviours"
MARKS = {
    "discriminators.md": TABLE_HEAD.encode(),
    "epochs.csv": ",".join([*INDEX, *COLUMNS]).encode(),
    **{f"{field}_auc.png": plots.MARK for field in FIELDS},
}


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.discriminators"

    runs: Sequence[str] = positional("folders of train.sequence_generation", nargs="+")
    last: int = option(10, "epochs at the end, over which the AUC is averaged", positive_int)
    out: str = option("runs/discriminators", "folder")


def epochs_of(run: FinishedRun) -> pd.DataFrame:
    """The rows of a run's history, index epoch, from 1; NaN for what it does not watch.

    Raises:
        ValueError: the run has no discriminators of behaviours, or its history no scores of them.
    """
    history = run.folder.history(HISTORY)
    if run.options.method not in WATCHED or COLUMNS["hidden_auc"] not in history:
        raise ValueError(
            f"{run.folder.path} has no scores of discriminators in {HISTORY}: it must be a run of "
            f"{' or '.join(WATCHED)}, of version 0.2.0 or later."
        )
    columns = {name: history.get(log) for name, log in COLUMNS.items()}
    frame = pd.DataFrame(columns, index=history.index, dtype=float)
    return frame.set_index(pd.Index(history["epoch"].astype(int) + 1, name="epoch"))


def table(found: pd.DataFrame, last: int) -> str:
    """The scores of the last epochs in Markdown; all else is of the whole training."""
    seeds = len(found.index.unique("seed"))
    head = [f"{TABLE_HEAD}, {seeds} seed(s)"]
    head += [f"AUC of the {field}, last {last} epochs" for field in FIELDS]
    head += [f"steps with an open gate, {field}, %" for field in FIELDS]
    head += ["lowest validation NLL", "seconds an epoch"]
    rows = []
    for variant, frame in by_variant(found):
        runs = frame.groupby(level="seed")
        auc = runs.tail(last)[[f"{field}_auc" for field in FIELDS]].mean()
        gates = 100 * frame[[f"{field}_gate_open" for field in FIELDS]].mean()
        lowest, seconds = runs["val_nll"].min().mean(), runs["seconds"].median().mean()
        cells = [*(number(x, 3) for x in auc), *(number(x, 1) for x in gates)]
        rows.append([title(variant), *cells, number(lowest, 2), number(seconds, 1)])
    return markdown(head, rows)


def figure(found: pd.DataFrame, field: str) -> Figure:
    """The AUC of a discriminator over the epochs, mean and range over the seeds."""
    column = found[f"{field}_auc"].dropna()
    caption = f"{field}: held-out behaviours, fresh noise"
    return plots.curves(over_steps(column), "epoch", "AUC", caption)


def compare_discriminators(options: Options) -> str:
    """Compare all runs, and write the results to the folder `options.out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `finished_runs` and `epochs_of`.
        OSError: a file of another program would be replaced, or one cannot be written.
    """
    out = pathlib.Path(options.out)
    check_outputs(out, MARKS)
    runs = finished_runs(options.runs)
    rows = {(run.options.variant(), run.options.seed): epochs_of(run) for run in runs}
    found = pd.concat(rows, names=KEYS)
    text = table(paired(found), options.last)
    texts = {"discriminators.md": text, "epochs.csv": csv_text(found, FORMATS)}
    fields = [field for field in FIELDS if found[f"{field}_auc"].notna().any()]
    figures = {f"{field}_auc.png": figure(paired(found), field) for field in fields}
    publish(out, figures, texts)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Compare the runs."""
    options = Options.parse(arguments)
    try:
        print(compare_discriminators(options))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
