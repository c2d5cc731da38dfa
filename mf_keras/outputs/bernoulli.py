"""Bernoulli: a step of independent bits."""

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.outputs.output import Output, clipped, forcing
from mf_keras.types import ArrayLike, Config, Tensor


@keras.saving.register_keras_serializable(package="mf_keras")
class Bernoulli(Output):
    """A step is `units` bits, independent given the state: x (B, T, units) of 0 and 1.

    The cell gives a logit l a bit, and reads the bits. A bit is 1 where
    u < sigmoid(l / temperature), so where l exceeds temperature x logit(u); at temperature 0, where
    l > 0.

    Args:
        units: bits of a step.

    Raises:
        TypeError, ValueError: `units` is no integer >= 1.
    """

    dtype = "float32"
    values = "0 and 1"
    errors_log = "bit_errors"

    def __init__(self, units: int) -> None:
        units = validation.positive_int("units", units)
        self.size = self.input_size = self.noise_size = units
        self.step = (units,)
        self.description = f"{units} bit(s)"

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are 0 or 1."""
        return (x == 0) | (x == 1)

    def encode(self, x: Tensor, dtype: str) -> Tensor:
        """The bits themselves."""
        return ops.cast(x, dtype)

    def start(self, batch_size: int | Tensor, dtype: str) -> Tensor:
        """Zeros."""
        return ops.zeros((batch_size, *self.step), dtype=dtype)

    def thresholds(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """What a logit must exceed for a 1: temperature x logit(u)."""
        noise = clipped(noise)
        return temperature * (ops.log(noise) - ops.log1p(-noise))

    def forced(self, x: Tensor, dtype: str = "float32") -> Tensor:
        """Far below 0 for a 1, so that every logit exceeds it, and far above for a 0."""
        beyond = forcing(dtype)
        return ops.where(ops.cast(x, "bool"), -beyond, beyond)

    def draw(self, parameters: Tensor, thresholds: Tensor) -> Tensor:
        """1 where the logit exceeds its threshold."""
        return ops.cast(ops.cast(parameters, thresholds.dtype) > thresholds, parameters.dtype)

    def step_nll(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The binary cross-entropy, summed over the bits of a step."""
        # -log p is softplus(-l) of a 1 and softplus(l) of a 0. Keras' function has a log1p, which
        # converters to ONNX do not know.
        signs = 1.0 - 2.0 * ops.cast(x, parameters.dtype)
        return ops.sum(ops.softplus(signs * parameters), axis=-1)

    def step_errors(self, x: Tensor, parameters: Tensor) -> Tensor:
        """Wrong bits of each step; a bit is predicted 1 where its logit is positive."""
        wrong = ops.not_equal(parameters > 0, ops.cast(x, "bool"))
        return ops.sum(ops.cast(wrong, "float32"), axis=-1)

    def step_entropy(self, parameters: Tensor) -> Tensor:
        """softplus(l) - l sigmoid(l), summed over the bits of a step."""
        bits = ops.softplus(parameters) - parameters * ops.sigmoid(parameters)
        return ops.sum(bits, axis=-1)

    def as_pixels(self, x: ArrayLike) -> np.ndarray:
        """Black and white, of steps of one bit."""
        return super().as_pixels(x) if self.size != 1 else np.asarray(x)[..., 0]

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"units": self.size}
