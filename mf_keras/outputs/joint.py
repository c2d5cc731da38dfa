"""Joint: a step of several outputs."""

import math
from collections.abc import Mapping, Sequence

import keras
import numpy as np
from keras import ops

from mf_keras import backend, validation
from mf_keras.outputs.output import Output
from mf_keras.types import ArrayLike, Config, Tensor

_LARGEST_EXACT = 2**24  # integers up to here are exact in float32


@keras.saving.register_keras_serializable(package="mf_keras")
class Joint(Output):
    """A step is several outputs, independent given the state: x (B, T, columns).

    The strokes of a pen, each a move of two numbers and one of three states of the pen:

        strokes = Joint({"move": GaussianMixture(2, 20), "pen": Categorical(3)})
        x = strokes.pack({"move": moves, "pen": pens})  # (B, T, 3) from (B, T, 2) and (B, T)
        strokes.unpack(generator.sample(16, length=100, seed=0))["pen"]  # (16, 100) of int32

    The arrays of all outputs lie side by side in one, in the order of `outputs`: every model,
    data set, file and server takes one array, and the stroke-3 format of sketch-rnn is such an
    array. It is float32, which holds tokens exactly; int32 if all outputs have tokens. The negative
    log-likelihoods of the outputs add up, and so do their errors.

    Args:
        outputs: a dict of outputs by name, or a tuple or list of them.

    Raises:
        TypeError: it is something else.
        ValueError: it is empty, or has more than 2^24 classes in one output.
    """

    errors_log = "step_errors"

    def __init__(self, outputs: Mapping[str, Output] | Sequence[Output]) -> None:
        self.outputs = _checked(outputs)
        self._parts: list[Output] = list(self.outputs.values())
        self._named = isinstance(outputs, Mapping)
        self._columns = [math.prod(part.step) for part in self._parts]
        self._sizes = [part.size for part in self._parts]
        self._noise_sizes = [part.noise_size for part in self._parts]
        self.size, self.noise_size = sum(self._sizes), sum(self._noise_sizes)
        self.input_size = sum(part.input_size for part in self._parts)
        self.step = (sum(self._columns),)
        self.layers = [layer for part in self._parts for layer in part.layers]
        self.dtype = "int32" if all(part.dtype == "int32" for part in self._parts) else "float32"
        self.values = "; ".join(f"{name}: {part.values}" for name, part in self.outputs.items())
        self.description = " and ".join(part.description for part in self._parts)

    def pack(self, arrays: Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> np.ndarray:
        """One array (..., columns) from the arrays (..., *step) of the outputs.

        Args:
            arrays: a dict by the outputs' names, or a sequence in their order.

        Raises:
            TypeError: it is neither.
            ValueError: an array is missing or one too many, or a shape or a value is wrong.
        """
        given = _by_name("arrays", arrays)
        if set(given) != set(self.outputs):
            raise ValueError(f"arrays must be of {list(self.outputs)}, got {list(given)}.")
        flat: list[np.ndarray] = []
        for (name, part), columns in zip(self.outputs.items(), self._columns, strict=True):
            array = ops.convert_to_numpy(backend.to_tensor(f"arrays of {name!r}", given[name]))
            leading = array.shape[: array.ndim - len(part.step)]
            like = flat[0].shape[:-1] if flat else leading
            if array.shape != (*like, *part.step):
                wanted = ", ".join(map(str, (*like, *part.step) if flat else ("...", *part.step)))
                raise ValueError(
                    f"arrays of {name!r} must have shape ({wanted}), got {array.shape}."
                )
            part.check_values(f"arrays of {name!r}", array)
            flat.append(array.reshape((*leading, columns)).astype(self.dtype))
        return np.concatenate(flat, axis=-1)

    def unpack(self, x: ArrayLike) -> dict[str, np.ndarray] | tuple[np.ndarray, ...]:
        """The arrays (..., *step) of the outputs, in their own dtypes, from x (..., columns).

        Returns:
            A dict if `outputs` was one, else a tuple.

        Raises:
            TypeError: x is no tensor.
            ValueError: x has another number of columns.
        """
        x = ops.convert_to_numpy(backend.to_tensor("x", x))
        if x.shape[-1:] != self.step:
            raise ValueError(f"x must have shape (..., {self.step[0]}), got {x.shape}.")
        cut = zip(self._parts, self._cut(x), strict=True)
        arrays = [own.astype(part.dtype) for part, own in cut]
        return dict(zip(self.outputs, arrays, strict=True)) if self._named else tuple(arrays)

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are valid, by the outputs that they belong to."""
        found = [part.valid(own) for part, own in zip(self._parts, self._cut(x), strict=True)]
        if not isinstance(x, np.ndarray):
            return self._packed(found, "bool")
        columns = zip(found, self._columns, strict=True)
        return np.concatenate([own.reshape((*x.shape[:-1], n)) for own, n in columns], axis=-1)

    def carried(self, dtype: str) -> str:
        """The dtype of the arrays: half floats would round tokens."""
        return self.dtype

    def encode(self, x: Tensor, dtype: str) -> Tensor:
        """What the outputs encode, side by side."""
        parts = zip(self._parts, self._cut(x), strict=True)
        return ops.concatenate([part.encode(own, dtype) for part, own in parts], axis=-1)

    def start(self, batch_size: int | Tensor, dtype: str) -> Tensor:
        """The outputs' own."""
        return self._packed([part.start(batch_size, dtype) for part in self._parts], self.dtype)

    def thresholds(self, noise: Tensor, temperature: float | Tensor) -> Tensor:
        """The outputs' own, each of its share of the noise."""
        parts = zip(self._parts, _shares(noise, self._noise_sizes), strict=True)
        return ops.concatenate([part.thresholds(own, temperature) for part, own in parts], axis=-1)

    def forced(self, x: Tensor, dtype: str = "float32") -> Tensor:
        """The outputs' own, side by side."""
        parts = zip(self._parts, self._cut(x), strict=True)
        return ops.concatenate([part.forced(own, dtype) for part, own in parts], axis=-1)

    def draw(self, parameters: Tensor, thresholds: Tensor) -> Tensor:
        """What the outputs draw, each from its own parameters."""
        given = _shares(parameters, self._sizes), _shares(thresholds, self._noise_sizes)
        drawn = [part.draw(p, t) for part, p, t in zip(self._parts, *given, strict=True)]
        return self._packed(drawn, self.dtype)

    def step_nll(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The sum of the outputs' own."""
        given = self._cut(x), _shares(parameters, self._sizes)
        return sum(part.step_nll(own, p) for part, own, p in zip(self._parts, *given, strict=True))

    def step_errors(self, x: Tensor, parameters: Tensor) -> Tensor:
        """The sum of the outputs' own."""
        given = self._cut(x), _shares(parameters, self._sizes)
        parts = zip(self._parts, *given, strict=True)
        return sum(part.step_errors(own, p) for part, own, p in parts)

    def step_entropy(self, parameters: Tensor) -> Tensor:
        """The sum of the outputs' own, which are independent."""
        shares = _shares(parameters, self._sizes)
        return sum(part.step_entropy(p) for part, p in zip(self._parts, shares, strict=True))

    def get_config(self) -> Config:
        """The constructor's arguments, outputs serialized."""
        parts = [keras.saving.serialize_keras_object(part) for part in self._parts]
        return {"outputs": dict(zip(self.outputs, parts, strict=True)) if self._named else parts}

    def __repr__(self) -> str:
        return f"Joint({self.outputs if self._named else tuple(self._parts)!r})"

    @classmethod
    def from_config(cls, config: Config) -> "Joint":
        """An output from what `get_config` gave."""
        deserialize = keras.saving.deserialize_keras_object
        parts = config["outputs"]
        if isinstance(parts, dict):
            return cls({name: deserialize(part) for name, part in parts.items()})
        return cls([deserialize(part) for part in parts])

    def _cut(self, x):
        """x (..., columns) as the arrays (..., *step) of the outputs."""
        reshape = np.reshape if isinstance(x, np.ndarray) else ops.reshape
        shares = zip(self._parts, _shares(x, self._columns), strict=True)
        return [reshape(own, (*ops.shape(own)[:-1], *part.step)) for part, own in shares]

    def _packed(self, arrays, dtype):
        """Tensors (..., *step) of the outputs as one (..., columns)."""
        flat = []
        for x, part, columns in zip(arrays, self._parts, self._columns, strict=True):
            leading = ops.shape(x)[: len(x.shape) - len(part.step)]
            flat.append(ops.cast(ops.reshape(x, (*leading, columns)), dtype))
        return ops.concatenate(flat, axis=-1)


def _shares(x, sizes):
    """x (..., sum of the sizes), cut into parts of these sizes."""
    ends = np.cumsum(sizes).tolist()
    return [x[..., a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]


def _by_name(name, parts):
    """A mapping as a dict, and a sequence as one by position.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(parts, Mapping):
        return dict(parts)
    if isinstance(parts, (tuple, list)):
        return dict(enumerate(parts))
    raise TypeError(f"{name} must be a dict, tuple or list, got {parts!r}.")


def _checked(outputs):
    """Outputs by name or position."""
    found = _by_name("outputs", outputs)
    if not found:
        raise ValueError(f"outputs must not be empty, got {outputs!r}.")
    for name, part in found.items():
        if not isinstance(part, Output):
            raise TypeError(f"outputs must hold mf_keras.outputs.Output, got {part!r} at {name!r}.")
        if isinstance(outputs, Mapping):
            validation.text("names of outputs", name)
        if part.dtype == "int32" and part.size > _LARGEST_EXACT:
            raise ValueError(
                f"outputs must have at most {_LARGEST_EXACT} classes each, got {part!r}."
            )
    return found
