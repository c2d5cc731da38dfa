"""Table 2 and figure 7 of the paper: the methods on the copy task over paired seeds."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mf_keras import plots
from train import copy_task
from train.analysis.run_table import Experiment, Run, RunTable, by_variant, title
from train.analysis.tables import difference, markdown, number, over_steps
from train.runs.folder import RunFolder


class Copying(Experiment):
    """Runs of `train.copy_task`: a folder of several seeds, a row per interval of 1000 steps."""

    options = copy_task.Options
    table_file, figure_file, progress_file = "table_2.md", "figure_7.png", "windows.csv"
    step, limit, limit_unit = "window", "steps", copy_task.INTERVAL
    table_head = "correct predictions, mean"
    progress_formats = {
        "correct_predictions": ".0f",
        **dict.fromkeys(["nll", "bit_errors", "c_p", "discriminator_accuracy", "seconds"], ".4g"),
    }
    result_formats = {
        **dict.fromkeys(["correct_predictions", "steps_to_95_percent"], ".0f"),
        "last_nll": ".4g",
        "seconds": ".1f",
        **dict.fromkeys(["test_correct", "test_bit_errors_2x", "test_bit_errors_4x"], ".4g"),
    }

    def read(self, folder: RunFolder, options: copy_task.Options) -> Iterator[Run]:
        """The finished seeds of a folder."""
        finished = (folder / copy_task.RESULTS).exists()
        results = folder.read_json(copy_task.RESULTS) if finished else {}
        for seed, result in results.items():
            history = folder.history(f"seed_{seed}.csv")
            errors = {int(key) // options.length: x for key, x in result.get("test", {}).items()}
            tests = {"test_correct": errors[1]["correct"]} if 1 in errors else {}
            for factor in (2, 4):
                if factor in errors:
                    tests[f"test_bit_errors_{factor}x"] = errors[factor]["bit_errors"]
            summary = copy_task.summarize(history, options.batch_size)
            yield Run(options.variant(), int(seed), summary | tests, history)

    def first(self, run: Run, count: int, settings: dict[str, Any]) -> dict[str, Any]:
        """As in the base class; the tests after the training are only those of the whole run."""
        if count == len(run.progress):
            return run.results
        return copy_task.summarize(run.progress[:count], settings["batch_size"])

    def table(self, paired: RunTable) -> str:
        """Table 2: a row a variant."""
        head = [
            f"method ({len(paired.runs.index.unique('seed'))} seeds)",
            self.table_head,
            "sd",
            "paired difference, 95 % interval",
            "steps to the first window 95 % correct, median",
            "seconds, mean",
        ]
        rows = [
            [
                title(variant),
                number(runs["correct_predictions"].mean(), 0),
                number(runs["correct_predictions"].std(), 0),
                difference(paired.runs["correct_predictions"], variant, 0),
                # A run that never gets there counts as later than all others.
                number(runs["steps_to_95_percent"].fillna(np.inf).median(), 0),
                number(runs["seconds"].mean(skipna=False), 0),
            ]
            for variant, runs in by_variant(paired.runs)
        ]
        return markdown(head, rows)

    def figure(self, paired: RunTable) -> Figure:
        """Figure 7: NLL over the training, mean and range over the seeds."""
        caption = "mean over seeds, and their range"
        curves = over_steps(paired.progress["nll"])
        return plots.curves(
            curves, "training steps (thousands)", "NLL (nats per sequence)", caption
        )
