"""Going on with a run that was broken off, so that it ends as if it had not been."""

import argparse
import contextlib
import sys

import keras
import tensorflow as tf

from mf_keras import checkpoints, files


def options_of(config, parse_arguments):
    """The options of an earlier run; those that it did not have yet are the defaults."""
    return argparse.Namespace(**{**vars(parse_arguments([])), **config})


def parse(parser, arguments, heard):
    """The options of a command; the program ends where some are given that `--resume` ignores.

    Args:
        parser: the command's.
        arguments: what it is given; None for the command line.
        heard: names of the options that go with `--resume`.
    """
    options = parser.parse_args(arguments)
    if options.resume is None:
        return options
    not_given = object()  # a default would be set where there is nothing yet
    known = argparse.Namespace(**dict.fromkeys(vars(options), not_given))
    for name, value in vars(parser.parse_args(arguments, known)).items():
        if name not in {"resume", *heard} and value is not not_given:
            option = "--" + name.replace("_", "-")
            parser.error(f"argument {option}: the run has its own, --resume does not change it")
    return options


class MissingRowsError(ValueError):
    """A history has lost rows that its checkpoint has seen, or the checkpoint is lost."""


@contextlib.contextmanager
def told_how(command):
    """End the program with one line, and the command that goes on, where training is broken off."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(f"\nstopped and saved; to go on: {command}")
    except files.NotWrittenError as error:
        sys.exit(
            f"\nerror: {error} The checkpoint before is intact; once the file can be written, "
            f"to go on: {command}"
        )
    except (FloatingPointError, MissingRowsError) as error:
        sys.exit(f"\nerror: {error}")


def keep_known(folder, history, done, per_epoch, every=1):
    """Cut a run's history back to what its checkpoint has seen.

    Args:
        folder: the `RunFolder`.
        history: name of the CSV file, a row an epoch.
        done: training steps of the checkpoint; 0 where there is none.
        per_epoch: steps of an epoch.
        every: epochs between two checkpoints.

    Raises:
        MissingRowsError: rows are missing that cannot be made up for, or there are more than a run
            has before its first checkpoint, and no checkpoint.
    """
    rows = len(folder.rows(history))
    if not done and rows > every:
        raise MissingRowsError(
            f"{folder / history} has {rows} rows, but there is no checkpoint to go on from; put it "
            "back or begin a new run."
        )
    finished = done // per_epoch
    rows = folder.keep_rows(history, finished)
    # Of an epoch whose last step alone is done, the checkpoint holds the logs.
    needed = finished - 1 if finished and done % per_epoch == 0 else finished
    if rows < needed:
        raise MissingRowsError(
            f"{folder / history} has {rows} of the {finished} rows that its checkpoint of step "
            f"{done} comes after; put the file back or begin a new run."
        )


def fit_from_checkpoint(model, batches, per_epoch, epochs, rows, checkpoint, **arguments):
    """`model.fit` from the step where the model is to the end of the last epoch.

    An epoch that was broken off is finished first, its logs being the means over all its steps; one
    that lacks only its validation and its row in the history gets them.

    Args:
        model: of this package's algorithms, new or loaded.
        batches: a `tf.data.Dataset`, the whole stream of the run.
        per_epoch: steps of an epoch.
        epochs: how many the run has.
        rows: of the history so far.
        checkpoint: the callback that saves. It comes after all others, so that what it has seen is
            in their files already.
        **arguments: `callbacks` and others of `fit`.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: a weight is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    done = model.trained_steps
    finished, begun = divmod(done, per_epoch)
    arguments["callbacks"] = [*arguments["callbacks"], checkpoint]
    checkpoint.set_model(model)
    try:
        if finished > rows and not begun:
            _end_epoch(model, finished - 1, **arguments)
        if begun:
            means = _Means(checkpoints.metric_values(model))
            first = {**arguments, "callbacks": [means, *arguments["callbacks"]]}
            _fit(model, batches, done, finished, finished + 1, per_epoch - begun, **first)
            finished += 1
        if finished < epochs:
            _fit(model, batches, finished * per_epoch, finished, epochs, per_epoch, **arguments)
    except KeyboardInterrupt:
        checkpoint.save()
        raise


def _fit(model, batches, done, epoch, epochs, steps, **arguments):
    stream = batches.skip(done).prefetch(tf.data.AUTOTUNE)
    model.fit(stream, initial_epoch=epoch, epochs=epochs, steps_per_epoch=steps, **arguments)


def _end_epoch(model, epoch, callbacks, validation_data=None, **arguments):
    """What `fit` does after the last step of an epoch."""
    logs = {metric.name: float(metric.result()) for metric in model.metrics}
    callbacks = keras.callbacks.CallbackList(callbacks, model=model)
    callbacks.on_train_begin()
    if validation_data is not None:
        found = model.evaluate(validation_data, callbacks=callbacks, return_dict=True, verbose=0)
        logs |= {f"val_{name}": value for name, value in found.items()}
    callbacks.on_epoch_end(epoch, logs)
    callbacks.on_train_end()


class _Means(keras.callbacks.Callback):
    """Puts the means of a broken epoch back, once, where `fit` has reset them."""

    def __init__(self, values):
        super().__init__()
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        checkpoints.set_metric_values(self.values)
        self.values = []
