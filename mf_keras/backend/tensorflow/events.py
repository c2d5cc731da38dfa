"""Event files for TensorBoard: scalars, pictures and text, without the tensorboard package."""

from collections.abc import Mapping

import tensorflow as tf
from tensorflow.core.framework.summary_pb2 import SummaryMetadata

from mf_keras.types import Path


class EventFile:
    """Writes what TensorBoard shows as Scalars, Images and Text.

    `tf.summary.scalar`, `image` and `text` are part of the tensorboard package, which TensorFlow
    no longer installs; the format of the files is TensorFlow's own.

    Args:
        folder: TensorBoard's log folder; created if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.writer = tf.summary.create_file_writer(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write a dict of numbers."""
        metadata = _metadata("scalars")
        with self.writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.write(name, tf.constant(float(value)), metadata=metadata)
        self.writer.flush()

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Write what a PNG file holds."""
        height, width, _ = tf.io.decode_png(png).shape
        # The format of an image summary: width and height as text, then the encoded pictures.
        content = tf.constant([str(width), str(height), png])
        with self.writer.as_default(step=step):
            tf.summary.write(name, content, metadata=_metadata("images"))
        self.writer.flush()

    def text(self, name: str, text: str, step: int) -> None:
        """Write Markdown, of which TensorBoard shows no scripts."""
        with self.writer.as_default(step=step):
            tf.summary.write(name, tf.constant(text), metadata=_metadata("text"))
        self.writer.flush()


def _metadata(plugin):
    kind = {
        "scalars": 1,  # DATA_CLASS_SCALAR
        "images": 3,  # DATA_CLASS_BLOB_SEQUENCE
        "text": 2,  # DATA_CLASS_TENSOR
    }[plugin]
    return SummaryMetadata(
        plugin_data=SummaryMetadata.PluginData(plugin_name=plugin), data_class=kind
    )
