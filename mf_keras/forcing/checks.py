"""Checks of training data: arrays at once, datasets by their shapes at once and values later."""

import types

import keras
import numpy as np
import tensorflow as tf

from mf_keras import validation

# Numbers of `fit` and its kin -> the smallest that makes sense.
_COUNTS = {
    **dict.fromkeys(("batch_size", "steps_per_epoch", "steps"), 1),
    **dict.fromkeys(("validation_steps", "validation_batch_size", "validation_freq"), 1),
    **dict.fromkeys(("epochs", "initial_epoch"), 0),
}
# What Keras draws batches from; their values are not known beforehand.
_STREAMS = (keras.utils.PyDataset, types.GeneratorType, tf.distribute.DistributedDataset)


def counts(arguments):
    """Check those of Keras' arguments that count something; None is its default for all of them.

    Raises:
        TypeError, ValueError: one is no integer, or too small.
    """
    for name, minimum in _COUNTS.items():
        value = arguments.get(name)
        # `validation_freq` may also be a list of epochs.
        if value is not None and not (name == "validation_freq" and isinstance(value, list)):
            validation.positive_int(name, value, minimum)


class DataChecks:
    """What the data of a model must be: x alone, or (x, y, sample_weight) with targets.

    Args:
        units: size of a step of what is predicted.
        targets: whether y is predicted, from x; else x itself.
        shortest: steps that a sequence must have.
        features: size of a step of x where y is predicted; None if it is not known yet.
    """

    def __init__(self, units, targets, shortest, features=None):
        self.units = units
        self.targets = targets
        self.shortest = shortest
        self.features = features or "D"

    def data(self, x_name, y_name, x, y, sample_weight=None):
        """`x`, checked now where it is an array, and while it streams where it is a dataset.

        Raises:
            TypeError: x is nothing that holds sequences of numbers, such as a list.
            ValueError: a shape, or a value of an array, is wrong.
        """
        if x is None:
            raise ValueError(f"{x_name} must be given, got None.")
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x_name, x)
        if isinstance(x, _STREAMS):
            return x
        _array(x_name, x)
        self.alone(x_name, y, sample_weight)
        if self.targets:
            self._triple(x_name, y_name, x, y, sample_weight)
        name, value = (y_name, y) if self.targets else (x_name, x)
        self._shape(name, value)
        validation.binary_values(name, np.asarray(value))
        return x

    def alone(self, name, y, sample_weight):
        """Refuse what a generator would not look at.

        Raises:
            ValueError: there is more than x, and no targets are learnt.
        """
        if not self.targets and not (y is None and sample_weight is None):
            raise ValueError(
                f"{name} must come alone, a generator has no targets or sample weights; "
                f"got {'y' if y is not None else 'sample_weight'} as well."
            )

    def batch(self, x, y=None, sample_weight=None):
        """Check the arrays of one batch."""
        if isinstance(x, (tf.data.Dataset, *_STREAMS)):
            raise TypeError(f"x must be one batch, an array or a tensor, got {type(x).__name__}.")
        self.data("x", "y", x, y, sample_weight)

    def inputs(self, x):
        """`x` of a prediction, checked like that of `data`, without targets."""
        if isinstance(x, _STREAMS):
            return x
        if isinstance(x, tf.data.Dataset):
            return self._inputs_dataset(x) if self.targets else self._dataset("x", x, alone=False)
        if not self.targets:
            return self.data("x", "y", x, None)
        if x is None:
            raise ValueError("x must be given, got None.")
        self._inputs("x", x)
        return x

    def validation_data(self, data):
        """The `validation_data` of `fit`, checked."""
        if isinstance(data, tf.data.Dataset):
            return self._dataset("validation_data", data)
        if isinstance(data, (tuple, list)):
            if not 1 <= len(data) <= 3:
                raise ValueError(
                    f"validation_data must be (x, y, sample_weight), got {len(data)} part(s)."
                )
            x, y, *rest = (*data, None)[: max(2, len(data))]
            self.data("validation_data", "validation_data", x, y, *rest)
        else:
            self.data("validation_data", "validation_data", data, None)
        return data

    def _inputs(self, name, x):
        """The inputs of a transducer."""
        _array(name, x)
        validation.shape_of(name, x, ("B", "T", self.features))
        if not np.isfinite(np.asarray(x, dtype="float64")).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity.")

    def _triple(self, x_name, y_name, x, y, sample_weight):
        """The arrays of a transducer."""
        if y is None:
            raise ValueError(f"{y_name} must be given, a transducer learns targets; got None.")
        self._inputs(x_name, x)
        batch, time, _ = x.shape
        _array(y_name, y)
        validation.shape_of(y_name, y, (batch, time, self.units))
        if sample_weight is None:
            return
        _array("sample_weight", sample_weight)
        validation.shape_of("sample_weight", sample_weight, (batch, time))
        weights = np.asarray(sample_weight, dtype="float64")
        if not (weights >= 0.0).all() or np.isinf(weights).any():
            raise ValueError("sample_weight must be finite and not negative, got other values.")
        if not weights.any(axis=1).all():
            empty = int(np.flatnonzero(~weights.any(axis=1))[0])
            raise ValueError(
                "sample_weight must count at least one step of every sequence, "
                f"got only zeros for sequence {empty}."
            )

    def _shape(self, name, value):
        validation.shape_of(name, value, ("B", "T", self.units))
        if value.shape[1] is not None and value.shape[1] < self.shortest:
            raise ValueError(
                f"{name} must have at least {self.shortest} steps, got shape {value.shape}."
            )

    def _dataset(self, name, dataset, alone=True):
        spec = self._predicted(name, dataset.element_spec)
        if alone and isinstance(dataset.element_spec, tuple):
            _, y, sample_weight = (*dataset.element_spec, None, None)[:3]
            self.alone(f"a batch of {name}", y, sample_weight)
        _known_rank(name, dataset.element_spec if self.targets else spec)
        self._shape(f"a batch of {name}", spec)
        if self.targets:
            self.fitting(f"a batch of {name}", *dataset.element_spec)
        return _checked(dataset, lambda parts: self._assertions(name, parts))

    def _inputs_dataset(self, dataset):
        """A dataset whose inputs alone are looked at, as a transducer predicts from them."""
        spec = dataset.element_spec
        inputs = spec[0] if isinstance(spec, tuple) else spec
        _dense("x", inputs)
        _known_rank("x", inputs)
        validation.shape_of("a batch of x", inputs, ("B", "T", self.features))
        return _checked(dataset, lambda parts: [_finite("x", parts[0])])

    def fitting(self, name, x, y=None, sample_weight=None):
        """Compare the shapes of a transducer's batch, as far as they are known.

        Raises:
            ValueError: there are no targets, or a shape does not fit the others.
        """
        if y is None:
            raise ValueError(f"{name} must give (inputs, targets, sample_weight), got no targets.")
        validation.shape_of(f"the inputs of {name}", x, ("B", "T", self.features))
        batch, time = (size or letter for size, letter in zip(x.shape[:2], "BT", strict=True))
        validation.shape_of(f"the targets of {name}", y, (batch, time, self.units))
        if sample_weight is not None:
            validation.shape_of(f"sample_weight of {name}", sample_weight, (batch, time))

    def _assertions(self, name, parts):
        """Of the values of one batch."""
        bits = self._predicted(name, parts)
        values = tf.cast(bits, tf.float32)
        binary = tf.logical_or(tf.equal(values, 0.0), tf.equal(values, 1.0))
        found = [(binary, f"{name} must hold only 0 and 1, got other values", bits)]
        if self.targets:
            found.append(_finite(f"the inputs of {name}", parts[0]))
            sizes = tf.stack([tf.shape(part)[:2] for part in parts])
            message = f"{name} must have as many sequences and steps in all its parts, got"
            found.append((tf.equal(sizes, sizes[0]), message, sizes))
        if self.targets and len(parts) > 2:
            weights = tf.cast(parts[2], tf.float32)
            sound = tf.logical_and(tf.math.is_finite(weights), weights >= 0.0)
            found.append((sound, f"sample_weight of {name} must be finite and not negative"))
            counted = tf.reduce_any(weights > 0.0, axis=-1)
            message = f"sample_weight of {name} must count at least one step of every sequence"
            found.append((counted, message))
        return found

    def _predicted(self, name, data):
        """Of a dataset's element, what is predicted."""
        parts = data if isinstance(data, tuple) else (data,)
        _dense(name, parts[0])
        position = 1 if self.targets else 0
        if len(parts) <= position:
            raise ValueError(
                f"{name} must give (inputs, targets, sample_weight), got {len(parts)} part(s)."
            )
        return parts[position]


