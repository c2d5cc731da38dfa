"""Output: what a step of a sequence is, and how the numbers that a cell gives become one."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mf_keras import backend, validation
from mf_keras.types import ArrayLike, Config, Tensor

# Uniform noise is kept this far from 0 and 1, where its logarithms are infinite.
_NOISE_MARGIN = 1e-7
# The threshold that forces a step: beyond the logits of all models, and finite, since infinity
# would be taken for a fault by `tf.debugging.enable_check_numerics`.
_FORCING, _FORCING_HALF = 1e38, 3e4  # float16 ends at 65504


class Output:
    """What a step of a sequence is: its arrays, its likelihood, its samples.

    Models, training, export and clients query an output and know nothing of steps. Shapes
    use B batch, T time, and `step`, the shape of one step in a user's arrays: (units,) for bits, ()
    for tokens. "Parameters" are what a cell gives for a step: the logits of bits or of tokens.

    A sample is a pure function of parameters and uniform noise u:

        draw(parameters, thresholds(u, temperature))

    and `draw(parameters, forced(x))` is x whatever the parameters are, as long as they are finite,
    so that teacher forcing is free running with other thresholds.

    A subclass gives the attributes and the methods that raise NotImplementedError here, and is
    registered by `keras.saving.register_keras_serializable`.

    Attributes:
        size: how many parameters a cell must give for a step, its `units`.
        input_size: how many numbers the cell reads for a step.
        noise_size: how many uniform numbers one draw takes.
        step: shape of a step in arrays.
        dtype: of arrays outside of the models: "float32" or "int32".
        values: what a step may hold, in words: "0 and 1".
        description: what a step is, in words: "1 bit(s)".
        errors_log: name of the log of `step_errors`: "bit_errors".
        layers: Keras layers that `encode` reads, such as an embedding. A generator trains and saves
            their weights.
    """

    size: int
    input_size: int
    noise_size: int
    step: tuple[int, ...]
    dtype: str
    values: str
    description: str
    errors_log: str
    layers: Sequence[keras.layers.Layer] = ()

    # What a subclass gives.

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries of x, a NumPy array or a tensor (..., *step), a step may hold: bools."""
        raise NotImplementedError(f"{type(self).__name__} must define valid(x).")

    def encode(self, x: Tensor, dtype: str) -> Tensor:
        """What the cell reads for steps x (..., *step): (..., input_size), of that dtype."""
        raise NotImplementedError(f"{type(self).__name__} must define encode(x, dtype).")

    def start(self, batch_size: int | Tensor, dtype: str) -> Tensor:
        """The step before the first one, (batch_size, *step), which `encode` maps to zeros."""
        raise NotImplementedError(f"{type(self).__name__} must define start(batch_size, dtype).")

    def thresholds(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """What `draw` compares parameters with.

        Args:
            noise: (..., noise_size), uniform in [0, 1).
            temperature: 1 for the model itself, 0 for the likeliest value of each step; a number,
                or a tensor (..., 1) that broadcasts to `noise`.

        Returns:
            (..., noise_size).
        """
        raise NotImplementedError(f"{type(self).__name__} must define thresholds(...).")

    def forced(self, x: Tensor, dtype: str = "float32") -> Tensor:
        """The thresholds (..., noise_size) with which `draw` gives x (..., *step)."""
        raise NotImplementedError(f"{type(self).__name__} must define forced(x, dtype).")

    def draw(self, parameters: Tensor, thresholds: Tensor) -> Tensor:
        """A step (B, *step) from parameters (B, size) and thresholds (B, noise_size).

        The step comes in the dtype `carried(parameters.dtype)`, and passes no gradient on.
        """
        raise NotImplementedError(f"{type(self).__name__} must define draw(...).")

    def step_nll(self, x: Tensor, parameters: Tensor) -> Tensor:
        """-log p(x) of each step, (B, T), nats, from x (B, T, *step) and (B, T, size).

        The parameters come in float32 at least.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step_nll(x, parameters).")

    def step_errors(self, x: Tensor, parameters: Tensor) -> Tensor:
        """How wrong the likeliest values are, 0 if they are right: (B, T) of float32.

        The number of wrong parts of each step; of real numbers their distance.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step_errors(...).")

    def step_entropy(self, parameters: Tensor) -> Tensor:
        """The entropy of each step's distribution, (B, T), nats, from parameters (B, T, size).

        Raises:
            ValueError: there is no formula for it, as for mixtures.
        """
        raise ValueError(f"the entropy of {self.description} has no formula.")

    def as_pixels(self, x: ArrayLike) -> np.ndarray:
        """Steps x (n, T, *step) as pixels of grey images, (n, T) in [0, 1].

        Raises:
            ValueError: a step is no pixel.
        """
        raise ValueError(
            f"a step of the generator must be a pixel to be drawn, got {self.description}."
        )

    def get_config(self) -> Config:
        """The constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config().")

    @classmethod
    def from_config(cls, config: Config) -> "Output":
        """An output from what `get_config` gave."""
        return cls(**config)

    # What follows from it.

    def carried(self, dtype: str) -> str:
        """The dtype in which the loop over time holds steps, in a model that computes in `dtype`.

        Tokens are int32. An output whose steps half floats would round gives "float32".
        """
        return "int32" if self.dtype == "int32" else dtype

    @property
    def variables(self) -> list[keras.Variable]:
        """The weights of `layers`."""
        return [variable for layer in self.layers for variable in layer.variables]

    def nll(self, x: Tensor, parameters: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """-log p(x), summed over the steps. The shapes are not checked.

        Args:
            x: (B, T, *step).
            parameters: (B, T, size).
            sample_weight: optional (B, T), how much each step counts.

        Returns:
            (B,), nats, in at least float32.
        """
        precise = "float64" if parameters.dtype == "float64" else "float32"
        steps = self.step_nll(x, ops.cast(parameters, precise))
        if sample_weight is not None:
            steps = steps * ops.cast(sample_weight, precise)
        return ops.sum(steps, axis=-1)

    def errors(self, x: Tensor, parameters: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """`step_errors` of the steps that count, summed: (B,) of float32.

        Args:
            x: (B, T, *step).
            parameters: (B, T, size); the prediction is the likeliest value.
            sample_weight: optional (B, T); steps of weight 0 do not count, all others count once.
        """
        wrong = self.step_errors(x, parameters)
        if sample_weight is not None:
            wrong = ops.where(ops.equal(sample_weight, 0), 0.0, wrong)
        return ops.sum(wrong, axis=-1)

    def correct(self, x: Tensor, parameters: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Which sequences are exactly right, every part of every step that counts: (B,) of bool.

        For bits, the paper's "Euclidean distance 0 between thresholded output and target".
        Arguments are those of `errors`.
        """
        return ops.equal(self.errors(x, parameters, sample_weight), 0.0)

    def to_steps(self, name: str, x: ArrayLike, dtype: str) -> Tensor:
        """x (B, T, *step), checked, as a tensor in the dtype that the loop over time carries.

        Args:
            name: the argument's name.
            x: what the user gives.
            dtype: that the model computes in.

        Raises:
            TypeError: it is no tensor of numbers.
            ValueError: the shape is another; or, in eager code, a value is none of a step's. In a
                graph `backend.required` checks the values.
        """
        x = backend.to_tensor(name, x)
        validation.shape_of(name, x, ("B", "T", *self.step))
        if backend.is_concrete(x):
            self.check_values(name, ops.convert_to_numpy(x))
        else:
            words = f"{name} must hold only {self.values}, got other values"
            x = backend.required(x, self.valid(x), words, x)
        return ops.cast(x, self.carried(dtype))

    def check_values(self, name: str, array: np.ndarray) -> None:
        """Refuse values that no step may hold.

        Raises:
            ValueError: an entry is one.
        """
        validation.entries(name, array, self.valid(array), self.values)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((type(self), repr(sorted(self.get_config().items()))))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


def clipped(noise: Tensor) -> Tensor:
    """Uniform noise, away from 0 and 1, where its logarithms are infinite."""
    return ops.clip(noise, _NOISE_MARGIN, 1.0 - _NOISE_MARGIN)


def forcing(dtype: str) -> Tensor:
    """The threshold, finite, that is above every logit of a model; its negative is below.

    Of logits that are themselves beyond it, 1e38 (3e4 in float16), or infinite, the step would not
    be forced: their model has diverged.
    """
    return ops.cast(_FORCING_HALF if dtype == "float16" else _FORCING, dtype)


def check_output(output: Output | None, units: int) -> Output:
    """The output of a model around a cell; None is `Bernoulli(units)`.

    Args:
        output: what the model was given.
        units: of the cell.

    Raises:
        TypeError: it is no output.
        ValueError: it needs another number of units than the cell has.
    """
    if output is None:
        from mf_keras.outputs.bernoulli import Bernoulli  # which is a subclass of what is here

        return Bernoulli(units)
    if not isinstance(output, Output):
        raise TypeError(f"output must be an mf_keras.outputs.Output or None, got {output!r}.")
    if output.size != units:
        raise ValueError(
            f"output must have the size of the cell's units, {units}, got {output!r}, "
            f"for which a cell must have units={output.size}."
        )
    return output


def prefix_conditions(name: str, weights: Any) -> list[tuple[Any, str, Any]]:
    """What must hold of a generator's `sample_weight`: 1 from the first step on, then 0.

    Args:
        name: the argument's name.
        weights: (B, T), an array or a tensor.

    Returns:
        A list of (bools, message, value to show), for `validation.all_hold` or
        `backend.required`.
    """
    words = f"{name} must be 1 for the steps of a sequence and 0 for its padding, got other values"
    known = (weights == 0) | (weights == 1)
    begins = f"{name} must count the first step of every sequence, got 0"
    ends = f"{name} must be 0 from the end of a sequence on, got a gap"
    falls = weights[:, 1:] <= weights[:, :-1]
    return [(known, words, weights), (weights[:, 0] == 1, begins, weights), (falls, ends, weights)]


def without_padding(x: Tensor, sample_weight: Tensor) -> Tensor:
    """x (B, T, *step) with its first step instead of those of weight 0, whatever they hold.

    So padding changes nothing, not even if it holds NaN. Every first step must count.

    Args:
        x: (B, T, *step), an array or a tensor.
        sample_weight: (B, T).
    """
    counts = sample_weight != 0
    for _ in x.shape[2:]:
        counts = counts[..., None]
    where = np.where if isinstance(x, np.ndarray) else ops.where
    return where(counts, x, x[:, :1])


def counted_steps(sample_weight: Tensor) -> Tensor:
    """The number of steps up to the last one that counts; what follows is padding.

    Args:
        sample_weight: (B, T).

    Returns:
        (B,) of int32.
    """
    positions = ops.arange(1, ops.shape(sample_weight)[1] + 1, dtype="int32")
    return ops.max(ops.where(ops.equal(sample_weight, 0), 0, positions), axis=1)
