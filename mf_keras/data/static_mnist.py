"""Static binarized MNIST from TensorFlow Datasets, without any download."""

import os
import pathlib

import tensorflow as tf

from mf_keras.types import Path
from mf_keras.validation import one_of

BINARIZED_MNIST_SHAPE = (28, 28)

_SPLITS = ("train", "validation", "test")


def binarized_mnist(
    split: str = "train", data_dir: Path | None = None, manual_dir: Path | None = None
) -> tf.data.Dataset:
    """The statically binarized MNIST, 28 x 28 pixels in raster order, as binary sequences.

    50 000 sequences for training, 10 000 for validation and 10 000 for testing, always in the same
    order. Never evaluate on a prefix of a split: the published test file is sorted by class, and a
    prefix has all classes only if whoever prepared the data shuffled it.

    Nothing is downloaded. The data is read where TensorFlow Datasets has prepared it, or it is
    prepared there once (10 s) from the three published text files in `manual_dir`, whose SHA-256
    sums are checked.

    Args:
        split: "train", "validation" or "test".
        data_dir: folder that holds the prepared `binarized_mnist`, or is to hold it. None for the
            default of TensorFlow Datasets: the environment variable TFDS_DATA_DIR as it was when
            `tensorflow_datasets` was first imported, else ~/tensorflow_datasets.
        manual_dir: folder with the published text files; used only if nothing is prepared yet.

    Returns:
        A `tf.data.Dataset` of float32 sequences (784, 1) of 0 and 1, of known cardinality.

    Raises:
        TypeError: `data_dir` or `manual_dir` is no path.
        ValueError: an unknown split, or a text file that is not the published one.
        FileNotFoundError: `data_dir` does not exist, nothing is prepared and `manual_dir` is not
            given, or `manual_dir` lacks one of the files.
    """
    one_of("split", split, _SPLITS)
    data_dir = _path("data_dir", data_dir)
    manual_dir = _path("manual_dir", manual_dir)
    if data_dir is not None and not data_dir.is_dir():
        raise FileNotFoundError(f"data_dir must be an existing folder, got {str(data_dir)!r}.")
    # Slow to import, and only this data needs it.
    import tensorflow_datasets as tfds

    builder = tfds.builder("binarized_mnist", data_dir=data_dir)
    if not builder.is_prepared():
        _prepare(builder, manual_dir)
    # The cache that TFDS adds by itself warns about every `take`.
    read_config = tfds.ReadConfig(try_autocache=False)
    images = builder.as_dataset(split=split, read_config=read_config)
    return images.map(_sequence, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)


def _path(name: str, value: Path | None) -> pathlib.Path | None:
    """`value` as a `pathlib.Path`, or None."""
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path or None, got {value!r}.")
    return pathlib.Path(value).expanduser()


def _prepare(builder, manual_dir):
    """Build the data set from the text files in `manual_dir`.

    The download manager takes a file from there, by its name, instead of its URL. It would
    download a missing one, so each is looked for first.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError

    urls = {info.filename: url for url, info in sorted(builder.url_infos.items())}
    if manual_dir is None:
        raise FileNotFoundError(_how_to_get_it(builder, urls))
    missing = [name for name in urls if not (manual_dir / name).is_file()]
    if missing:
        wanted = ", ".join(f"{name} ({urls[name]})" for name in missing)
        raise FileNotFoundError(f"manual_dir {str(manual_dir)!r} lacks {wanted}.")
    config = tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config)
    except NonMatchingChecksumError as error:
        raise ValueError(
            f"manual_dir {str(manual_dir)!r} holds a file that is not the published one: {error}"
        ) from error


def _how_to_get_it(builder, urls):
    listed = "".join(f"\n    {url}" for url in urls.values())
    return (
        f"binarized_mnist is not prepared in {str(builder.data_dir)!r}. Pass the folder that holds "
        "it as data_dir=..., or set TFDS_DATA_DIR to it before tensorflow_datasets is imported; or "
        "fetch these three files into one folder and pass that as manual_dir=..., to prepare it "
        f"once:{listed}"
    )


def _sequence(example):
    """The image of an example, (28, 28, 1) uint8 of 0 and 1, in raster order: (784, 1)."""
    return tf.cast(tf.reshape(example["image"], (784, 1)), tf.float32)
