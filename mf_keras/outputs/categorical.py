"""Categorical: a step of one token."""

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.outputs.output import Output, clipped, forcing
from mf_keras.types import ArrayLike, Config, Tensor

_BEFORE_THE_FIRST = -1  # a token of no class: its one-hot vector is zero


@keras.saving.register_keras_serializable(package="mf_keras")
class Categorical(Output):
    """A step is one of `classes` tokens: x (B, T) of integers from 0 to classes - 1.

    The cell gives a logit l_c a class, and reads one-hot vectors or a trained embedding. Samples
    are drawn by Gumbel noise g = -log(-log u): argmax_c (l_c + temperature x g_c). At temperature 0
    that is the likeliest class, the lowest of several.

    With many classes use an embedding: then only the logits have the size (B, T, classes) in
    teacher forcing. Free running needs as many numbers of noise.

    Args:
        classes: number of tokens.
        embedding: None, or E, the size of the vectors that a `SequenceGenerator` reads instead of
            one-hot vectors. Its weights (classes, E) belong to this object, as to a Keras layer:
            two generators with one output share them. A `SequenceTransducer` reads no targets.

    Raises:
        TypeError, ValueError: `classes` is no integer >= 2, or `embedding` none >= 1.
    """

    step = ()
    dtype = "int32"
    errors_log = "token_errors"

    def __init__(self, classes: int, embedding: int | None = None) -> None:
        classes = validation.positive_int("classes", classes, minimum=2)
        self.size = self.input_size = self.noise_size = classes
        self.embedding = embedding
        if embedding is not None:
            self.input_size = validation.positive_int("embedding", embedding)
            # One-hot vectors meet a kernel of unit scale; so do vectors of variance 1.
            layer = keras.layers.Embedding(
                classes, embedding, keras.initializers.RandomNormal(0, 1)
            )
            layer.build()
            self.layers = (layer,)
        self.values = f"integers from 0 to {classes - 1}"
        self.description = f"one of {classes} tokens"

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are classes: whole numbers in the range."""
        with np.errstate(invalid="ignore"):  # of infinity, which is none
            return (x >= 0) & (x < self.size) & (x % 1 == 0)

    def encode(self, x: Tensor, dtype: str) -> Tensor:
        """One-hot vectors, or embedded ones."""
        x = ops.cast(x, "int32")
        if self.embedding is None:
            return ops.one_hot(x, self.size, dtype=dtype)
        vectors = ops.cast(self.layers[0](ops.maximum(x, 0)), dtype)
        return ops.where(ops.expand_dims(x, -1) == _BEFORE_THE_FIRST, 0.0, vectors)

    def start(self, batch_size: int | Tensor, dtype: str) -> Tensor:
        """A token of no class."""
        return ops.full((batch_size,), _BEFORE_THE_FIRST, dtype="int32")

    def thresholds(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """What is taken off the logits before the largest is chosen: -temperature x g."""
        return temperature * ops.log(-ops.log(clipped(noise)))

    def forced(self, x: Tensor, dtype: str = "float32") -> Tensor:
        """Far below 0 for the class x, and far above for the others."""
        beyond = forcing(dtype)
        wanted = ops.one_hot(ops.cast(x, "int32"), self.size, dtype="bool")
        return ops.where(wanted, -beyond, beyond)

    def draw(self, parameters: Tensor, thresholds: Tensor) -> Tensor:
        """The class of the largest logit, less its threshold."""
        values = ops.cast(parameters, thresholds.dtype) - thresholds
        return ops.cast(ops.argmax(values, axis=-1), "int32")

    def step_nll(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The cross-entropy of each step."""
        return ops.sparse_categorical_crossentropy(
            ops.cast(x, "int32"), parameters, from_logits=True
        )

    def step_errors(self, x: Tensor, parameters: Tensor) -> Tensor:
        """1 where the class of the largest logit is another, else 0."""
        predicted = ops.cast(ops.argmax(parameters, axis=-1), "int32")
        return ops.cast(ops.not_equal(predicted, ops.cast(x, "int32")), "float32")

    def step_entropy(self, parameters: Tensor) -> Tensor:
        """-sum of p log p over the classes."""
        log_p = ops.log_softmax(parameters, axis=-1)
        return -ops.sum(ops.exp(log_p) * log_p, axis=-1)

    def as_pixels(self, x: ArrayLike) -> np.ndarray:
        """Levels of grey, from class 0 to the last one."""
        return np.asarray(x) / (self.size - 1)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"classes": self.size, "embedding": self.embedding}
