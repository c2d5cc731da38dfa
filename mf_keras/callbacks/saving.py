"""Callbacks that write models to disk while they train."""

import warnings
from typing import Any

import keras
import numpy as np

from mf_keras import checkpoints, validation
from mf_keras.types import Logs, Path


class SaveBest(keras.callbacks.Callback):
    """Keep the model with the lowest value of a log.

    The file is written atomically, so an interrupted run leaves the last good one. If the log is
    one of validation, epochs without a validation (`validation_freq`) are skipped.

    Args:
        path: a file ending in .keras; its folder must exist.
        model: the model to keep; None for the one that trains. Give `forcing.generator` to keep a
            generator without its training.
        monitor: name of the log, lower is better.

    Attributes:
        best: the lowest value so far; set it to resume an earlier run.
        best_epoch: its epoch, counted from 1; 0 before the first.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `path` does not end in .keras, or `monitor` is empty. From `fit`: no log has
            this name.
    """

    def __init__(
        self, path: Path, model: keras.Model | None = None, monitor: str = "val_nll"
    ) -> None:
        super().__init__()
        self.path = validation.path("path", path, ".keras")
        if model is not None and not isinstance(model, keras.Model):
            raise TypeError(f"model must be a Keras model or None, got {model!r}.")
        self.monitor = validation.text("monitor", monitor)
        self.best = float("inf")
        self.best_epoch = 0
        self._kept = model
        # Names of the logs of an epoch without a validation, before any with one.
        self._unvalidated: tuple[str, ...] | None = None

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save if this epoch is the best so far."""
        logs = logs or {}
        # A validation has a loss; other callbacks, too, add names that begin with val_.
        validated = self.monitor in logs or "val_loss" in logs
        if self.monitor.startswith("val_") and not validated:
            if self._unvalidated is None and not self.best_epoch:
                warnings.warn(
                    f"SaveBest watches {self.monitor}, but epoch {epoch + 1} had no validation, so "
                    "nothing is saved yet.",
                    stacklevel=2,
                )
            self._unvalidated = tuple(logs)
            return
        self._check_monitor(logs)
        self._unvalidated = None
        value = float(logs[self.monitor])
        if value < self.best:
            self.best, self.best_epoch = value, epoch + 1
            checkpoints.save_model(self._kept or self.model, self.path)

    def on_train_end(self, logs: Logs = None) -> None:
        """Raise an error if the log is one of validation, and there was none."""
        if self._unvalidated is not None and not self.best_epoch:
            self._check_monitor(self._unvalidated)

    def _check_monitor(self, logs):
        validation.one_of("monitor", self.monitor, tuple(logs))


class Checkpoint(keras.callbacks.Callback):
    """Save the whole model after every so many epochs and steps, and after the last epoch.

    Put it after callbacks that end training, such as `EarlyStopping`. What Keras changes after the
    last epoch, such as weights that are averaged or restored, is then not in the file.

    The file holds weights and optimizers and, of this package's algorithms, random states and the
    running means of the epoch's logs; of other models Keras leaves random states out. It is written
    atomically, and the file before it is kept as `previous(path)`; `load_latest` takes the newest
    that can be used. Where several workers save to one path, one after the other, both files are of
    the same step.

    Args:
        path: a file ending in .keras; its folder must exist.
        every: steps between two savings inside an epoch; None for none.
        epochs: epochs between two savings at their end.

    Raises:
        ValueError: `path` does not end in .keras, or `every` or `epochs` is below 1.
        FloatingPointError: from `fit`, if a weight is NaN or infinite; the file is unchanged.
        mf_keras.files.NotWrittenError: from `fit`, if the disk is full; the file is unchanged.
    """

    def __init__(self, path: Path, every: int | None = None, epochs: int = 1) -> None:
        super().__init__()
        self.path = validation.path("path", path, ".keras")
        self.every = None if every is None else validation.positive_int("every", every)
        self.epochs = validation.positive_int("epochs", epochs)
        self._seen = 0  # steps of this epoch
        self._means: Any = None  # the epoch's logs, while its validation has the metrics
        self._unsaved = False

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Count from the start."""
        self._seen, self._means = 0, None

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Save if enough steps have passed; several may pass at once (`steps_per_execution`)."""
        before, self._seen = self._seen, batch + 1
        if self.every and self._seen // self.every > before // self.every:
            self.save()

    def on_test_begin(self, logs: Logs = None) -> None:
        """Keep the means of the training, which validation resets."""
        if self._means is None:
            self._means = checkpoints.metric_values(self.model)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Save in every `epochs`-th epoch, and after the last one.

        That cannot wait for the end of training, before which Keras gives the weights the averages
        of an optimizer that keeps some (`use_ema`).
        """
        last = epoch + 1 == (self.params or {}).get("epochs")
        last = last or getattr(self.model, "stop_training", False)
        self._unsaved = (epoch + 1) % self.epochs != 0 and not last
        if not self._unsaved:
            self.save()

    def on_train_end(self, logs: Logs = None) -> None:
        """Save the end, if it is not saved yet."""
        if self._unsaved:
            self.save()

    def save(self) -> None:
        """Save now, as of the last training step."""
        for variable in self.model.trainable_variables:
            if not np.isfinite(keras.ops.convert_to_numpy(variable)).all():
                raise FloatingPointError(
                    f"{variable.path} is not finite; {self.path} is unchanged."
                )
        if self._means is not None:
            checkpoints.set_metric_values(self._means)
        checkpoints.save_model(self.model, self.path, keep_previous=True)
