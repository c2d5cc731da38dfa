"""Published files: from a folder, or fetched once, and always checked by their SHA-256."""

import hashlib
import os
import pathlib

import keras

from mf_keras.types import Path


def published_file(
    name: str, url: str, sha256: str, folder: Path | None, argument: str = "folder"
) -> pathlib.Path:
    """The path of a published file.

    Args:
        name: of the file.
        url: where it is published.
        sha256: of its contents, in hexadecimal digits.
        folder: where it lies; None to fetch it once, into ~/.keras/mf_keras (or KERAS_HOME).
        argument: the name of the user's argument, for errors.

    Raises:
        TypeError: `folder` is no path.
        FileNotFoundError: `folder` lacks it, or it could not be fetched.
        ValueError: the file in `folder` is another one.
    """
    if folder is None:
        return _fetched(name, url, sha256, argument)
    path = checked_path(argument, folder) / name
    if not path.is_file():
        raise FileNotFoundError(
            f"{argument} {str(folder)!r} has no file {name}. It is published at {url} (SHA-256 "
            f"{sha256}); leave {argument} out to fetch it."
        )
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{argument} {str(folder)!r} must have the published {name}, of SHA-256 {sha256}, "
            f"got a file of {found}."
        )
    return path


def checked_path(name: str, value: Path) -> pathlib.Path:
    """`value` as a `pathlib.Path`, ~ expanded.

    Raises:
        TypeError: it is no path.
    """
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r}.")
    return pathlib.Path(value).expanduser()


def existing_file(name: str, value: Path) -> pathlib.Path:
    """`value` as the path of a file that exists.

    Raises:
        TypeError: it is no path.
        FileNotFoundError: there is no such file.
    """
    path = checked_path(name, value)
    if not path.is_file():
        raise FileNotFoundError(f"{name} must be an existing file, got {str(value)!r}.")
    return path


def _fetched(name, url, sha256, argument):
    try:
        path = keras.utils.get_file(
            name, url, cache_subdir="mf_keras", file_hash=sha256, hash_algorithm="sha256"
        )
    except Exception as error:  # of the network, of the file system, or another SHA-256
        raise FileNotFoundError(
            f"{name} could not be fetched from {url}: {error} Fetch it there, or a copy of SHA-256 "
            f"{sha256} elsewhere, and pass where it lies as {argument}=..."
        ) from error
    return pathlib.Path(path)
