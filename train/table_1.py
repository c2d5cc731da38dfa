"""Table 1 of the paper: the NLL of generators over paired seeds."""

import numpy as np

from mf_keras import plots
from train import generation_arms as reading
from train.arms import (
    SEEDS,
    SETTINGS,
    check_outputs,
    difference,
    paired,
    publish,
    words,
    write_settings,
)
from train.sequence_generation import check_possible

TABLE_HEAD = "test NLL, mean"
COLUMNS = ("test_nll", "validation_nll", "best_epoch", "seconds_per_epoch")
# What is written, and by what a file of our own making is known.
MARKS = {
    "nll.png": plots.MARK,
    "table_1.md": TABLE_HEAD.encode(),
    SEEDS: ",".join(reading.SEED_FIELDS).encode(),
    reading.EPOCHS: ",".join(reading.EPOCH_FIELDS).encode(),
    SETTINGS: b"controller_units",
}
# Test NLL of others on the same data, nats per image.
PUBLISHED = {
    "binarized_mnist": [
        ("PixelRNN (van den Oord et al. 2016)", "79.20"),
        ("Professor Forcing (Lamb et al. 2016)", "79.58"),
        ("DRAW (Gregor et al. 2015)", "<= 80.97"),
        ("NADE (Larochelle and Murray 2011)", "88.33"),
        ("the three methods in the paper, which no test NLL of this data can be", "46.30 to 46.55"),
    ]
}


def table(arms, seeds, dataset):
    """Table 1 in Markdown: one row an arm, over the same seeds; and what others have published."""
    count = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    lines = [
        f"| method ({count}) | {TABLE_HEAD} | sd | validation NLL, mean | paired difference of "
        "the test NLL, 95 % interval | best epoch, median | seconds an epoch, median |",
        "|---|---|---|---|---|---|---|",
    ]
    columns = {name: _column(arms, name) for name in COLUMNS}
    for arm in arms:
        test, validation, best, seconds = (columns[name][arm] for name in COLUMNS)
        sd = np.std(test, ddof=1) if len(test) > 1 else np.nan
        lines.append(
            f"| {words(arm)} | {_number(test.mean(), 2)} | {_number(sd, 2)} | "
            f"{_number(validation.mean(), 2)} | {difference(arm, columns['test_nll'], 2)} | "
            f"{_number(np.median(best), 0)} | {_number(np.median(seconds), 0)} |"
        )
    lines += [f"| {name} | {nll} | | | | | |" for name, nll in PUBLISHED.get(dataset, [])]
    return "\n".join(lines) + "\n"


def _column(arms, name):
    """arm -> (seeds,): one entry of the runs' results, NaN where it is not known."""
    return {
        arm: np.array([run.result[name] for run in runs], dtype="float64")
        for arm, runs in arms.items()
    }


def _number(value, digits):
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def nll_figure(arms):
    """Validation NLL over the epochs, mean and range over the seeds."""
    series = {}
    for method, runs in arms.items():
        nll = np.array([[epoch["val_nll"] for epoch in run.epochs] for run in runs])
        epochs = np.arange(1, nll.shape[1] + 1)
        series[words(method)] = (epochs, nll.mean(axis=0), nll.min(axis=0), nll.max(axis=0))
    title = "mean over seeds, and their range" if len(runs) > 1 else None
    return plots.curves(series, "epoch", "validation NLL (nats per image)", title)


def compare(runs, out, epochs=None):
    """Write table 1, its figure and what they are made of to the folder `out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `generation_arms.read`, `arms.paired` and
            `sequence_generation.check_possible`.
        OSError: a file that is not ours stands in the way, or cannot be written.
    """
    check_outputs(out, MARKS)
    arms, settings = reading.read(runs, epochs)
    for seeds in arms.values():
        for run in seeds.values():
            if run.result["test_nll"] is not None:
                check_possible(settings["dataset"], run.result["test_nll"])
    chosen, seeds = paired(arms)
    text = table(chosen, seeds, settings["dataset"])
    texts = {
        "table_1.md": text,
        SEEDS: reading.write_seeds(arms),
        reading.EPOCHS: reading.write_epochs(arms),
        SETTINGS: write_settings(settings),
    }
    publish(out, {"nll.png": nll_figure(chosen)}, texts)
    return text
