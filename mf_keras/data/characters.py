"""Tiny Shakespeare as characters."""

import tensorflow as tf

from mf_keras.data.published import checked_path, published_file
from mf_keras.data.vocabulary import Vocabulary
from mf_keras.types import Path
from mf_keras.validation import one_of, positive_int

SHAKESPEARE = Vocabulary("\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")

_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
_SPLITS = ("train", "validation", "test")


def characters(
    split: str = "train", length: int = 100, data_dir: Path | None = None
) -> tf.data.Dataset:
    """Tiny Shakespeare (Karpathy 2015, char-rnn), cut into pieces of equal length.

    1 115 394 characters of 65 kinds, 90 % for training and 5 % each for validation and testing, cut
    as by TensorFlow Datasets, which is read where it has prepared them. Pieces follow each other
    without overlap; the characters after the last whole piece of a split, fewer than `length`, are
    left out.

        text = SHAKESPEARE.decode(piece)

    Args:
        split: "train", "validation" or "test".
        length: characters of a piece.
        data_dir: folder that holds the prepared `tiny_shakespeare` of TensorFlow Datasets, or the
            published input.txt. None for the default of TensorFlow Datasets, and where it is not
            prepared there, to fetch the text once from github.com.

    Returns:
        A `tf.data.Dataset` of int32 sequences (length,) of classes of `SHAKESPEARE`, of known
        cardinality.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an unknown split, `length` is below 1 or more than the split has, or another
            text than the published one.
        FileNotFoundError: `data_dir` does not exist or has no text, or it could not be fetched.
    """
    one_of("split", split, _SPLITS)
    length = positive_int("length", length)
    text = _text(split, data_dir)
    count = len(text) // length
    if count == 0:
        raise ValueError(
            f"length must be at most the {len(text)} characters of {split!r}, got {length}."
        )
    pieces = SHAKESPEARE.encode(text[: count * length]).reshape(count, length)
    return tf.data.Dataset.from_tensor_slices(pieces)


def _text(split, data_dir):
    folder = None if data_dir is None else checked_path("data_dir", data_dir)
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"data_dir must be an existing folder, got {str(data_dir)!r}.")
    import tensorflow_datasets as tfds  # slow to import, and only this data needs it

    builder = tfds.builder("tiny_shakespeare", data_dir=folder)
    if builder.is_prepared():
        read_config = tfds.ReadConfig(try_autocache=False)
        (example,) = builder.as_dataset(split=split, read_config=read_config).as_numpy_iterator()
        return example["text"].decode()
    # Not by TFDS, which tries for minutes where there is no network.
    path = published_file("input.txt", _URL, _SHA256, folder, argument="data_dir")
    return _cut(path.read_text(encoding="utf-8"))[split]


def _cut(text):
    """The splits of TensorFlow Datasets: 90, 5 and 5 %."""
    train = int(0.9 * len(text))
    validation = train + int(0.5 * (len(text) - train))
    ends = {"train": (0, train), "validation": (train, validation), "test": (validation, None)}
    return {split: text[start:end] for split, (start, end) in ends.items()}
