"""Training in intervals, each with a row of a history, that resumes within an interval.

It is for a training whose data follow from what the interval before gave, or which ends when a test
is passed. Others are simpler by `resuming.fit_from_checkpoint`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import pandas as pd

from mf_keras import callbacks, checkpoints
from train.runs import resuming
from train.runs.folder import RunFolder, write_text

Row = dict[str, Any]
EVERY = 10  # intervals between two checkpoints
_BAR = 10  # columns, so that a line with three logs fits 100


class ProgressBar(keras.callbacks.Callback):
    """One progress bar of a whole training; a line each time where the output is no terminal.

    As a callback of `fit` it counts training steps, those before the run was resumed included.

    Args:
        count: what the bar ends at.
        shown: logs beside it; one that there is not is left out.
        unit: what is counted.
        every: as a callback, steps between two updates.
    """

    def __init__(
        self, count: int, shown: Sequence[str], unit: str = "interval", every: int = 1
    ) -> None:
        super().__init__()
        self.count, self.shown, self.every = count, shown, every
        self.bar = keras.utils.Progbar(count, _BAR, unit_name=unit, stateful_metrics=list(shown))

    def update(self, done: int, logs: Mapping[str, float]) -> None:
        """Show how many are done, and the logs."""
        self.bar.update(done, [(name, float(logs[name])) for name in self.shown if name in logs])

    def on_train_batch_end(self, batch, logs=None):
        """Count a step."""
        done = self.model.trained_steps
        if done % self.every == 0 or done == self.count:
            self.update(done, logs or {})


class Intervals:
    """The training of a model in intervals, from the last checkpoint.

    Writes NAME.csv, a row an interval, and NAME-last.keras, the last checkpoint, which `finish`
    removes. Without a checkpoint the training starts anew.

    Args:
        new: the model as it starts.
        folder: of the run.
        name: of the training.
        count: intervals, at most.
        steps: training steps of an interval.
        shown: columns that the progress bar shows.

    Attributes:
        model: `new`, or that of the checkpoint.
        rows: of the intervals that are done.
    """

    def __init__(
        self,
        new: Any,
        folder: RunFolder,
        name: str,
        count: int,
        steps: int,
        shown: Sequence[str] = (),
    ) -> None:
        self._path, self._history = folder / f"{name}-last.keras", f"{name}.csv"
        self.model = resuming.latest_or(new, self._path)
        self._folder, self._count, self._steps = folder, count, steps
        resuming.cut_history(folder, self._history, self.model.trained_steps, steps, every=count)
        self.rows: list[Row] = self._read()
        self._bar = ProgressBar(count, shown)

    def run(
        self,
        advance: Callable[[int, int], None],
        measure: Callable[[int, Row], Row],
        ends: Callable[[Row], bool] = lambda row: False,
    ) -> None:
        """Train to the end.

        Args:
            advance: `advance(interval, done)` trains the steps of an interval but its first `done`,
                perhaps all, whose logs the model has.
            measure: `measure(interval, logs)` gives the row of an interval but its seconds.
            ends: whether the training ends after a row.

        Raises:
            KeyboardInterrupt: after saving.
            FloatingPointError: a weight is NaN or infinite.
            mf_keras.files.NotWrittenError: the disk is full.
        """
        checkpoint = callbacks.Checkpoint(self._path)
        checkpoint.set_model(self.model)
        start = time.time() - (self.rows[-1]["seconds"] if self.rows else 0.0)
        means: Any = ()  # the interval's logs, while `measure` has the metrics
        try:
            while len(self.rows) < self._count and not (self.rows and ends(self.rows[-1])):
                interval = len(self.rows)
                advance(interval, self.model.trained_steps - interval * self._steps)
                means = checkpoints.metric_values(self.model)
                logs = sorted((each.name, float(each.result())) for each in self.model.metrics)
                row = measure(interval, dict(logs))
                self.rows.append({**row, "seconds": round(time.time() - start, 1)})
                self._write()
                means = ()
                self._bar.update(len(self.rows), self.rows[-1])
                if len(self.rows) % EVERY == 0:
                    checkpoint.save()
            checkpoint.save()
        except KeyboardInterrupt:
            checkpoints.set_metric_values(means)
            checkpoint.save()
            raise

    def finish(self) -> None:
        """Remove the checkpoint, once the results are written."""
        checkpoints.remove(self._path)

    def _read(self):
        path = self._folder / self._history
        if not path.exists():
            return []
        return pd.read_csv(path).to_dict("records")

    def _write(self):
        text = pd.DataFrame(self.rows).to_csv(index=False)
        write_text(self._folder / self._history, text)
