"""ImageSetModel: what models of sets of images share; their data are checked, runs can resume."""

import functools
import inspect
import types
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import datasets
from mf_keras.models.streams import checked_stream
from mf_keras.states import KeepsStates, random_states
from mf_keras.types import ArrayLike, Config, Function, Shape, Tensor

_PIXELS = "pixels in [0, 1]"
# Where the draws of an evaluation begin. A training does not get there; on TensorFlow Keras takes
# numbers of draws modulo 2^31 - 2.
_EVALUATION = 2**30


def checked(method: Function) -> Function:
    """A method of `keras.Model` that takes sets of images, on checked data.

    Arrays are checked before anything else is done; streams as they come, their shapes at once
    where they are known. The model has `check_data(name, x)` and `_callbacks_of(given, fits)`.

    Args:
        method: `keras.Model.fit`, `evaluate`, `predict`, or one of those of one batch.
    """
    signature = inspect.signature(method)

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        given = bound.arguments
        validation.counts(given)
        if "callbacks" in signature.parameters:
            fits = method.__name__ == "fit"
            given["callbacks"] = self._callbacks_of(given.get("callbacks"), fits)
        for name in ("y", "sample_weight", "class_weight"):
            if given.get(name) is not None:
                raise ValueError(f"{name} must not be given: sets of images come alone.")
        given["x"] = self.check_data("x", given.get("x"))
        if given.get("validation_data") is not None:
            data = _alone("validation_data", given["validation_data"])
            given["validation_data"] = self.check_data("validation_data", data)
            if hasattr(data, "shape"):  # Keras takes arrays in a tuple only
                given["validation_data"] = (data,)
        drawn = datasets.is_dataset(given["x"]) or isinstance(given["x"], types.GeneratorType)
        if drawn and "shuffle" in signature.parameters:
            given.setdefault("shuffle", False)  # Keras' default only makes it warn
        with backend.keeping_values(self):
            return method(*bound.args, **bound.kwargs)

    return run


def on_fixed_draws(method: Function) -> Function:
    """A method that draws the same numbers every time, and leaves those of the training alone."""

    @functools.wraps(method)
    def run(self, *args, **kwargs):
        generator = self.trained().seed_generator
        state = ops.convert_to_numpy(generator.state).copy()
        generator.state.assign(np.array([state[0], _EVALUATION], state.dtype))
        try:
            return method(self, *args, **kwargs)
        finally:
            generator.state.assign(state)

    return run


class TrainsOnImageSets(KeepsStates, keras.Model):
    """A Keras model whose data are sets of images, and whose training can be resumed: a base class.

    What `fit`, `evaluate` and `predict` are given is checked. `evaluate` draws the same numbers
    every time. A saved model holds its random states and logs, so that a training is resumed to the
    same numbers. A subclass gives `trained`, `check_data` and `states`.
    """

    def trained(self) -> Any:
        """The model whose weights are trained; it has the `seed_generator` of the draws."""
        return self

    fit = checked(keras.Model.fit)
    evaluate = on_fixed_draws(checked(keras.Model.evaluate))
    predict = checked(keras.Model.predict)
    train_on_batch = checked(keras.Model.train_on_batch)
    test_on_batch = checked(keras.Model.test_on_batch)
    predict_on_batch = checked(keras.Model.predict_on_batch)

    def check_data(self, name: str, x: Any) -> Any:
        """x, which holds sets of images, or a stream that is checked as it is drawn."""
        raise NotImplementedError

    def _callbacks_of(self, given: Any, fits: bool) -> Any:
        """The callbacks of `fit` (`fits`) or another method, as Keras takes them.

        Raises:
            TypeError: one is no callback of Keras.
        """
        for callback in given if isinstance(given, (list, tuple)) else [given]:
            known = keras.callbacks.Callback, keras.callbacks.CallbackList, type(None)
            if not isinstance(callback, known):
                raise TypeError(f"callbacks must be Keras callbacks, got {callback!r}.")
        return given


