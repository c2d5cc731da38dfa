"""Handwritten characters, from TensorFlow Datasets: episodes of one-shot classification, images."""

import functools
import math
import os
import pathlib

import numpy as np
import tensorflow as tf

from mf_keras import backend
from mf_keras.data.algorithmic import _endless, _fold, _seed
from mf_keras.types import Path
from mf_keras.validation import boolean, one_of, positive_int

_SPLITS = {"train": slice(0, 1200), "test": slice(1200, 1623)}
_CHARACTERS, _DRAWERS, _PIXELS = 1623, 20, 105
_LARGEST_IMAGE = _PIXELS // 2
_LETTERS = 5  # of a string, and in the alphabet of strings
_LARGEST_ANGLE = math.pi / 16
_LARGEST_SHIFT = 10 / _PIXELS  # of the side of an image
_LABELS = ("classes", "strings")


def omniglot_episodes(
    split: str = "train",
    classes: int = 5,
    shots: int = 10,
    image_size: int = 20,
    labels: str = "classes",
    augment: bool = True,
    seed: int = 0,
    data_dir: Path | None = None,
) -> tf.data.Dataset:
    """Classify characters of a few new classes, given each label one step late.

    The task of Santoro et al. 2016 (arXiv:1605.06065, sections 2 and 4.1) on Omniglot (Lake et al.
    2015): 1623 characters of 50 alphabets, each drawn by 20 people. An episode has random classes
    with random labels, `shots` images of each in random order, T = classes x shots:

        inputs (T, image_size^2 + classes): the image x_t, and the one-hot label y_{t-1}; 0 at first
        targets (T,): the label y_t, an int32 in 0..classes - 1
        sample_weight (T,): 1

    The characters are shuffled once, by `numpy.random.default_rng(0).permutation`: 1200 for
    training and 423 for testing, as many as in the paper, which does not say which ones. Images are
    inverted, so that strokes are 1 and paper is 0, and each has the maximum 1. They are turned and
    moved at twice their size, then halved by means of 2 x 2 pixels.

    Nothing is downloaded. The images are read where TensorFlow Datasets has prepared them. That
    takes some 20 s, once a process and size.

    Args:
        split: "train" or "test", whose classes are others.
        classes: number of classes in an episode.
        shots: images of each class, at most 20, all by different people.
        image_size: side of an image in pixels, at most 52; the paper has 20.
        labels: "classes", or "strings" for the paper's five-letter strings: a class has five random
            letters of an alphabet of five. The inputs then end in the 25 numbers of five one-hot
            letters, and the targets are (T, 25) of 0 and 1, for `outputs.Bernoulli(25)`.
        augment: each class of an episode is turned by 0, 90, 180 or 270 degrees, which makes new
            classes, and each image by up to 11.25 degrees (pi / 16), and moved by up to 10 of its
            105 pixels, up or down and to the side.
        seed: the same seed gives the same stream, in every iteration.
        data_dir: folder that holds the prepared `omniglot`; None for the default of TensorFlow
            Datasets: the environment variable TFDS_DATA_DIR as it was when `tensorflow_datasets`
            was first imported, else ~/tensorflow_datasets.

    Returns:
        An endless `tf.data.Dataset` of triples (inputs, targets, sample_weight), unbatched; all but
        targets of classes are float32.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an unknown split or kind of label, more classes than the split has, fewer than
            2, more shots than people, a size out of range, or `seed` outside [0, 2^63).
        FileNotFoundError: `data_dir` does not exist, or Omniglot is not prepared there.
        ImportError: Keras does not run on TensorFlow.
    """
    backend.needs_tensorflow("data.omniglot_episodes", "Keep its episodes as NumPy arrays there.")
    one_of("split", split, tuple(_SPLITS))
    chosen = np.random.default_rng(0).permutation(_CHARACTERS)[_SPLITS[split]]
    classes = positive_int("classes", classes, minimum=2, maximum=len(chosen))
    shots = positive_int("shots", shots, maximum=_DRAWERS)
    image_size = positive_int("image_size", image_size, maximum=_LARGEST_IMAGE)
    one_of("labels", labels, _LABELS)
    augment, seed = boolean("augment", augment), _seed(seed)
    images = _characters(_folder(data_dir), 2 * image_size)[chosen]
    return _episodes(images, classes, shots, labels == "strings", augment, seed)


def binarized_omniglot(
    split: str = "train", image_size: int = 28, data_dir: Path | None = None
) -> tf.data.Dataset:
    """The characters of Omniglot as binary images, in raster order, like `binarized_mnist`.

    The characters of a split are those of `omniglot_episodes`, so that those for testing are
    others: 24 000 images for training and 8460 for testing, always in the same order, that of the
    characters. Strokes are 1: a pixel of the small image is, if they cover half of it.

    Nothing is downloaded. The images are read where TensorFlow Datasets has prepared them. That
    takes some 20 s, once a process and size.

    Args:
        split: "train" or "test".
        image_size: side of an image in pixels, at most 105.
        data_dir: as for `omniglot_episodes`.

    Returns:
        A `tf.data.Dataset` of float32 sequences (image_size^2, 1) of 0 and 1, of known cardinality.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an unknown split, or a size out of range.
        FileNotFoundError: `data_dir` does not exist, or Omniglot is not prepared there.
    """
    one_of("split", split, tuple(_SPLITS))
    image_size = positive_int("image_size", image_size, maximum=_PIXELS)
    chosen = np.random.default_rng(0).permutation(_CHARACTERS)[_SPLITS[split]]
    images = _characters(_folder(data_dir), image_size)[chosen]
    images = (images >= 128).astype("uint8").reshape(-1, image_size**2, 1)
    return tf.data.Dataset.from_tensor_slices(images).map(lambda x: tf.cast(x, tf.float32))


