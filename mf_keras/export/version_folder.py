"""A version of a model on disk, ROOT/NAME/VERSION, written atomically."""

import contextlib
import os
import pathlib
import re
import shutil
import uuid
from collections.abc import Iterator

from mf_keras.types import Path

MODELS = """\
# What tensorflow_model_server serves; for its --model_config_file.
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""
MAX_BATCH_SIZE = re.compile(r"^\s*max_batch_size\s*\{\s*value\s*:\s*(\d+)", re.MULTILINE)
BATCHING = """\
# How tensorflow_model_server joins requests to batches; for its --batching_parameters_file. Rows
# do not see each other, but a bad request fails those that it is joined with. A request of more
# rows than max_batch_size is refused, as the model refuses more than its max_rows. Requests to
# `complete` whose prefixes differ in length cannot be joined: where two meet, the server answers
# FAILED_PRECONDITION. Serve without batching where that matters. Never set
# pad_variable_length_inputs, which would lengthen prefixes.
max_batch_size {{ value: {max_rows} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 64 }}
num_batch_threads {{ value: 2 }}
"""


class VersionFolder:
    """The folder of one version, and the configuration beside it.

    Args:
        path: ROOT/NAME/VERSION.

    Raises:
        TypeError: `path` is no path.
        ValueError: it does not end in a name and a version number.
    """

    def __init__(self, path: Path) -> None:
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"filepath must be a path, got {path!r}.")
        self.path = pathlib.Path(os.path.abspath(path))
        self.name = self.path.parent.name
        # TF Serving serves folders whose names are numbers, and reads 01 and 1 as the same.
        if not re.fullmatch(r"[1-9][0-9]{0,17}", self.path.name):
            raise ValueError(
                "filepath must end in a version number, such as saved_models/digits/1, "
                f"got {str(path)!r}."
            )
        if not re.fullmatch(r"[A-Za-z0-9._-]+", self.name):
            raise ValueError(
                "filepath must have a model's name of letters, digits, '.', '_' and '-' before the "
                f"version, such as saved_models/digits/1, got {str(path)!r}."
            )

    def check_free(self, overwrite: bool) -> None:
        """Refuse to replace what is there.

        Raises:
            FileExistsError: the version exists and `overwrite` is False, or the path is that of a
                file, or of a folder of something else.
        """
        if not self.path.exists():
            return
        if not overwrite:
            raise FileExistsError(
                f"{self.path} already exists; give overwrite=True to replace it, or a new "
                "version, which a running server picks up by itself."
            )
        if not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file, not a version of a model.")
        if any(self.path.iterdir()) and not (self.path / "saved_model.pb").is_file():
            raise FileExistsError(
                f"{self.path} holds something else than a version of a model; it is not replaced."
            )

    @contextlib.contextmanager
    def write(self, overwrite: bool) -> Iterator[pathlib.Path]:
        """A context that gives a folder to write to, which becomes the version if nothing fails.

        It is beside the version, under a name that is no number, which a server ignores.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}-{uuid.uuid4().hex}")
        try:
            yield temporary
            self.check_free(overwrite)
            self._put_in_place(temporary)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _put_in_place(self, temporary):
        """Rename; an old version, which a rename cannot replace, is renamed first."""
        old = temporary.with_name(f"{temporary.name}-old")
        replaced = self.path.exists()
        if replaced:
            os.rename(self.path, old)
        try:
            os.rename(temporary, self.path)
        except OSError:
            if replaced:
                os.rename(old, self.path)
            raise
        shutil.rmtree(old, ignore_errors=True)

    def check_batching(self, max_rows: int) -> None:
        """Refuse a `batching.config` that lets a server join more rows than the model takes.

        Raises:
            ValueError: it does.
        """
        path = self._config("batching")
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = MAX_BATCH_SIZE.search(text)
        if found and int(found[1]) > max_rows:
            raise ValueError(
                f"max_rows must be at least the max_batch_size of {path}, {found[1]}, "
                f"got {max_rows}."
            )

    def write_configs(self, max_rows: int) -> None:
        """Write models.config and batching.config beside the versions, unless they exist."""
        texts = {
            "models": MODELS.format(name=self.name),
            "batching": BATCHING.format(max_rows=max_rows),
        }
        for name, text in texts.items():
            path = self._config(name)
            if not path.exists():
                temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
                temporary.write_text(text, encoding="utf-8")
                os.replace(temporary, path)

    def _config(self, name):
        return self.path.with_name(f"{name}.config")
