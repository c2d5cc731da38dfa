"""Keras callbacks: what is kept while a model trains."""

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
        best: the lowest value so far.
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


def save_model(model, path):
    """Write a .keras file; a reader of `path` sees the old file or the new one, whole."""
    path = pathlib.Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
