"""Keras callbacks: what is kept while a model trains."""

import math
import os
import pathlib
import uuid

import keras

from mf_keras import validation


class SaveBest(keras.callbacks.Callback):
    """Keep the model with the lowest value of a log, whole at every moment.

    The file is written aside and renamed, so an interrupted run leaves the last good one.

    Args:
        path: a file ending in .keras; its folder must exist.
        model: the model to keep; None for the one that trains. Give `forcing.generator` to keep a
            generator without its training.
        monitor: name of the log, lower is better.

    Attributes:
        best: the lowest value so far; set it to go on with an earlier run.
        best_epoch: its epoch, counted from 1; 0 before the first.

    Raises:
        ValueError: `path` does not end in .keras.
    """

    def __init__(self, path, model=None, monitor="val_nll"):
        super().__init__()
        self.path = pathlib.Path(path)
        if self.path.suffix != ".keras":
            raise ValueError(f"path must end in .keras, got {str(path)!r}.")
        self.monitor = monitor
        self.best = float("inf")
        self.best_epoch = 0
        self._kept = model

    def on_epoch_end(self, epoch, logs=None):
        """Save if this epoch is the best so far."""
        logs = logs or {}
        validation.one_of("monitor", self.monitor, tuple(logs))
        value = float(logs[self.monitor])
        if value < self.best:
            self.best, self.best_epoch = value, epoch + 1
            save_model(self._kept or self.model, self.path)


class Checkpoint(keras.callbacks.Callback):
    """Save the whole model after every epoch, every so many steps, and when training ends.

    The file holds weights, optimizers and random state, and is whole at every moment.

    Args:
        path: a file ending in .keras; its folder must exist.
        every: steps between two savings inside an epoch; None for none.

    Raises:
        ValueError: `path` does not end in .keras, or `every` is below 1.
    """

    def __init__(self, path, every=None):
        super().__init__()
        self.path = pathlib.Path(path)
        if self.path.suffix != ".keras":
            raise ValueError(f"path must end in .keras, got {str(path)!r}.")
        self.every = None if every is None else validation.positive_int("every", every)

    def on_train_batch_end(self, batch, logs=None):
        """Save if enough steps have passed."""
        if self.every and (batch + 1) % self.every == 0:
            save_model(self.model, self.path)

    def on_epoch_end(self, epoch, logs=None):
        """Save."""
        save_model(self.model, self.path)


class StopOnNonFinite(keras.callbacks.Callback):
    """End training with an error that names the log, as soon as one is NaN or infinite.

    Put it before callbacks that save, so that the last good file survives.

    Raises:
        FloatingPointError: from `fit`.
    """

    def on_train_batch_end(self, batch, logs=None):
        """Check the logs of this step."""
        for name, value in (logs or {}).items():
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {float(value)} at step {batch + 1} of the epoch; training stopped. "
                    "The files saved before are good. A lower learning rate or clipnorm may help."
                )


def save_model(model, path):
    """Write a .keras file; a reader of `path` sees the old file or the new one, whole."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
