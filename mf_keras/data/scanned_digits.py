"""Small scanned digits, which come with scikit-learn and need no download."""

from typing import Any

import keras
import numpy as np

from mf_keras.data.streams import Stream
from mf_keras.validation import boolean, one_of

DIGITS_SHAPE = (8, 8)

_SPLITS = {"train": slice(0, 1397), "validation": slice(1397, 1597), "test": slice(1597, 1797)}
_CLASSES = 10
_HALF_INTENSITY = 8  # grey levels run from 0 to 16


def digits(split: str = "train", labels: bool = False, contexts: bool = False) -> Any:
    """Real scanned digits, 8 x 8 pixels in raster order, as binary sequences.

    The 1797 images of `sklearn.datasets.load_digits`, a pixel set where its intensity is at least
    half of the highest. They are shuffled once, by `numpy.random.default_rng(0).permutation`, and
    cut into 1397 for training, 200 for validation and 200 for testing: every call gives the same
    sequences in the same order.

    Args:
        split: "train", "validation" or "test".
        labels: give pairs of a sequence and its class, an int64 in [0, 10), instead of sequences.
            A generator is trained on sequences only.
        contexts: give dicts {"sequence": (64, 1), "context": (10,)} instead, the class as a one-hot
            vector of float32, for a generator of `context_size=10`.

    Returns:
        A `tf.data.Dataset` of float32 sequences (64, 1) of 0 and 1, of known cardinality; on JAX a
        `Stream` of NumPy arrays, the same.

    Raises:
        TypeError: `labels` or `contexts` is no bool.
        ValueError: an unknown split, or both labels and contexts are wanted.
    """
    one_of("split", split, tuple(_SPLITS))
    if boolean("contexts", contexts) and boolean("labels", labels):
        raise ValueError("labels must be False where contexts is True, got True for both.")
    boolean("labels", labels)
    # Importing scikit-learn takes a second that users of the other data need not wait for.
    from sklearn.datasets import load_digits

    found = load_digits()
    chosen = np.random.default_rng(0).permutation(len(found.data))[_SPLITS[split]]
    pixels = (found.data[chosen] >= _HALF_INTENSITY).astype("float32")[..., np.newaxis]
    classes = found.target[chosen].astype("int64")
    if contexts:
        one_hot = np.eye(_CLASSES, dtype="float32")[classes]
        return _stream({"sequence": pixels, "context": one_hot})
    return _stream((pixels, classes) if labels else pixels)


def _stream(arrays):
    if keras.backend.backend() != "tensorflow":
        count = len(keras.tree.flatten(arrays)[0])
        return Stream(lambda _: arrays, count, length=count)
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays)
