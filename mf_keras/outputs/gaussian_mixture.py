"""GaussianMixture: a step of real numbers."""

import math

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.outputs.output import Output, clipped, forcing
from mf_keras.types import ArrayLike, Config, Tensor

# |log deviation| stays below it, so that deviations lie in (0.0009, 1097).
_LARGEST_LOG_DEVIATION = 7.0
# Squares of numbers up to here, in units of the smallest deviation, are finite in float32.
_LARGEST_NUMBER = 1e6


@keras.saving.register_keras_serializable(package="mf_keras")
class GaussianMixture(Output):
    """A step is `dims` real numbers from a mixture of Gaussians: x (B, T, dims).

    With K components the cell gives K logits l, (K, dims) means m and (K, dims) raw log deviations
    r, in this order. The density is sum_k softmax(l)_k prod_d N(x_d; m_kd, s_kd^2) (Bishop 1994,
    mixture density networks; Graves 2013, arXiv:1308.0850, section 4.1, without correlations). Its
    logarithm is computed by log-sum-exp. Deviations are s = exp(7 tanh(r / 7)), from 0.0009 to
    1097: near r = 0 that is exp(r), and no component becomes so sharp that float32 overflows. Scale
    the data so that they have a deviation of about 1.

    A sample takes the component argmax_k (l_k + temperature x g_k), by Gumbel noise g, which has
    the probabilities softmax(l / temperature), and the value m_k + sqrt(temperature) s_k z, by the
    normal quantile z of one uniform number a dimension (the temperature of sketch-rnn, Ha and Eck
    2017, arXiv:1704.03477, section 3.4). Uniform numbers stay 1e-7 away from 0 and 1, so |z| < 5.3.
    At temperature 0 the value is the mean of the likeliest component.

    The loop over time holds the numbers in float32, whatever the model computes in.

    Args:
        dims: numbers of a step.
        components: Gaussians, K.

    Raises:
        TypeError, ValueError: an argument is no integer >= 1.
    """

    dtype = "float32"
    values = f"numbers from -{_LARGEST_NUMBER:.0f} to {_LARGEST_NUMBER:.0f}"
    errors_log = "absolute_error"

    def __init__(self, dims: int, components: int = 1) -> None:
        self.dims = self.input_size = validation.positive_int("dims", dims)
        self.components = validation.positive_int("components", components)
        self.size = components * (1 + 2 * dims)
        self.noise_size = components + dims
        self.step = (dims,)
        self.description = f"{dims} real number(s)"

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are finite and not too large."""
        return (x >= -_LARGEST_NUMBER) & (x <= _LARGEST_NUMBER)

    def carried(self, dtype: str) -> str:
        """float32: half floats would round the data."""
        return "float32"

    def encode(self, x: Tensor, dtype: str) -> Tensor:
        """The numbers themselves."""
        return ops.cast(x, dtype)

    def start(self, batch_size: int | Tensor, dtype: str) -> Tensor:
        """Zeros."""
        return ops.zeros((batch_size, self.dims), dtype=self.carried(dtype))

    def thresholds(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """-temperature x g (..., K), and sqrt(temperature) x z (..., dims)."""
        noise = clipped(noise)
        temperature = ops.cast(temperature, noise.dtype)
        choice, value = noise[..., : self.components], noise[..., self.components :]
        normal = math.sqrt(2.0) * ops.erfinv(2.0 * value - 1.0)
        gumbel = temperature * ops.log(-ops.log(choice))
        return ops.concatenate([gumbel, ops.sqrt(temperature) * normal], axis=-1)

    def forced(self, x: Tensor, dtype: str = "float32") -> Tensor:
        """What no noise gives, instead of the noise of the components, and x."""
        marks = ops.full((*ops.shape(x)[:-1], self.components), forcing(dtype), dtype=dtype)
        return ops.concatenate([marks, ops.cast(x, dtype)], axis=-1)

    def draw(self, parameters: Tensor, thresholds: Tensor) -> Tensor:
        """The chosen component's mean plus deviation x noise; x where it is forced."""
        logits, means, deviations = self._components(ops.cast(parameters, thresholds.dtype))
        choice, value = thresholds[..., : self.components], thresholds[..., self.components :]
        chosen = ops.argmax(logits - choice, axis=-1)
        drawn = _of(chosen, means) + _of(chosen, ops.exp(deviations)) * value
        drawn = ops.where(choice[..., :1] >= forcing(choice.dtype), value, drawn)
        return ops.stop_gradient(ops.cast(drawn, "float32"))

    def step_nll(self, x: Tensor, parameters: Tensor) -> Tensor:
        """-log of the density of each step."""
        logits, means, deviations = self._components(parameters)
        x = ops.expand_dims(ops.cast(x, parameters.dtype), -2)  # (B, T, 1, dims)
        z = (x - means) * ops.exp(-deviations)
        log_density = -0.5 * ops.square(z) - deviations - 0.5 * math.log(2.0 * math.pi)
        log_joint = ops.log_softmax(logits, axis=-1) + ops.sum(log_density, axis=-1)
        return -ops.logsumexp(log_joint, axis=-1)

    def step_errors(self, x: Tensor, parameters: Tensor) -> Tensor:
        """|x - mean of the likeliest component|, summed over the numbers of a step."""
        logits, means, _ = self._components(parameters)
        predicted = _of(ops.argmax(logits, axis=-1), means)
        distance = ops.absolute(ops.cast(x, predicted.dtype) - predicted)
        return ops.cast(ops.sum(distance, axis=-1), "float32")

    def as_pixels(self, x: ArrayLike) -> np.ndarray:
        """Levels of grey, of steps of one number; below 0 is white, and above 1 is black."""
        return super().as_pixels(x) if self.dims != 1 else np.clip(np.asarray(x)[..., 0], 0, 1)

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"dims": self.dims, "components": self.components}

    def _components(self, parameters):
        """Logits (..., K), means and bounded log deviations (..., K, dims)."""
        count = self.components * self.dims
        logits = parameters[..., : self.components]
        shape = (*ops.shape(logits)[:-1], self.components, self.dims)
        means = ops.reshape(parameters[..., self.components :][..., :count], shape)
        raw = ops.reshape(parameters[..., self.components + count :], shape)
        return logits, means, _LARGEST_LOG_DEVIATION * ops.tanh(raw / _LARGEST_LOG_DEVIATION)


def _of(chosen, x):
    """Of x (..., K, dims) the rows of the chosen components (...): (..., dims)."""
    one_hot = ops.one_hot(chosen, x.shape[-2], dtype=x.dtype)
    return ops.sum(ops.expand_dims(one_hot, -1) * x, axis=-2)
