"""Drawings as strokes of a pen."""

import numpy as np
import tensorflow as tf

from mf_keras.data.lengths import stream_of
from mf_keras.data.published import existing_file
from mf_keras.types import Path
from mf_keras.validation import one_of, positive_int, real_number

_SPLITS = {"train": "train", "validation": "valid", "test": "test"}


def strokes(
    path: Path, split: str = "train", scale: float | None = None, longest: int | None = None
) -> tf.data.Dataset:
    """Drawings in the stroke-3 format of sketch-rnn (Ha and Eck 2017, arXiv:1704.03477).

    A step is (dx, dy, lift): the move of the pen, and 1 if the pen is lifted after it. The moves
    are divided by `scale`. A third state of the pen, 2, marks the last step of a drawing, so that
    a model can end it. Drawings have unequal lengths: `padded_batches` makes batches.

        strokes = outputs.Joint({"move": GaussianMixture(2, 20), "pen": Categorical(3)})
        generator = SequenceGenerator(cell_of(strokes.size), strokes)

    Args:
        path: an .npz file with the arrays train, valid and test, each of drawings (T, 3), e.g. of
            github.com/hardmaru/sketch-rnn-datasets. It holds pickled arrays, which can run code:
            only read files that you trust.
        split: "train", "validation" or "test".
        scale: what moves are divided by; None for the standard deviation of the training split's
            moves, dx and dy together, as in sketch-rnn.
        longest: steps that a drawing may have; None for any number.

    Returns:
        A `tf.data.Dataset` of float32 sequences (T, 3), of known cardinality.

    Raises:
        TypeError: an argument has the wrong type.
        FileNotFoundError: there is no such file.
        ValueError: an unknown split, the file is none of strokes, `scale` is not above 0, or a
            drawing is longer than `longest`.
    """
    one_of("split", split, tuple(_SPLITS))
    if scale is not None and real_number("scale", scale) <= 0:
        raise ValueError(f"scale must be above 0, got {scale!r}.")
    if longest is not None:
        longest = positive_int("longest", longest)
    path = existing_file("path", path)
    found = _drawings(path, split)
    if scale is None:
        train = found if split == "train" else _drawings(path, "train")
        scale = float(np.concatenate(train)[:, :2].std())
        if scale == 0:
            raise ValueError(f"path must have drawings whose pen moves, got {str(path)!r}.")
    drawings = []
    for number, drawing in enumerate(found):
        if longest is not None and len(drawing) > longest:
            raise ValueError(
                f"longest is {longest}, but drawing {number} of {split!r} has {len(drawing)} steps."
            )
        pen = drawing[:, 2:].copy()
        pen[-1] = 2.0
        drawings.append(np.concatenate([drawing[:, :2] / np.float32(scale), pen], axis=1))
    return stream_of(drawings, "float32")


def _drawings(path, split):
    """The drawings of a split, (T, 3) of float32 each."""
    name, words = _SPLITS[split], f"path must be an .npz file of strokes, got {str(path)!r}: "
    try:
        with np.load(path, allow_pickle=True, encoding="latin1") as file:
            found = [np.asarray(drawing, "float32") for drawing in file[name]]
    except Exception as error:  # pickle may raise any
        raise ValueError(f"{words}{error}") from error
    if not found:
        raise ValueError(f"{words}{name} is empty.")
    for number, drawing in enumerate(found):
        if drawing.ndim != 2 or drawing.shape[1] != 3 or len(drawing) == 0:
            raise ValueError(f"{words}drawing {number} of {name} has shape {drawing.shape}.")
        if not np.isfinite(drawing).all() or not np.isin(drawing[:, 2], (0, 1)).all():
            raise ValueError(f"{words}drawing {number} of {name} has other values than strokes.")
    return found
