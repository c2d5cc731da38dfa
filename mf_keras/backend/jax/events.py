"""Event files for TensorBoard, which TensorFlow writes."""

from collections.abc import Mapping

from mf_keras.backend.jax.primitives import needs_tensorflow
from mf_keras.types import Path


class EventFile:
    """Refuses to be made: event files are written by TensorFlow.

    Raises:
        ImportError: always.
    """

    def __init__(self, folder: Path) -> None:
        needs_tensorflow(
            f"Writing event files to {folder}",
            "Leave tensorboard out; the pictures and keras.callbacks.CSVLogger have the same.",
        )

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Never called."""

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Never called."""

    def text(self, name: str, text: str, step: int) -> None:
        """Never called."""
