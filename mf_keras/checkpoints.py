"""Checkpoints: models on disk that survive a crash of the process that writes them."""

import pathlib
import sys
import warnings
import zipfile
from collections.abc import Iterable

import h5py
import keras

from mf_keras import files, validation
from mf_keras.types import ArrayLike, Path

_WEIGHTS = "model.weights.h5"
_MAX_BYTES = 64 * 2**20  # beside four times the size of the file


def save_model(model: keras.Model, path: Path, keep_previous: bool = False) -> None:
    """Write a .keras file atomically: a reader sees the old file or the new one, complete.

    Args:
        model: a Keras model.
        path: a file ending in .keras; its folder must exist.
        keep_previous: keep an existing file as `previous(path)`.

    Raises:
        TypeError, ValueError: an argument has the wrong type, or `path` does not end in .keras.
        mf_keras.files.NotWrittenError: writing failed, e.g. on a full disk; an existing file is
            unchanged.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(f"model must be a Keras model, got {model!r}.")
    path = validation.path("path", path, suffix=".keras")
    keep_previous = validation.boolean("keep_previous", keep_previous)
    with files.atomic_write(path, keep_as=previous(path) if keep_previous else None) as temporary:
        model.save(temporary)


def previous(path: Path) -> pathlib.Path:
    """Where the checkpoint before the one at `path` is kept: last.keras -> last.previous.keras."""
    path = pathlib.Path(path)
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load(path: Path, like: keras.Model | None = None, max_bytes: int | None = None) -> keras.Model:
    """Load a .keras file, which may be untrusted: code in it is never run.

    What it unpacks to is bounded before anything is unpacked. The file's configuration can still
    describe a model that is larger than its weights in the file; `like` refuses it only when it has
    been made.

    Args:
        path: the file.
        like: a model whose class and whose trainable weights' shapes the file must have, frozen
            like what was saved; None for any.
        max_bytes: the most that its parts, and the arrays in them, may unpack to; None for 64 MiB
            and four times the size of the file. Keras compresses nothing, so that this is ample
            for its own files; one that was packed again may need more.

    Raises:
        TypeError: `max_bytes` is no integer.
        ValueError: the file is missing, cut short, damaged, too large once unpacked, unsafe to
            load, or of another model; or `max_bytes` is below 1.
    """
    path = pathlib.Path(path)
    if max_bytes is not None:
        max_bytes = validation.positive_int("max_bytes", max_bytes, maximum=sys.maxsize)
    reason = _damage(path, max_bytes)
    if reason:
        raise ValueError(f"{path} cannot be loaded: {reason}.")
    try:
        model = keras.models.load_model(path, safe_mode=True)
    except Exception as error:  # what a foreign file makes Keras raise can be anything
        raise ValueError(f"{path} cannot be loaded: {error}") from error
    if like is not None:
        if type(model) is not type(like):
            raise ValueError(f"{path} holds a {type(model).__name__}, not a {type(like).__name__}.")
        if _shapes(model) != _shapes(like):
            raise ValueError(f"{path} holds a {type(model).__name__} of other sizes.")
    return model


def _damage(path, max_bytes):
    """What is wrong with a zip file, or None."""
    if not path.is_file():
        return "there is no such file"
    if not zipfile.is_zipfile(path):
        return "it is cut short, or no .keras file"
    if max_bytes is None:
        max_bytes = _MAX_BYTES + 4 * path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            # In this order: before the sizes are known, nothing is read.
            reason = _size_of_parts(archive, max_bytes)
            if reason is None and (damaged := archive.testzip()):
                reason = f"its {damaged} is damaged"
            return reason or _size_of_arrays(archive, max_bytes)
    except Exception as error:  # zipfile raises many kinds on what is no zip file after all
        return f"it is damaged ({error})"


def _size_of_parts(archive, max_bytes):
    """What is wrong with the sizes that a zip file says its parts have, or None.

    `zipfile` reads no more of a part than that.
    """
    for part in archive.infolist():
        if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            return f"its {part.filename} is compressed in a way that is not that of .keras files"
    size = sum(part.file_size for part in archive.infolist())
    return _too_large("it", size, max_bytes)


def _size_of_arrays(archive, max_bytes):
    """What is wrong with the arrays of the weights, or None.

    HDF5 compresses arrays by itself, or has only their shape and one value for all.
    """
    if _WEIGHTS not in archive.namelist():
        return None if "config.json" not in archive.namelist() else f"it has no {_WEIGHTS}"
    sizes = []

    def add(name, part):
        if isinstance(part, h5py.Group):  # `visititems` passes over other links
            if any(not isinstance(part.get(n, getlink=True), h5py.HardLink) for n in part):
                raise ValueError(f"{name} in {_WEIGHTS} is in another place")
        else:
            if part.dtype.kind not in "biufV":  # "V" is how HDF5 keeps bfloat16
                raise ValueError(f"{name} in {_WEIGHTS} holds no numbers")
            if part.external or part.is_virtual:
                raise ValueError(f"{name} in {_WEIGHTS} is in another file")
            sizes.append(part.nbytes)

    with archive.open(_WEIGHTS) as file, h5py.File(file, "r") as weights:
        add("/", weights)
        weights.visititems(add)
    return _too_large(f"its {_WEIGHTS}", sum(sizes), max_bytes)


def _too_large(what, size, max_bytes):
    if size <= max_bytes:
        return None
    return f"{what} would unpack to {size} bytes, more than max_bytes={max_bytes}"


def _shapes(model):
    return [tuple(variable.shape) for variable in model.trainable_variables]


def load_latest(path: Path, like: keras.Model) -> keras.Model | None:
    """The newest usable checkpoint: the one at `path`, or else the one before it.

    A file that cannot be used is named in a warning, and renamed to a name with `unusable` in it,
    so that it never replaces a good one. Nothing is deleted.

    Args:
        path: the `path` of `Checkpoint`.
        like: a model whose class and whose trainable weights' shapes the checkpoint must have,
            frozen like what was saved.

    Returns:
        The model; None if there is no checkpoint at all.

    Raises:
        ValueError: there are checkpoints, but none can be used; none is renamed.
    """
    failures = {}
    for candidate in (pathlib.Path(path), previous(path)):
        if not candidate.exists():  # killed between two renames, or before the first checkpoint
            continue
        try:
            model = load(candidate, like)
        except ValueError as error:
            failures[candidate] = str(error)
            continue
        for unusable, reason in failures.items():
            moved = _free_name(unusable)
            unusable.rename(moved)
            warnings.warn(
                f"{reason} It is kept as {moved.name}; resuming from {candidate}.", stacklevel=2
            )
        return model
    if failures:
        raise ValueError(f"no checkpoint can be used. {' '.join(failures.values())}")
    return None


def _free_name(path):
    number = 1
    while (name := path.with_name(f"{path.stem}.unusable-{number}{path.suffix}")).exists():
        number += 1
    return name


def remove(path: Path) -> None:
    """Remove the checkpoint at `path` and the one before it, if they are there."""
    previous(path).unlink(missing_ok=True)
    pathlib.Path(path).unlink(missing_ok=True)


def metric_values(model: keras.Model) -> list[tuple[keras.Variable, ArrayLike]]:
    """The state of a model's metrics: pairs of a variable and a copy of its value."""
    return [
        (variable, keras.ops.convert_to_numpy(variable).copy())
        for metric in model.metrics
        for variable in metric.variables
    ]


def set_metric_values(values: Iterable[tuple[keras.Variable, ArrayLike]]) -> None:
    """Give metrics the state that `metric_values` returned."""
    for variable, value in values:
        variable.assign(value)
