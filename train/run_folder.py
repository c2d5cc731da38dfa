"""The folder that a run writes: its configuration, history, weights, pictures and results."""

import contextlib
import csv
import json
import os
import pathlib
import time

import keras

from mf_keras import files, plots

MARKER = "config.json"
# An option that only the runs of this command have.
COMMANDS = {"dataset": "train.sequence_generation", "seeds": "train.copy_task"}


class RunFolder:
    """A folder of one run. It is made new; a folder that holds anything is refused.

    Args:
        path: where.
        config: a dict of everything that determines the run, written as config.json.

    Raises:
        FileExistsError: `path` is a file, or a folder that is not empty.
    """

    def __init__(self, path, config):
        self.path = pathlib.Path(path)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"--out {str(path)!r} holds something already; give a new folder or remove it."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_json(MARKER, config)

    @classmethod
    def open(cls, path, option=None):
        """An existing run and its configuration: `(folder, config)`.

        Args:
            path: where.
            option: one of `COMMANDS`, whose runs alone will do; None for either.

        Raises:
            FileNotFoundError: there is no run in `path`.
            ValueError: what is there is no run, or one of another command.
        """
        folder = cls.__new__(cls)
        folder.path = pathlib.Path(path)
        marker = folder.path / MARKER
        if not marker.is_file():
            raise FileNotFoundError(f"{str(path)!r} is no run folder: no {MARKER} in it.")
        try:
            config = json.loads(marker.read_text())
        except ValueError as error:
            raise ValueError(f"{marker} is no configuration of a run: {error}") from error
        wanted = [option] if option else list(COMMANDS)
        if not isinstance(config, dict) or not any(name in config for name in wanted):
            commands = " or ".join(COMMANDS[name] for name in wanted)
            raise ValueError(f"{str(path)!r} is no run of {commands}, by its {MARKER}.")
        return folder, config

    def __truediv__(self, name):
        return self.path / name

    def write_json(self, name, content):
        """Write a dict as a JSON file, whole or not at all."""
        with files.aside(self.path / name) as temporary:
            temporary.write_text(json.dumps(content, indent=2) + "\n")

    def read_json(self, name):
        """What a JSON file of the folder holds."""
        return json.loads((self.path / name).read_text())

    def rows(self, name):
        """The rows of a CSV file that `csv_logger` wrote, one dict of floats each; none yet: []."""
        lines = [line.decode() for line in self._whole_lines(name)]
        return [
            # Keras' logger keeps columns for a validation that there may never be.
            {key: float(value) for key, value in row.items() if value != "NA"}
            for row in csv.DictReader(lines)
        ]

    def keep_rows(self, name, count):
        """Cut a CSV file back to its first `count` whole rows; returns how many there are.

        Without any, the file is removed.
        """
        path = self.path / name
        kept = self._whole_lines(name)[: count + 1]
        if len(kept) < 2:
            path.unlink(missing_ok=True)
            return 0
        whole = b"".join(kept)
        if whole != path.read_bytes():
            with files.aside(path) as temporary:
                temporary.write_bytes(whole)
        return len(kept) - 1

    def _whole_lines(self, name):
        """The lines of a file, but for one that a full disk cut short; none where it is missing."""
        path = self.path / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [line for line in lines if line.endswith(b"\n")]

    def remove_left_over(self):
        """Remove the temporary files that a killed process left; only for a run to go on with."""
        for folder in (self.path, self.path / "pictures"):
            files.remove_left_over(folder)

    @contextlib.contextmanager
    def csv_logger(self, name):
        """A Keras callback that appends the logs of every epoch to a CSV file.

        Raises:
            mf_keras.files.NotWrittenError: from `fit`, if the disk is full.
        """
        logger = _CSVLogger(self.path / name, append=True)
        try:
            yield logger
        finally:
            if logger.csv_file:  # Keras leaves it open when training is broken off
                with contextlib.suppress(OSError):  # of a full disk, which has been told of
                    logger.csv_file.close()

    def save_figure(self, name, figure):
        """Write a figure as a PNG, whole or not at all."""
        plots.save(figure, self.path / name)


class _CSVLogger(keras.callbacks.CSVLogger):
    """A logger whose rows are on the disk before the checkpoint that follows them.

    To the logs it adds the epoch's `seconds`: of one that was broken off, those since it was gone
    on with.
    """

    def on_train_begin(self, logs=None):
        """Open the file; rows that follow others have their columns."""
        super().on_train_begin(logs)
        self.start = time.time()
        path = pathlib.Path(self.filename)
        header = path.read_text().partition("\n")[0] if path.exists() else ""
        if header:
            self.keys = header.split(self.sep)[1:]

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Write the row."""
        seconds = round(time.time() - self.start, 3)
        with files.naming(self.filename):
            super().on_epoch_end(epoch, {**(logs or {}), "seconds": seconds})
            os.fsync(self.csv_file.fileno())
