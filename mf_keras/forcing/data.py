"""The data of a model: what they must be, and what is logged of a batch."""

from collections.abc import Collection
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.models import Policy, SequenceGenerator
from mf_keras.models.generator import check_context, parts_of
from mf_keras.models.sequence_model import SequenceModel
from mf_keras.outputs.output import prefix_conditions, without_padding
from mf_keras.types import ArrayLike, Function, Tensor


class Batch(NamedTuple):
    """One batch: what the model reads, what it predicts, and which steps count."""

    inputs: Any
    targets: Any
    sample_weight: Any = None


class GeneratorData:
    """The data of a `SequenceGenerator`: batches of x, which it both reads and predicts.

    Sequences of unequal length are padded at their ends, and come with a `sample_weight` (B, T), 1
    on their own steps and 0 on the padding: as `fit(x, sample_weight=w)`, or (x, None, w) of a
    stream. What the padding holds makes no difference.

    With a context x is a dict {"sequence": (B, T, *step), "context": (B, C)}.

    Args:
        model: the generator.
        shortest: steps that a sequence must have.
    """

    # Names of the logs that are the better the higher they are.
    highest: Collection[str] = ("correct_predictions",)

    def __init__(self, model: SequenceModel, shortest: int = 1) -> None:
        self.model = model
        self.shortest = shortest

    @property
    def logs(self) -> list[str]:
        """Names of what `measures` gives."""
        return ["nll_per_step", "bits_per_step"]

    def measures(self, batch: Batch, logits: Tensor, nll: Tensor) -> dict[str, Tensor]:
        """Logs of a batch beside the NLL (B,): (B,) each."""
        steps = self.measure_weight(batch, nll.dtype)
        per_step = nll / (
            ops.cast(ops.shape(batch.targets)[1], nll.dtype) if steps is None else steps
        )
        return {"nll_per_step": per_step, "bits_per_step": per_step / np.log(2.0)}

    def measure_weight(self, batch: Batch, dtype: str) -> Tensor | None:
        """How much each sequence counts in the means of `measures`, (B,): its steps.

        None where all have as many.
        """
        if batch.sample_weight is None:
            return None
        return ops.sum(ops.cast(batch.sample_weight, dtype), axis=1)

    def batch(self, data: Any, name: str = "a batch") -> Batch:
        """Arrays, tensors or specs of one batch, whose shapes are checked as far as known.

        Raises:
            ValueError: there are targets, or a shape is wrong.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        x, sample_weight = _without_weights(x, sample_weight)
        sequence, context = parts_of(x, name)
        names = names_of(name, streamed=True)._replace(inputs=name)
        self._fit_each_other(names, sequence, context, y, sample_weight)
        known = isinstance(sequence, np.ndarray) or ops.is_tensor(sequence)  # not only its shape
        if sample_weight is not None and known:
            sequence = without_padding(sequence, sample_weight)
        inputs = sequence if context is None else {"sequence": sequence, "context": context}
        return Batch(inputs, sequence, sample_weight)

    def _fit_each_other(self, names, sequence, context, y, sample_weight):
        if y is not None:
            raise ValueError(
                f"{names.inputs} must come without targets, which a generator does not have; "
                "got y as well."
            )
        self.check_targets(names.inputs, sequence)
        batch, time = (
            size or letter for size, letter in zip(sequence.shape[:2], "BT", strict=True)
        )
        check_context(
            f"the context of {names.inputs}", context, self.model.context_size, sequence.shape[0]
        )
        if sample_weight is not None:
            validation.shape_of(names.sample_weight, sample_weight, (batch, time))

    def check_targets(self, name: str, targets: Any) -> None:
        """Check the shape of what is predicted."""
        validation.shape_of(name, targets, ("B", "T", *self.model.output.step))
        if targets.shape[1] is not None and targets.shape[1] < self.shortest:
            raise ValueError(
                f"{name} must have at least {self.shortest} steps, got shape {targets.shape}."
            )

    def check_arrays(self, names: "Names", x: Any, y: Any, sample_weight: Any) -> None:
        """Check shapes and values of arrays.

        Raises:
            TypeError: one is no dense array of numbers.
            ValueError: a shape or a value is wrong.
        """
        x, sample_weight = _without_weights(x, sample_weight)  # those of Keras' own validation
        sequence, context = parts_of(x, names.inputs)
        _array(names.inputs, sequence)
        for name, given in ((names.inputs, context), (names.sample_weight, sample_weight)):
            if given is not None:
                _array(name, given)
        self._fit_each_other(names, sequence, context, y, sample_weight)
        sequence = np.asarray(sequence)
        if context is not None:
            validation.all_hold(_finite_context(names.inputs, np.asarray(context)))
        if sample_weight is not None:
            weights = np.asarray(sample_weight)
            validation.all_hold(prefix_conditions(names.sample_weight, weights))
            sequence = without_padding(sequence, weights)
        self.model.output.check_values(names.inputs, sequence)

    def conditions(self, names: "Names", parts: tuple[Any, ...], any_step: Function) -> list:
        """What must be true of the values of one batch; see `datasets.with_checks`."""
        del any_step
        x, _, weights = (*parts, None, None)[:3]
        sequence, context = parts_of(x, names.inputs)
        found = [] if context is None else _finite_context(names.targets, context)
        if weights is not None:
            found += prefix_conditions(names.sample_weight, weights)
            sequence = without_padding(sequence, weights)
        return [*found, _valid(self.model.output, names.targets, sequence)]

    def inputs(self, data: Any, name: str = "x") -> Any:
        """What `predict` reads of a batch; further parts are passed over, as in Keras."""
        x = data[0] if isinstance(data, tuple) else data
        sequence, context = parts_of(x, name)
        self._fit_each_other(names_of(name), sequence, context, None, None)
        return x

    def check_inputs(self, x: Any) -> None:
        """Check the array that `predict` reads."""
        self.check_arrays(names_of("x"), x, None, None)

    def conditions_of_inputs(self, name: str, x: Any) -> list:
        """As `conditions`, of what `predict` reads."""
        return self.conditions(names_of(name), (x,), any)


class TransducerData(GeneratorData):
    """The data of a `SequenceTransducer`: (inputs, targets, sample_weight)."""

    @property
    def logs(self) -> list[str]:
        """Names of what `measures` gives."""
        return ["correct_predictions", self.model.output.errors_log]

    def measures(self, batch: Batch, logits: Tensor, nll: Tensor) -> dict[str, Tensor]:
        """Logs of a batch: (B,) each."""
        output = self.model.output
        errors = output.errors(batch.targets, logits, batch.sample_weight)
        correct = ops.cast(ops.equal(errors, 0.0), "float32")
        return {"correct_predictions": correct, output.errors_log: errors}

    def measure_weight(self, batch: Batch, dtype: str) -> Tensor | None:
        """None: every sequence counts once."""

    def batch(self, data: Any, name: str = "a batch") -> Batch:
        """Arrays, tensors or specs of one batch, whose shapes are checked as far as known.

        Raises:
            ValueError: there are no targets, or a shape does not fit the others.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is None:
            raise ValueError(f"{name} must give (inputs, targets, sample_weight), got no targets.")
        self._fit_targets(names_of(name, streamed=True), x, y, sample_weight)
        return Batch(x, y, sample_weight)

    def _fit_targets(self, names, x, y, sample_weight):
        validation.shape_of(names.inputs, x, ("B", "T", self._features()))
        batch, time = (size or letter for size, letter in zip(x.shape[:2], "BT", strict=True))
        validation.shape_of(names.targets, y, (batch, time, *self.model.output.step))
        if sample_weight is not None:
            validation.shape_of(names.sample_weight, sample_weight, (batch, time))

    def _features(self):
        return self.model.cell.input_size or "D"

    def check_arrays(self, names: "Names", x: Any, y: Any, sample_weight: Any) -> None:
        """Check shapes and values of arrays.

        Raises:
            TypeError: one is no dense array of numbers.
            ValueError: a shape or a value is wrong.
        """
        _array(names.inputs, x)
        if y is None:
            raise ValueError(
                f"{names.targets} must be given, a transducer learns targets; got None."
            )
        given = {names.targets: y, names.sample_weight: sample_weight}
        for name, value in given.items():
            if value is not None:
                _array(name, value)
        self._fit_targets(names, x, y, sample_weight)
        parts = [np.asarray(part) for part in (x, y, sample_weight) if part is not None]
        validation.all_hold(self.conditions(names, tuple(parts), lambda x: x.any(axis=-1)))

    def conditions(self, names: "Names", parts: tuple[Any, ...], any_step: Function) -> list:
        """What must be true of the values of one batch; see `datasets.with_checks`."""
        found = [_valid(self.model.output, names.targets, parts[1])]
        found += self.conditions_of_inputs(names.inputs, parts[0])
        if len(parts) > 2 and parts[2] is not None:
            weights, name = parts[2], names.sample_weight
            words = f"{name} must be finite and not negative, got other values"
            found.append((_finite(weights) & (weights >= 0), words, weights))
            words = f"{name} must count at least one step of every sequence, got only zeros"
            found.append((any_step(weights != 0), words, weights))
        return found

    def inputs(self, data: Any, name: str = "x") -> Any:
        """What `predict` reads of a batch; further parts are passed over, as in Keras."""
        x = data[0] if isinstance(data, tuple) else data
        validation.shape_of(name, x, ("B", "T", self._features()))
        return x

    def check_inputs(self, x: Any) -> None:
        """Check the array that `predict` reads."""
        _array("x", x)
        self.inputs(x)
        ((right, words, _),) = self.conditions_of_inputs("x", np.asarray(x))
        if not np.all(right):
            raise ValueError(f"{words}.")

    def conditions_of_inputs(self, name: str, x: Any) -> list:
        """As `conditions`, of what the model reads."""
        return [(_finite(x), f"{name} must be finite, got NaN or infinity", x)]


