"""Atomic file writes: to a temporary file, which is synchronised, then renamed."""

import contextlib
import errno
import os
import pathlib
import re
import uuid
from collections.abc import Iterator

from mf_keras.types import Path

# The names of `atomic_write`'s temporary files: a version-4 UUID before the file's own name.
_TEMPORARY = re.compile(r"\.[0-9a-f]{12}4[0-9a-f]{19}\..+")
_HEAD = 1000  # bytes at the beginning of a file, which contain its mark
# What file systems and systems say that cannot synchronise a folder (SMB, FUSE, Windows).
_NOT_FOR_FOLDERS = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF}
_NOT_FOR_FOLDERS |= {errno.EISDIR, errno.ENOSYS}


class NotWrittenError(OSError):
    """A file could not be written, for lack of space or of rights; the old one is unchanged."""


@contextlib.contextmanager
def atomic_write(path: Path, keep_as: Path | None = None) -> Iterator[pathlib.Path]:
    """A context that gives a temporary path beside `path`; the file written there replaces `path`.

    The new file is synchronised to the disk before it is renamed. A reader of `path` sees the
    complete old file or the complete new one, even after a crash. If anything fails, the temporary
    file is removed. The folder is synchronised too, where its file system can do that; elsewhere
    the old file may come back after a power failure.

    Args:
        path: the file to write; its folder must exist.
        keep_as: a path that an old file is moved to instead of being lost. Between the two renames
            only this file exists.

    Raises:
        NotWrittenError: writing failed with an OSError.
    """
    path = pathlib.Path(path)
    temporary = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        with naming(path):
            yield temporary
            _synchronise(temporary)
            if keep_as is not None and path.exists():
                # Another worker that saves as well may have moved it since.
                with contextlib.suppress(FileNotFoundError):
                    os.replace(path, keep_as)
            os.replace(temporary, path)
            _synchronise_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError, which often names no file, into one that says what was not written.

    Raises:
        NotWrittenError: instead of another OSError.
    """
    try:
        yield
    except NotWrittenError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotWrittenError(f"{path} could not be written: {reason}.") from error


def _synchronise(path, flags=os.O_RDWR):  # some systems refuse a descriptor that only reads
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _synchronise_folder(path):
    try:
        _synchronise(path, os.O_RDONLY)
    except OSError as error:  # the file itself is complete, and on the disk
        if error.errno not in _NOT_FOR_FOLDERS:
            raise


def remove_left_over(folder: Path) -> list[str]:
    """Remove the temporary files of processes that were killed while they wrote.

    Only for a folder that no other process is writing to. No other file is changed.

    Returns:
        The names of the removed files.
    """
    found = [
        path
        for path in pathlib.Path(folder).glob(".*")
        if _TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    ]
    for path in found:
        path.unlink()
    return sorted(path.name for path in found)


def check_ours(path: Path, mark: bytes) -> None:
    """Refuse to replace a file that this program did not write.

    Args:
        path: a file that will be written.
        mark: bytes at the beginning of every file of this kind that the program writes.

    Raises:
        FileExistsError: `path` is a file without the mark, or a folder.
        NotADirectoryError: one of the folders above it is a file.
    """
    path = pathlib.Path(path)
    for parent in path.parents:
        if parent.exists() and not parent.is_dir():
            raise NotADirectoryError(f"{parent} is a file, so {path} cannot be written.")
    if not path.exists() and not path.is_symlink():
        return
    if path.is_file():
        with path.open("rb") as file:
            if mark in file.read(_HEAD):
                return
    raise FileExistsError(
        f"{path} already exists and was not written by this program; remove it or choose another "
        "path."
    )
