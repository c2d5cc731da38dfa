"""An output of one file, as a user would write it: steps of numbers that are -1, 0 or 1."""

import keras
import numpy as np
from keras import ops

from mf_keras.outputs import Output


@keras.saving.register_keras_serializable(package="tests")
class Ternary(Output):
    """A step is `units` numbers of -1, 0 and 1: x (B, T, units); three logits a number."""

    dtype = "float32"
    values = "-1, 0 and 1"
    errors_log = "number_errors"

    def __init__(self, units):
        self.units = units
        self.size = self.noise_size = 3 * units
        self.input_size = units
        self.step = (units,)
        self.description = f"{units} number(s) of -1, 0, 1"

    def valid(self, x):
        return (x == -1) | (x == 0) | (x == 1)

    def encode(self, x, dtype):
        return ops.cast(x, dtype)

    def start(self, batch_size, dtype):
        return ops.zeros((batch_size, self.units), dtype=dtype)

    def thresholds(self, noise, temperature):
        return temperature * ops.log(-ops.log(ops.clip(noise, 1e-7, 1.0 - 1e-7)))

    def forced(self, x, dtype="float32"):
        wanted = ops.one_hot(ops.cast(x + 1, "int32"), 3, dtype="bool")
        forced = ops.where(wanted, *(ops.cast(sign * 1e38, dtype) for sign in (-1, 1)))
        return ops.reshape(forced, (*x.shape[:-1], self.noise_size))

    def draw(self, parameters, thresholds):
        logits = ops.cast(parameters, thresholds.dtype) - thresholds
        chosen = ops.argmax(ops.reshape(logits, (-1, self.units, 3)), axis=-1)
        return ops.cast(chosen, parameters.dtype) - 1.0

    def _logits(self, parameters):
        return ops.reshape(parameters, (*ops.shape(parameters)[:-1], self.units, 3))

    def step_nll(self, x, parameters):
        classes = ops.cast(x + 1, "int32")
        logits = self._logits(parameters)
        nll = ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
        return ops.sum(nll, axis=-1)

    def step_errors(self, x, parameters):
        likeliest = ops.argmax(self._logits(parameters), axis=-1)
        wrong = ops.not_equal(ops.cast(likeliest, "int32"), ops.cast(x + 1, "int32"))
        return ops.sum(ops.cast(wrong, "float32"), axis=-1)

    def as_pixels(self, x):
        return (np.asarray(x)[..., 0] + 1.0) / 2.0 if self.units == 1 else super().as_pixels(x)

    def get_config(self):
        return {"units": self.units}
