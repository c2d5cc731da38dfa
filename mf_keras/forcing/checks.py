"""Checks of training data: arrays at once, datasets by their shapes at once and values later."""

import numpy as np
import tensorflow as tf

from mf_keras import validation


class DataChecks:
    """What the data of a model must be: x alone, or (x, y, sample_weight) with targets.

    Args:
        units: size of a step of what is predicted.
        targets: whether y is predicted, from x; else x itself.
        shortest: steps that a sequence must have.
    """

    def __init__(self, units, targets, shortest):
        self.units = units
        self.targets = targets
        self.shortest = shortest

    def data(self, x_name, y_name, x, y, sample_weight=None):
        """`x`, checked now where it is an array, and while it streams where it is a dataset.

        Raises:
            TypeError: a dataset gives no dense tensors.
            ValueError: a shape, or a value of an array, is wrong.
        """
        if x is None:
            raise ValueError(f"{x_name} must be given, got None.")
        if isinstance(x, tf.data.Dataset):
            return self._dataset(x_name, x)
        if not self.targets and not (y is None and sample_weight is None):
            raise ValueError(
                f"{x_name} must come alone, a generator has no targets or sample weights; "
                f"got {'y' if y is not None else 'sample_weight'} as well."
            )
        if self.targets and hasattr(x, "shape"):
            self._triple(x_name, y_name, x, y, sample_weight)
        name, value = (y_name, y) if self.targets else (x_name, x)
        if hasattr(value, "shape"):
            self._shape(name, value)
            validation.binary_values(name, np.asarray(value))
        return x

    def validation_data(self, data):
        """The `validation_data` of `fit`, checked."""
        if isinstance(data, tf.data.Dataset):
            return self._dataset("validation_data", data)
        if isinstance(data, (tuple, list)):
            x, y, *rest = (*data, None)[: max(2, len(data))]
            self.data("validation_data", "validation_data", x, y, *rest)
        else:
            self.data("validation_data", "validation_data", data, None)
        return data

    def _triple(self, x_name, y_name, x, y, sample_weight):
        """The arrays of a transducer."""
        if y is None:
            raise ValueError(f"{y_name} must be given, a transducer learns targets; got None.")
        validation.shape_of(x_name, x, ("B", "T", "D"))
        batch, time, _ = x.shape
        validation.shape_of(y_name, y, (batch, time, self.units))
        if not np.isfinite(np.asarray(x, dtype="float64")).all():
            raise ValueError(f"{x_name} must be finite, got NaN or infinity.")
        if sample_weight is None:
            return
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

    def _dataset(self, name, dataset):
        spec = self._predicted(name, dataset.element_spec)
        if spec.shape.rank is not None:
            self._shape(f"a batch of {name}", spec)

        def check(*parts):
            bits = self._predicted(name, parts)
            values = tf.cast(bits, tf.float32)
            binary = tf.reduce_all(tf.logical_or(tf.equal(values, 0.0), tf.equal(values, 1.0)))
            message = f"{name} must hold only 0 and 1, got other values"
            checks = [tf.debugging.Assert(binary, [message, bits])]
            if self.targets and len(parts) > 2:
                counted = tf.reduce_all(tf.reduce_any(parts[2] > 0, axis=-1))
                message = f"sample_weight of {name} must count at least one step of every sequence"
                checks.append(tf.debugging.Assert(counted, [message]))
            with tf.control_dependencies(checks):
                parts = tf.nest.map_structure(tf.identity, parts)
            return parts if len(parts) > 1 else parts[0]

        return dataset.map(check)

    def _predicted(self, name, data):
        """Of a dataset's element, what is predicted."""
        parts = data if isinstance(data, tuple) else (data,)
        if not hasattr(parts[0], "shape") or isinstance(parts[0], tf.RaggedTensorSpec):
            raise TypeError(f"{name} must give dense tensors, got {parts[0]!r}.")
        position = 1 if self.targets else 0
        if len(parts) <= position:
            raise ValueError(
                f"{name} must give (inputs, targets, sample_weight), got {len(parts)} part(s)."
            )
        return parts[position]
