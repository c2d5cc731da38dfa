"""StopOnNonFinite: the callback that ends a training that has diverged."""

from typing import Any

import keras
import numpy as np

from mf_keras import validation
from mf_keras.types import Logs

_ADVICE = "A lower learning rate or clipnorm may help."


class StopOnNonFinite(keras.callbacks.Callback):
    """End training with an error that names what is NaN or infinite.

    The forcing algorithms skip an update whose gradient is not finite, and train on; their `fit`
    adds this callback where it is not given. A streak of `max_skipped` skipped updates of a player,
    also across epochs, ends the training with the weights from before them. With a
    `LossScaleOptimizer`, only updates that are skipped at a scale below 1 count. The logs leave out
    the steps in which they were not finite. A log is NaN at the end of an epoch if it was finite in
    no step; then training ends too, as it does at once for logs of validation. With
    `steps_per_execution` the streaks are checked after so many steps.

    The training of any other Keras model ends as soon as one of its logs is NaN or infinite.

    Put it before callbacks that save, so that the last good file survives.

    Args:
        max_skipped: skipped updates in a row that end the training.

    Raises:
        TypeError, ValueError: `max_skipped` is no integer >= 1.
        FloatingPointError: from `fit`.
    """

    def __init__(self, max_skipped: int = 10) -> None:
        super().__init__()
        self.max_skipped = validation.positive_int("max_skipped", max_skipped)

    def on_train_begin(self, logs: Logs = None) -> None:
        """Forget the streaks of an earlier training."""
        if hasattr(self.model, "skipped_updates"):
            self.model.skipped_updates.reset_streaks()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Check what was skipped; of a model that skips nothing, the logs of this step."""
        logs, when = logs or {}, f"step {batch + 1} of the epoch"
        if "skipped_updates" not in logs:
            self._check(logs, when)
        elif logs["skipped_updates"]:
            self._check_streaks(when)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check the logs of this epoch, those of the validation too."""
        self._check(logs or {}, f"the end of epoch {epoch + 1}")

    def _check_streaks(self, when):
        streaks = self.model.skipped_updates.streaks().values()
        found = [(length, terms) for length, terms in streaks if length >= self.max_skipped]
        if found:
            names = ", ".join(term for _, terms in found for term in terms)
            raise FloatingPointError(
                f"The gradient of {names} was not finite {found[0][0]} times in a row at {when}; "
                f"these updates were skipped and training stopped. {_ADVICE}"
            )

    def _check(self, logs, when):
        for name, value in logs.items():
            if not np.isfinite(value).all():  # some metrics of Keras log an array
                value = np.asarray(value).tolist()
                raise FloatingPointError(
                    f"{name} is {value} at {when}; training stopped. {_ADVICE}"
                )


def with_stop(callbacks: Any) -> keras.callbacks.CallbackList | list[keras.callbacks.Callback]:
    """The callbacks of a `fit` as a list that begins with a `StopOnNonFinite`, unless it has one.

    Raises:
        TypeError: one of them is no Keras callback.
    """
    listed = checked_callbacks(callbacks)
    if isinstance(listed, keras.callbacks.CallbackList):
        return listed
    if any(isinstance(callback, StopOnNonFinite) for callback in listed):
        return listed
    return [StopOnNonFinite(), *listed]


def checked_callbacks(
    callbacks: Any,
) -> keras.callbacks.CallbackList | list[keras.callbacks.Callback]:
    """Callbacks as Keras takes them, as a list.

    Raises:
        TypeError: one of them is no Keras callback.
    """
    if isinstance(callbacks, keras.callbacks.CallbackList):
        return callbacks
    listed = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks]
    listed = [callback for callback in listed if callback is not None]
    for callback in listed:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"callbacks must be Keras callbacks, got {callback!r}.")
    return listed
