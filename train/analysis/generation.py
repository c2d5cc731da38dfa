"""Table 1 of the paper: the NLL of generators over paired seeds."""

from collections.abc import Iterator
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from mf_keras import plots
from train import sequence_generation
from train.analysis.run_table import Experiment, Run, RunTable, by_variant, title
from train.analysis.tables import difference, markdown, number, over_steps
from train.runs.folder import RunFolder
from train.sequence_data import DATASETS

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
MACHINE = ("processor", "tensorflow", "keras")


class Generation(Experiment):
    """Runs of `train.sequence_generation`: a run a folder, a row an epoch."""

    options = sequence_generation.Options
    table_file, figure_file, progress_file = "table_1.md", "nll.png", "epochs.csv"
    step, limit = "epoch", "epochs"
    table_head = "test NLL, mean"
    progress_formats = {
        **dict.fromkeys(["nll", "val_nll", "c_h", "c_m"], ".9g"),
        "hidden_discriminator_accuracy": ".9g",
        "memory_discriminator_accuracy": ".9g",
        **dict.fromkeys(["skipped_updates", "seconds"], ".9g"),
    }
    result_formats = {
        **dict.fromkeys(["epochs", "best_epoch"], ".0f"),
        **dict.fromkeys(["validation_nll", "test_nll", "test_bits_per_pixel"], ".9g"),
        **dict.fromkeys(["seconds_per_epoch"], ".9g"),
        **dict.fromkeys(MACHINE, "s"),
    }

    def read(self, folder: RunFolder, options: sequence_generation.Options) -> Iterator[Run]:
        """The run of a folder; without the results that only finished runs have."""
        history = folder.history(sequence_generation.HISTORY)
        results: dict[str, Any] = {"epochs": options.epochs}
        if (folder / sequence_generation.RESULTS).exists():
            found = folder.read_json(sequence_generation.RESULTS)
            results |= {name: found.get(name) for name in ("best_epoch", *MACHINE)}
            results["test_nll"] = found["test"]["nll"]
            results["test_bits_per_pixel"] = found["test"]["bits_per_step"]
        yield Run(
            options.variant(), options.seed, results | _summary(history, options.method), history
        )

    def first(self, run: Run, count: int, settings: dict[str, Any]) -> dict[str, Any]:
        """As in the base class.

        The test NLL stays where the generator that it is of would have been chosen then, too.
        """
        history = run.progress[:count]
        method = run.variant.split(" ")[0]
        best = sequence_generation.chosen_row(history, method) + 1
        results = run.results | _summary(history, method) | {"epochs": count, "best_epoch": best}
        if best != run.results.get("best_epoch"):
            results |= {"test_nll": None, "test_bits_per_pixel": None}
        return results

    def check(self, table: RunTable) -> None:
        """Check that a model of the data can have each test NLL."""
        for nll in table.runs["test_nll"].dropna():
            sequence_generation.check_possible(table.settings["dataset"], nll)

    def table(self, paired: RunTable) -> str:
        """Table 1: a row a variant; and what others have published."""
        seeds = len(paired.runs.index.unique("seed"))
        head = [
            f"method ({seeds} seed{'s' if seeds > 1 else ''})",
            self.table_head,
            "sd",
            "validation NLL, mean",
            "paired difference of the test NLL, 95 % interval",
            "best epoch, median",
            "seconds an epoch, median",
        ]
        rows = [
            [
                title(variant),
                number(runs["test_nll"].mean(skipna=False), 2),
                number(runs["test_nll"].std(skipna=False), 2),
                number(runs["validation_nll"].mean(skipna=False), 2),
                difference(paired.runs["test_nll"], variant, 2),
                number(runs["best_epoch"].median(skipna=False), 0),
                number(runs["seconds_per_epoch"].median(skipna=False), 0),
            ]
            for variant, runs in by_variant(paired.runs)
        ]
        others = PUBLISHED.get(paired.settings["dataset"], [])
        return markdown(head, [*rows, *([name, nll, *[""] * 5] for name, nll in others)])

    def figure(self, paired: RunTable) -> Figure:
        """Validation NLL over the epochs, mean and range over the seeds."""
        several = len(paired.runs.index.unique("seed")) > 1
        caption = "mean over seeds, and their range" if several else None
        curves = over_steps(paired.progress["val_nll"])
        sequence = DATASETS[paired.settings["dataset"]].sequence
        return plots.curves(curves, "epoch", f"validation NLL (nats per {sequence})", caption)


def _summary(history: pd.DataFrame, method: str) -> dict[str, float]:
    """The results that follow from the epochs."""
    if history.empty:
        return {}
    # The first runs did not measure their seconds.
    seconds = history["seconds"].median() if "seconds" in history else float("nan")
    row = sequence_generation.chosen_row(history, method)
    return {"validation_nll": history["val_nll"].iloc[row], "seconds_per_epoch": seconds}