class ImageSetModel(TrainsOnImageSets):
    """A Keras model of sets of T images with an encoder and a decoder: a base class.

    A subclass gives `call(x, training)`, whose dict of losses (B,), nats per image, has `bound` and
    all other names of `logs`. Its training minimises `objective`.

    Args:
        encoder: a Keras model from images (n, ...) to `encoded` numbers (n, encoded).
        decoder: a Keras model from codes (n, code_size) to logits of images (n, ...).
        code_size: C, length of a code.
        encoded: what the encoder gives of an image; None for C numbers.
        seed: of the draws.
        logs: names of the losses.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `code_size` is below 1.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        code_size: int,
        encoded: int | None = None,
        seed: int = 0,
        logs: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        for name, part in (("encoder", encoder), ("decoder", decoder)):
            if not isinstance(part, keras.Model):
                raise TypeError(f"{name} must be a Keras model, got {part!r}.")
        code_size = validation.positive_int("code_size", code_size)
        seed = validation.seed("seed", seed)
        super().__init__(**kwargs)
        self.encoder, self.decoder = encoder, decoder
        self.code_size = code_size
        self._encoded = code_size if encoded is None else encoded
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._means = {name: keras.metrics.Mean(name) for name in logs}

    def build(self, input_shape: Shape) -> None:
        """Build encoder and decoder for sets of shape (B, T, ...)."""
        if not self.encoder.built:
            self.encoder.build((None, *input_shape[2:]))
        if not self.decoder.built:
            self.decoder.build((None, self.code_size))
        self.image_shape: tuple[Any, ...] = tuple(input_shape[2:])
        self.built = True

    # Training, under Keras' own `fit`.

    def objective(self, losses: Mapping[str, Tensor]) -> Tensor:
        """What is minimised, (B,), of the losses that `call` gives."""
        return losses["bound"]

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        """The mean loss of a batch; updates the logs."""
        self.track(y_pred)
        loss = ops.mean(self.objective(y_pred))
        return loss + sum(self.losses, ops.zeros_like(loss))

    def track(self, losses: Mapping[str, Tensor]) -> None:
        """Update the logs by the losses of a batch."""
        for name, mean in self._means.items():
            mean.update_state(losses[name])

    @property
    def trained_steps(self) -> int:
        """Training steps so far."""
        return int(self.optimizer.iterations.numpy()) if self.compiled else 0

    # Data.

    def check_data(self, name: str, x: Any) -> Any:
        """x, an array that is checked now, or a stream that is checked as it is drawn.

        Raises:
            TypeError: x is nothing that holds numbers, such as a list.
            ValueError: it is None, comes with targets, its shape does not fit, or a pixel of an
                array is outside of [0, 1].
        """
        if x is None:
            raise ValueError(f"{name} must be given, got None.")
        if datasets.is_distributed(x):
            raise TypeError(f"{name} must not be the dataset of a strategy, got {x!r}.")
        if datasets.is_dataset(x):
            self._check_shape(f"a batch of {name}", _alone(name, datasets.spec_of(name, x)))
            words = f"{name} must hold only {_PIXELS}, got other values"
            return datasets.with_checks(
                x, lambda parts, _: [(_are_pixels(parts[0]), words, parts[0])]
            )

        def check(batch):
            self._check_array(f"a batch of {name}", _alone(name, batch))
            return batch

        if isinstance(x, (types.GeneratorType, keras.utils.PyDataset)):
            return checked_stream(x, check)
        self._check_array(name, x)
        return x

    def _check_array(self, name, x):
        if not (hasattr(x, "shape") and hasattr(x, "dtype")):
            raise TypeError(f"{name} must be an array, a tensor or a stream, got {type(x)}.")
        validation.numeric(name, x)
        self._check_shape(name, x)
        if not ops.convert_to_numpy(ops.all(_are_pixels(backend.to_tensor(name, x)))):
            raise ValueError(f"{name} must hold only {_PIXELS}, got other values.")

    def _check_shape(self, name, x):
        """Check the shape of an array or spec, as far as the model knows what it must be."""
        if len(x.shape) < 3:
            raise ValueError(f"{name} must have shape (B, T, ...), got {tuple(x.shape)}.")
        letters = tuple("BTHWCDEFG"[: len(x.shape)])
        if self.built:
            letters = ("B", "T", *self.image_shape)
        elif self.encoder.built and isinstance(getattr(self.encoder, "input_shape", None), tuple):
            sizes = self.encoder.input_shape[1:]
            letters = ("B", "T", *(size or "D" for size in sizes))
        validation.shape_of(name, x, letters)

    def as_images(self, name: str, value: ArrayLike) -> Tensor:
        """Sets (B, T, ...) as a floating tensor, for which the model is built.

        Raises:
            TypeError, ValueError: it holds no such images.
        """
        x = backend.to_tensor(name, value)
        self._check_array(name, x)
        if not self.built:
            self.build(tuple(x.shape))
        return ops.cast(x, self.compute_dtype)

    # Parts.

    def encode(self, x: Tensor, training: bool = False) -> Tensor:
        """What the encoder gives of images (B, T, ...): (B, T, C), or as wide as it says."""
        images = ops.reshape(x, (-1, *x.shape[2:]))
        codes = self.encoder(images, training=training)
        validation.shape_of("output of encoder", codes, ("B", self._encoded))
        return ops.reshape(codes, (*ops.shape(x)[:2], self._encoded))

    def decode(self, codes: Tensor, x: Tensor, training: bool = False) -> Tensor:
        """Logits of images, of codes (B, K, C), of the image's shape of x."""
        flat = ops.reshape(codes, (-1, self.code_size))
        logits = self.decoder(flat, training=training)
        validation.shape_of("output of decoder", logits, ("B", *x.shape[2:]))
        return ops.reshape(logits, (*ops.shape(codes)[:2], *x.shape[2:]))

    def nll(self, x: Tensor, logits: Tensor) -> Tensor:
        """-log p of the pixels, a mean over images: (B,)."""
        losses = ops.softplus(logits) - ops.cast(x, logits.dtype) * logits
        axes = tuple(range(2, len(x.shape)))
        return ops.mean(ops.sum(losses, axis=axes), axis=1)

    def normal(self, like: Tensor) -> Tensor:
        """Standard normal numbers."""
        return keras.random.normal(ops.shape(like), dtype=like.dtype, seed=self.seed_generator)

    # Saving.

    def states(self) -> dict[str, Any]:
        """The logs of the epoch, and the random states."""
        logs = {
            f"log_{metric.name}_{index}": variable
            for metric in self.metrics
            for index, variable in enumerate(metric.variables)
        }
        return {**logs, **random_states(self)}

    def get_config(self) -> Config:
        """The constructor's arguments, encoder and decoder serialized."""
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "code_size": self.code_size,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: Config) -> "ImageSetModel":
        """A model from what `get_config` gave."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("encoder", "decoder")
        }
        return cls(**{**config, **parts})


def _alone(name, batch):
    """The only part of a batch, which may come as a tuple of one."""
    if not isinstance(batch, (tuple, list)):
        return batch
    if len(batch) != 1:
        raise ValueError(f"{name} must give batches without targets, got {len(batch)} parts.")
    return batch[0]


def _are_pixels(x):
    """Which entries are in [0, 1]; NaN is not."""
    return (x >= 0) & (x <= 1)
