"""The folder that a run writes: its configuration, history, weights, pictures and results."""

import contextlib
import io
import json
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any, Self, TypeVar

import keras
import pandas as pd
from matplotlib.figure import Figure

from mf_keras import files, plots
from train.runs.options import ExperimentOptions

CONFIG = "config.json"
# The ends of the name of a log, and of its older name.
GATE_OPEN, HEARD = "_gate_open", "_heard"
T = TypeVar("T", bound=ExperimentOptions)


class RunFolder:
    """The folder of one run. It is created; a path that holds anything is refused.

    Args:
        path: where.
        options: of the run, written as config.json.

    Raises:
        FileExistsError: `path` is a file, or a folder that is not empty.
    """

    def __init__(self, path: str | os.PathLike, options: ExperimentOptions) -> None:
        self.path = pathlib.Path(path)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise FileExistsError(
                f"--out {str(path)!r} exists and is not empty; give a new folder or remove it."
            )
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_options(options)

    @classmethod
    def open(cls, path: str | os.PathLike, *kinds: type[T]) -> tuple[Self, T]:
        """An existing run: `(folder, options)`.

        Args:
            path: where.
            *kinds: the options of the commands whose runs are accepted.

        Raises:
            FileNotFoundError: there is no run in `path`.
            ValueError: what is there is no run, or one of another command.
        """
        folder = cls.__new__(cls)
        folder.path = pathlib.Path(path)
        file = folder.path / CONFIG
        if not file.is_file():
            raise FileNotFoundError(f"{str(path)!r} is no run folder: no {CONFIG} in it.")
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file} is no configuration of a run: {error}") from error
        for kind in kinds:
            if isinstance(config, dict) and kind.marker in config:
                return folder, kind.from_config(config)
        commands = " or ".join(kind.command for kind in kinds)
        raise ValueError(f"{str(path)!r} is no run of {commands}, by its {CONFIG}.")

    def __truediv__(self, name: str) -> pathlib.Path:
        return self.path / name

    def write_options(self, options: ExperimentOptions) -> None:
        """Write config.json."""
        self.write_json(CONFIG, options.config())

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file, atomically."""
        write_text(self.path / name, json.dumps(content, indent=2) + "\n")

    def read_json(self, name: str) -> Any:
        """The content of a JSON file of the folder."""
        return json.loads((self.path / name).read_text(encoding="utf-8"))

    def history(self, name: str) -> pd.DataFrame:
        """The rows of a CSV file that `csv_logger` wrote, floats; without rows or file: empty."""
        lines = self._whole_lines(name)
        if len(lines) < 2:
            return pd.DataFrame()
        # Keras' logger keeps columns for a validation that there may never be, of "NA" only.
        rows = pd.read_csv(io.BytesIO(b"".join(lines)), dtype=float).dropna(axis=1, how="all")
        return rows.rename(columns=lambda name: name.replace(HEARD, GATE_OPEN))

    def keep_rows(self, name: str, count: int) -> int:
        """Cut a CSV file back to its first `count` whole rows; returns how many there are.

        Without any, the file is removed.
        """
        path = self.path / name
        kept = self._whole_lines(name)[: count + 1]
        if len(kept) < 2:
            path.unlink(missing_ok=True)
            return 0
        text = b"".join(kept)
        if text != path.read_bytes():
            write_text(path, text.decode())
        return len(kept) - 1

    def _whole_lines(self, name: str) -> list[bytes]:
        """The lines of a file but for one that a full disk cut short; none where it is missing."""
        path = self.path / name
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        return [line for line in lines if line.endswith(b"\n")]

    def remove_left_over(self) -> None:
        """Remove the temporary files that a killed process left; only for a run that resumes."""
        for folder in (self.path, self.path / "pictures"):
            files.remove_left_over(folder)

    @contextlib.contextmanager
    def csv_logger(self, name: str) -> Iterator[keras.callbacks.Callback]:
        """A Keras callback that appends the logs of every epoch to a CSV file.

        Raises:
            mf_keras.files.NotWrittenError: from `fit`, if the disk is full.
        """
        logger = _CSVLogger(self.path / name, append=True)
        try:
            yield logger
        finally:
            if logger.csv_file:  # Keras leaves it open when training is interrupted
                with contextlib.suppress(OSError):  # of a full disk, which has been reported
                    logger.csv_file.close()

    def save_figure(self, name: str, figure: Figure) -> None:
        """Write a figure as a PNG, atomically."""
        plots.save(figure, self.path / name)


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a text file, atomically.

    Raises:
        mf_keras.files.NotWrittenError: it cannot be written; an old file is untouched.
    """
    with files.atomic_write(path) as temporary:
        temporary.write_bytes(text.encode())


class _CSVLogger(keras.callbacks.CSVLogger):
    """A logger whose rows are on the disk before the checkpoint that follows them.

    To the logs it adds the epoch's `seconds`: of an epoch that was interrupted, those since the
    run was resumed.
    """

    def on_train_begin(self, logs=None):
        """Open the file; rows that follow others have their columns."""
        super().on_train_begin(logs)
        self.start = time.time()
        path = pathlib.Path(self.filename)
        header = path.read_text(encoding="utf-8").partition("\n")[0] if path.exists() else ""
        if header:
            self.keys = header.split(self.sep)[1:]

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Write the row."""
        seconds = round(time.time() - self.start, 3)
        logs = {**(logs or {}), "seconds": seconds}
        if self.keys:  # perhaps of a file with an older name
            logs |= {name.replace(GATE_OPEN, HEARD): value for name, value in logs.items()}
        with files.naming(self.filename):
            super().on_epoch_end(epoch, logs)
            os.fsync(self.csv_file.fileno())
