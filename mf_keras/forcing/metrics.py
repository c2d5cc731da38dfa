"""Means over the training steps of an epoch."""

import keras
from keras import ops


class FiniteMean(keras.metrics.Mean):
    """A mean that one bad step does not spoil for the rest of the epoch.

    `update_finite` leaves values that are NaN or infinite out; if there were no others, the mean is
    NaN. `update_state` takes everything, as in Keras.
    """

    def __init__(self, name):
        super().__init__(name=name)
        self.left_out = self.add_variable((), "zeros", self.dtype, name="left_out")

    def update_finite(self, values, sample_weight=None):
        """Take those of the values that are finite."""
        values = ops.cast(values, self.dtype)
        finite = ops.isfinite(values)
        counted = ops.ones_like(values)
        if sample_weight is not None:
            counted = counted * ops.cast(sample_weight, self.dtype)
            values = values * counted
        # The plain sum where it will do, so that the mean is that of Keras to the bit.
        total, nothing = ops.sum(values), ops.zeros_like(values)
        kept = ops.sum(ops.where(finite, values, nothing))
        self.total.assign_add(ops.where(ops.isfinite(total), total, kept))
        self.count.assign_add(ops.sum(ops.where(finite, counted, nothing)))
        self.left_out.assign_add(ops.sum(1.0 - ops.cast(finite, self.dtype)))

    def reset_state(self):
        """Begin an epoch."""
        super().reset_state()
        self.left_out.assign(0.0)

    def result(self):
        """The mean so far: 0 of nothing at all, NaN if all that there was was not finite."""
        nothing = ops.logical_and(ops.equal(self.count, 0.0), self.left_out > 0.0)
        return ops.where(nothing, float("nan"), super().result())