def _folder(value: Path | None) -> pathlib.Path | None:
    """`data_dir`, an existing folder or None."""
    if value is None:
        return None
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"data_dir must be a path or None, got {value!r}.")
    folder = pathlib.Path(value).expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"data_dir must be an existing folder, got {str(folder)!r}.")
    return folder


@functools.lru_cache(maxsize=2)
def _characters(data_dir: pathlib.Path | None, size: int) -> np.ndarray:
    """All images, inverted: (1623, 20, size, size) of uint8, 255 for a stroke."""
    # Slow to import, and only this data and MNIST need it.
    import tensorflow_datasets as tfds

    builder = tfds.builder("omniglot", data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"omniglot is not prepared in {str(builder.data_dir)!r}. Pass the folder that holds it "
            "as data_dir=..., or set TFDS_DATA_DIR to it before tensorflow_datasets is imported; "
            "or prepare it once, which downloads 18 MB: "
            'tensorflow_datasets.builder("omniglot").download_and_prepare()'
        )

    def small(example):
        image = tf.cast(example["image"][..., :1], tf.float32)
        image = tf.image.resize(image, (size, size), method="area")
        return tf.cast(tf.round(255.0 - image[..., 0]), tf.uint8), example["label"]

    images = np.zeros((_CHARACTERS, _DRAWERS, size, size), "uint8")
    found = np.zeros(_CHARACTERS, int)
    read_config = tfds.ReadConfig(try_autocache=False)
    for split in ("train", "test"):  # published as those of other alphabets
        stream = builder.as_dataset(split=split, read_config=read_config)
        stream = stream.map(small, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        for few, labels in stream.batch(256).as_numpy_iterator():
            for image, label in zip(few, labels, strict=True):
                images[label, found[label]] = image
                found[label] += 1
    return images


def _episodes(images, classes, shots, strings, augment, seed):
    """The stream, from images (characters, drawers, S, S) of uint8 with an even S."""
    characters, drawers, size, _ = images.shape
    images = tf.constant(images.reshape(characters * drawers, size, size))
    steps, width = classes * shots, _LETTERS**2 if strings else classes

    def examples(key, count):
        def uniform(number, *shape):
            return tf.random.stateless_uniform((count, *shape), _fold(key, number), alg="philox")

        # The order in which the classes are drawn is random, and so are their labels.
        _, chosen = tf.math.top_k(uniform(0, characters), classes)  # (count, classes)
        _, people = tf.math.top_k(uniform(1, classes, drawers), shots)  # (count, classes, shots)
        places = tf.reshape(chosen[..., None] * drawers + people, (count, steps))
        order = tf.argsort(uniform(2, steps), axis=-1)
        label = order // shots  # (count, T)
        pixels = tf.gather(images, tf.gather(places, order, batch_dims=1))
        pixels = tf.cast(tf.reshape(pixels, (count * steps, size, size)), tf.float32)
        if augment:
            quarters = tf.floor(4.0 * uniform(3, classes))
            jitter = 2.0 * uniform(4, steps, 3) - 1.0
            angles = 0.5 * math.pi * tf.gather(quarters, label, batch_dims=1)
            angles += _LARGEST_ANGLE * jitter[..., 0]
            shifts = _LARGEST_SHIFT * size * jitter[..., 1:]
            pixels = _moved(pixels, tf.reshape(angles, (-1,)), tf.reshape(shifts, (-1, 2)))
        pixels = tf.reshape(_halved(pixels), (count, steps, size * size // 4))

        names = tf.one_hot(label, classes)
        if strings:
            letters = tf.cast(tf.floor(_LETTERS * uniform(5, classes, _LETTERS)), tf.int32)
            letters = tf.reshape(tf.one_hot(letters, _LETTERS), (count, classes, width))
            names = tf.gather(letters, label, batch_dims=1)
        late = tf.pad(names[:, :-1], [[0, 0], [1, 0], [0, 0]])
        targets = names if strings else label
        return tf.concat([pixels, late], axis=-1), targets, tf.ones((count, steps))

    return _endless(examples, seed, example_size=steps * (size * size // 4 + width))


def _moved(images, angles, shifts):
    """Images (n, S, S), turned counterclockwise by angles (n,), then moved by (down, right)."""
    middle = 0.5 * (images.shape[1] - 1)
    cos, sin = tf.cos(angles), tf.sin(angles)
    # Of the pixel (x, y) of the result: where it comes from, c (x, y) + d.
    down, right = middle + shifts[:, 0], middle + shifts[:, 1]
    zero = tf.zeros_like(cos)
    places = [cos, -sin, middle - cos * right + sin * down]
    places += [sin, cos, middle - sin * right - cos * down, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images[..., None],
        transforms=tf.stack(places, axis=-1),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )[..., 0]


def _halved(images):
    """Images (n, S, S) as (n, S / 2, S / 2) of the maximum 1; blank ones stay blank."""
    small = tf.nn.avg_pool2d(images[..., None], 2, 2, "VALID")[..., 0]
    return small / tf.maximum(tf.reduce_max(small, axis=(1, 2), keepdims=True), 1e-6)
