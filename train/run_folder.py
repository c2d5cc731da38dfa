"""The folder that a run writes: its configuration, history, weights, pictures and results."""

import contextlib
import csv
import json
import os
import pathlib

import keras

from mf_keras import plots

MARKER = "config.json"


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
    def open(cls, path):
        """An existing run and its configuration: `(folder, config)`.

        Raises:
            FileNotFoundError: there is no run in `path`.
        """
        folder = cls.__new__(cls)
        folder.path = pathlib.Path(path)
        marker = folder.path / MARKER
        if not marker.is_file():
            raise FileNotFoundError(f"{str(path)!r} is no run folder: no {MARKER} in it.")
        return folder, json.loads(marker.read_text())

    def __truediv__(self, name):
        return self.path / name

    def write_json(self, name, content):
        """Write a dict as a JSON file, whole or not at all."""
        temporary = self.path / f".{name}.tmp"
        temporary.write_text(json.dumps(content, indent=2) + "\n")
        os.replace(temporary, self.path / name)

    def read_json(self, name):
        """What a JSON file of the folder holds."""
        return json.loads((self.path / name).read_text())

    def rows(self, name):
        """The rows of a CSV file that `csv_logger` wrote, one dict of floats each; none yet: []."""
        path = self.path / name
        if not path.exists():
            return []
        with path.open(newline="") as file:
            return [
                # Keras' logger keeps columns for a validation that there may never be.
                {key: float(value) for key, value in row.items() if value != "NA"}
                for row in csv.DictReader(file)
            ]

    def keep_rows(self, name, count):
        """Cut a CSV file back to its first `count` rows, whole or not at all."""
        path, temporary = self.path / name, self.path / f".{name}.tmp"
        if path.exists():
            lines = path.read_text().splitlines(keepends=True)
            temporary.write_text("".join(lines[: count + 1]))
            os.replace(temporary, path)

    @contextlib.contextmanager
    def csv_logger(self, name):
        """A Keras callback that appends the logs of every epoch to a CSV file."""
        logger = keras.callbacks.CSVLogger(self.path / name, append=True)
        try:
            yield logger
        finally:
            if getattr(
                logger, "csv_file", None
            ):  # Keras leaves it open when training is broken off
                logger.csv_file.close()

    def save_figure(self, name, figure):
        """Write a figure as a PNG, whole or not at all."""
        plots.save(figure, self.path / name)