class PolicyData(GeneratorData):
    """The data of a `Policy`: batches of tasks x (B, *task), and nothing else."""

    def __init__(self, model: SequenceModel, shortest: int = 1) -> None:
        super().__init__(model, shortest)
        self.environment = model.environment
        self.highest = [n for n, better in self.environment.logs.items() if better == "max"]
        self.highest.append("return")

    @property
    def logs(self) -> list[str]:
        """Names of the environment's measures."""
        return list(self.environment.logs)

    def batch(self, data: Any, name: str = "a batch") -> Batch:
        """Arrays, tensors or specs of one batch, whose shapes are checked as far as known.

        Raises:
            ValueError: there is more than tasks, or their shape is wrong.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if y is not None or sample_weight is not None:
            raise ValueError(
                f"{name} must be tasks of the environment only, without y and sample_weight; got "
                "more parts."
            )
        validation.shape_of(name, x, ("B", *self.environment.task))
        return Batch(x, x)

    def check_arrays(self, names: "Names", x: Any, y: Any, sample_weight: Any) -> None:
        """Check shapes and values of arrays.

        Raises:
            TypeError: one is no dense array of numbers.
            ValueError: a shape or a value is wrong.
        """
        _array(names.inputs, x)
        self.batch((x, y, sample_weight), names.inputs)
        array = np.asarray(x)
        right, values = self.environment.valid(array), self.environment.values
        validation.entries(names.inputs, array, right, values)

    def conditions(self, names: "Names", parts: tuple[Any, ...], any_step: Function) -> list:
        """What must be true of the values of one batch; see `datasets.with_checks`."""
        return self.conditions_of_inputs(names.inputs, parts[0])

    def inputs(self, data: Any, name: str = "x") -> Any:
        """What `predict` reads of a batch; further parts are passed over, as in Keras."""
        x = data[0] if isinstance(data, tuple) else data
        return self.batch((x,), name).inputs

    def conditions_of_inputs(self, name: str, x: Any) -> list:
        """As `conditions`, of what `predict` reads."""
        words = f"{name} must hold only {self.environment.values}, got other values"
        return [(self.environment.valid(x), words, x)]


def data_of(model: SequenceModel, shortest: int = 1) -> GeneratorData:
    """The data of a model, by its kind."""
    if isinstance(model, Policy):
        return PolicyData(model, shortest)
    kind = GeneratorData if isinstance(model, SequenceGenerator) else TransducerData
    return kind(model, shortest)


def with_weights(x: Any, sample_weight: ArrayLike) -> dict[str, Any]:
    """Arrays of sequences and weights as one x, which Keras cuts into batches together."""
    return {"x": x, "sample_weight": sample_weight}


def _without_weights(x, sample_weight):
    """`(x, sample_weight)` of what `with_weights` joined; other data as they are."""
    joined = isinstance(x, dict) and "sample_weight" in x
    return (x["x"], x["sample_weight"]) if joined else (x, sample_weight)


class Names(NamedTuple):
    """How errors call the parts of the data."""

    inputs: str
    targets: str
    sample_weight: str


def names_of(name: str, streamed: bool = False) -> Names:
    """The names of the parts of "x", or of another argument that holds all of them."""
    if streamed:
        return Names(f"the inputs of {name}", f"the targets of {name}", f"sample_weight of {name}")
    return Names(name, "y" if name == "x" else name, "sample_weight")


def _valid(output, name, x):
    return output.valid(x), f"{name} must hold only {output.values}, got other values", x


def _finite_context(name, context):
    return [
        (_finite(context), f"the context of {name} must be finite, got NaN or infinity", context)
    ]


def _finite(x):
    with np.errstate(invalid="ignore"):
        return x - x == 0  # the same for arrays and tensors; inf - inf is NaN


def _array(name, value):
    """Raise TypeError for what is no dense array or tensor of numbers."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise TypeError(
            f"{name} must be an array, a tensor or a tf.data.Dataset, got {type(value).__name__}."
        )
    validation.numeric(name, value)
