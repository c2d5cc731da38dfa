"""Callbacks of the copy task, whose epochs are windows of so many steps."""

import keras

from mf_keras import checkpoints


class WindowProgress(keras.callbacks.Callback):
    """One progress bar for a whole run: thousands of steps, with the share copied exactly."""

    def __init__(self, windows, sequences_per_window):
        super().__init__()
        self.bar = keras.utils.Progbar(windows, unit_name="k", stateful_metrics=["nll", "correct"])
        self.sequences = sequences_per_window

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar by one window."""
        share = logs["correct_predictions"] / self.sequences
        self.bar.update(epoch + 1, [("nll", logs["nll"]), ("correct", share)])


class SaveHalfTrained(keras.callbacks.Callback):
    """Keep the transducer of the first window half of whose predictions are correct, or the last.

    It does some things right and some wrong, which figures 1 and 2 of the paper compare.
    """

    def __init__(self, path, sequences_per_window, windows):
        super().__init__()
        self.path = path
        self.enough = sequences_per_window / 2
        self.windows = windows
        self.done = path.exists()

    def on_epoch_end(self, epoch, logs=None):
        """Save, if it is time to."""
        enough = logs["correct_predictions"] >= self.enough
        if not self.done and (enough or epoch + 1 == self.windows):
            checkpoints.save_model(self.model.generator, self.path)
            self.done = True
