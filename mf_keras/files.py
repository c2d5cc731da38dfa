"""Files that are whole at every moment: written aside, synchronised, renamed."""

import contextlib
import os
import pathlib
import re
import uuid
from collections.abc import Iterator

from mf_keras.types import Path

# What `aside` writes to: a version-4 UUID, the one kind that it makes, before the file's own name.
_ASIDE = re.compile(r"\.[0-9a-f]{12}4[0-9a-f]{19}\..+")
_HEAD = 1000  # bytes at the beginning of a file, where its mark stands


class NotWrittenError(OSError):
    """A file could not be written, for want of space or of rights; the old one is untouched."""


@contextlib.contextmanager
def aside(path: Path, keep_as: Path | None = None) -> Iterator[pathlib.Path]:
    """A temporary path beside `path`; the file that is written there takes the place of `path`.

    The new file is on the disk before it is renamed, so whoever reads `path`, even after a crash,
    sees the old file or the new one, whole. If anything goes wrong the temporary file is removed.

    Args:
        path: where the file shall stand; its folder must exist.
        keep_as: a path that the old file, if there is one, is moved to, in place of being lost.
            Between the two renames only this one is there.

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
            _synchronise(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turn an OSError, which often names no file, into one that says what was not written.

    Raises:
        NotWrittenError: in place of another OSError.
    """
    try:
        yield
    except NotWrittenError:
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        raise NotWrittenError(f"{path} could not be written: {reason}.") from error


def _synchronise(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_left_over(folder: Path) -> list[str]:
    """Remove the temporary files of processes that were killed while they wrote.

    Only for a folder that no other process is writing to. Nothing else is touched.

    Returns:
        The names of the removed files.
    """
    found = [
        path
        for path in pathlib.Path(folder).glob(".*")
        if _ASIDE.fullmatch(path.name) and path.is_file() and not path.is_symlink()
    ]
    for path in found:
        path.unlink()
    return sorted(path.name for path in found)


def check_ours(path: Path, mark: bytes) -> None:
    """Refuse to replace a file that was not written by this program.

    Args:
        path: a file that will be written.
        mark: bytes at the beginning of every file of this kind that the program writes.

    Raises:
        FileExistsError: a file without the mark, or a folder, stands there.
        NotADirectoryError: its folder would have to be where there is a file.
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
        f"{path} is there already and is not of this program's making; remove it or give another "
        "place."
    )
