"""ProgressLine: the progress line of Keras, short."""

from collections.abc import Callable
from typing import Any

import keras

from mf_keras.types import Logs

_BAR = 5  # columns; Keras' own have 20, and the line is to fit 100


class ProgressLine(keras.callbacks.ProgbarLogger):
    """The progress line of Keras with a few of the logs; the history and callbacks have them all.

    Args:
        choose: what to show of a dict of logs.
    """

    async_safe = True  # as Keras' own, which it does not take for a callback of the user

    def __init__(self, choose: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        super().__init__()
        self._choose = choose

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Show the logs of a step."""
        super().on_train_batch_end(batch, self._shown(logs))

    def on_test_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Show the logs of a step of `evaluate`."""
        super().on_test_batch_end(batch, self._shown(logs))

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Begin a line."""
        super().on_epoch_begin(epoch, logs)
        self.progbar.width = _BAR

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """End the line."""
        super().on_epoch_end(epoch, self._shown(logs))

    def on_test_end(self, logs: Logs = None) -> None:
        """End the line of `evaluate`."""
        super().on_test_end(self._shown(logs))

    def _shown(self, logs):
        return self._choose(logs) if logs else logs
