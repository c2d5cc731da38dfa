"""Resuming an interrupted run, so that it ends as if it had not been interrupted."""

import contextlib
import math
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from mf_keras import callbacks as saving
from mf_keras import checkpoints, files
from train.runs.folder import RunFolder


class MissingRowsError(ValueError):
    """A history lacks rows of epochs that its checkpoint has seen, or the checkpoint is lost."""


@contextlib.contextmanager
def report_interruption(command: str) -> Iterator[None]:
    """Where training is interrupted, end the program with one line and the command that resumes."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"\nstopped and saved; to resume: {command}")
    except files.NotWrittenError as error:
        sys.exit(
            f"\nerror: {error} The previous checkpoint is intact; once the file can be written, "
            f"to resume: {command}"
        )
    except (FloatingPointError, MissingRowsError) as error:
        sys.exit(f"\nerror: {error}")


def new_or_resumed(options: Any) -> tuple[RunFolder, Any]:
    """The folder of a new run, or that of the one to resume with its own options.

    Raises:
        SystemExit: the folder is taken, or none of this command, with what was wrong.
    """
    try:
        if options.resume:
            folder, own = RunFolder.open(options.resume, type(options))
            folder.remove_left_over()
            return folder, own
        return RunFolder(options.out, options), options
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def checkpoint_of(folder: RunFolder, seed: int) -> pathlib.Path:
    """Where the training of a seed is saved until it is finished."""
    return folder / f"seed_{seed}-last.keras"


def latest_or(new: Any, path: pathlib.Path) -> Any:
    """The model from its last checkpoint; `new`, which it must be like, where there is none.

    Raises:
        SystemExit: there are checkpoints, but none can be used.
    """
    try:
        model = checkpoints.load_latest(path, like=new)
    except ValueError as error:
        sys.exit(f"error: {error}")
    if model is None:
        return new
    print(f"resuming from step {model.trained_steps}")
    return model


def cut_history(folder: RunFolder, history: str, done: int, per_epoch: int, every: int = 1) -> None:
    """Cut a run's history back to the epochs that its checkpoint has seen.

    Args:
        folder: of the run.
        history: name of the CSV file, a row an epoch.
        done: training steps of the checkpoint; 0 where there is none.
        per_epoch: steps of an epoch.
        every: epochs between two checkpoints.

    Raises:
        MissingRowsError: rows are missing that cannot be reconstructed, or there are more than a
            run has before its first checkpoint, and no checkpoint.
    """
    rows = len(folder.history(history))
    if not done and rows > every:
        raise MissingRowsError(
            f"{folder / history} has {rows} rows, but there is no checkpoint to resume from; put "
            "it back or start a new run."
        )
    finished = done // per_epoch
    rows = folder.keep_rows(history, finished)
    # Of an epoch of which only the last step is done, the checkpoint holds the logs.
    needed = finished - 1 if finished and done % per_epoch == 0 else finished
    if rows < needed:
        raise MissingRowsError(
            f"{folder / history} has {rows} of the {finished} rows that precede its checkpoint of "
            f"step {done}; put the file back or start a new run."
        )


def go_on(folder: RunFolder, options: Any, history: str, done: int, per_epoch: int) -> None:
    """Prepare the folder of a run of `options.epochs` epochs to go on after so many batches.

    Its history is cut back to them, and the options, perhaps with more epochs, are written.

    Raises:
        ValueError: the run has had more epochs than that.
    """
    started = math.ceil(done / per_epoch)
    if options.epochs < started:
        raise ValueError(
            f"--epochs must be at least the {started} that the run has, got {options.epochs}."
        )
    cut_history(folder, history, done, per_epoch)
    folder.write_options(options)


def fit_from_checkpoint(
    model: keras.Model,
    batches: tf.data.Dataset,
    per_epoch: int,
    epochs: int,
    rows: int,
    checkpoint: saving.Checkpoint,
    callbacks: Sequence[keras.callbacks.Callback],
    **arguments: Any,
) -> None:
    """`model.fit` from the step of the model to the end of the last epoch.

    An interrupted epoch is finished first, its logs being the means over all its steps; one that
    lacks only its validation and its row in the history gets them.

    Args:
        model: of this package's algorithms, new or loaded.
        batches: the whole stream of the run.
        per_epoch: steps of an epoch.
        epochs: how many the run has.
        rows: of the history so far.
        checkpoint: the callback that saves. It comes after all others, so that their files already
            hold what it has seen.
        callbacks: the others.
        **arguments: others of `fit`.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: a weight is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    callbacks = [*callbacks, checkpoint]
    checkpoint.set_model(model)
    finished, started = divmod(model.trained_steps, per_epoch)

    def fit(first: int, last: int, steps: int, callbacks: list) -> None:
        stream = batches.skip(model.trained_steps).prefetch(tf.data.AUTOTUNE)
        model.fit(
            stream,
            initial_epoch=first,
            epochs=last,
            steps_per_epoch=steps,
            callbacks=callbacks,
            **arguments,
        )

    try:
        if finished > rows and not started:
            _end_epoch(model, finished - 1, callbacks, arguments.get("validation_data"))
        if started:
            means = RestoreMeans(checkpoints.metric_values(model))
            fit(finished, finished + 1, per_epoch - started, [means, *callbacks])
            finished += 1
        if finished < epochs:
            fit(finished, epochs, per_epoch, callbacks)
    except KeyboardInterrupt:
        checkpoint.save()
        raise


def _end_epoch(
    model: keras.Model, epoch: int, callbacks: list, validation_data: tf.data.Dataset | None
) -> None:
    """What `fit` does after the last step of an epoch."""
    logs = {metric.name: float(metric.result()) for metric in model.metrics}
    container = keras.callbacks.CallbackList(callbacks, model=model)
    container.on_train_begin()
    if validation_data is not None:
        found = model.evaluate(validation_data, callbacks=container, return_dict=True, verbose=0)
        logs |= {f"val_{name}": value for name, value in found.items()}
    container.on_epoch_end(epoch, logs)
    container.on_train_end()


class RestoreMeans(keras.callbacks.Callback):
    """Puts the means of an interrupted epoch back, once, after `fit` has reset them.

    Args:
        values: of `checkpoints.metric_values`.
    """

    def __init__(self, values: list[Any]) -> None:
        super().__init__()
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        """Put them back."""
        checkpoints.set_metric_values(self.values)
        self.values = []