def _checked(dataset, assertions):
    """The dataset, whose batches are looked at as they come.

    Args:
        dataset: of tensors, or of tuples of them.
        assertions: of a tuple of tensors, what must be true and what is said where it is not:
            a list of tuples `(bools, *words)`.
    """

    def check(*parts):
        checks = [
            tf.debugging.Assert(tf.reduce_all(right), words) for right, *words in assertions(parts)
        ]
        with tf.control_dependencies(checks):
            parts = tf.nest.map_structure(lambda x: None if x is None else tf.identity(x), parts)
        return parts if len(parts) > 1 else parts[0]

    return dataset.map(check)


def _finite(name, x):
    """That x is finite, for `_checked`."""
    finite = tf.math.is_finite(x) if x.dtype.is_floating else tf.constant(True)
    return finite, f"{name} must be finite, got NaN or infinity"


def _dense(name, spec):
    """Raise TypeError for what is no dense tensor."""
    if not hasattr(spec, "shape") or isinstance(spec, tf.RaggedTensorSpec):
        raise TypeError(f"{name} must give dense tensors, got {spec!r}.")


def _known_rank(name, spec):
    """Raise ValueError for tensors of which nothing is known before they come."""
    for part in tf.nest.flatten(spec):
        if hasattr(part, "shape") and part.shape.rank is None:
            raise ValueError(
                f"{name} must give tensors of a known rank, got {part}; from_generator has "
                "output_signature for that."
            )


def _array(name, value):
    """Raise TypeError for what is no dense array or tensor of numbers."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        raise TypeError(
            f"{name} must be an array, a tensor or a tf.data.Dataset, got {type(value).__name__}."
        )
    validation.numeric(name, value)
