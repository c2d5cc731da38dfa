"""A GRU layer whose cost is linear in time under XLA, for the discriminators."""

import keras
from keras import ops

from mf_keras import backend


@keras.saving.register_keras_serializable(package="mf_keras")
class LinearTimeGRU(keras.layers.Layer):
    """Gives what `keras.layers.GRU(units, return_sequences=True)` gives, at a cost linear in time.

    Under XLA the gradient of Keras' layer copies its buffers once a step, O(T^2) in all; this one
    runs on the scan of `unroll`. The products with the inputs are one product before the loop.

    Masked steps keep the state and repeat the output, as in Keras.

    Args:
        units: size of the state.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.cell = keras.layers.GRUCell(units, dtype=self.dtype_policy, name="cell")

    def build(self, input_shape):
        """Create the weights for inputs of shape (B, T, F)."""
        if not self.cell.built:
            self.cell.build((None, input_shape[-1]))

    def call(self, inputs, mask=None):
        """All states: (B, T, F) -> (B, T, units)."""
        inputs = ops.transpose(inputs, (1, 0, 2))  # (T, B, F)
        dtype = self.compute_dtype
        projected = ops.matmul(inputs, ops.cast(self.cell.kernel, dtype))
        sequences = [projected]
        if mask is not None:
            sequences.append(ops.transpose(ops.cast(mask, "bool"), (1, 0)))

        def step(h_tm1, inputs_t):
            h_t = self._step(inputs_t[0], h_tm1)
            if mask is not None:
                h_t = ops.where(ops.expand_dims(inputs_t[1], -1), h_t, h_tm1)
            return h_t

        h_0 = ops.zeros((ops.shape(inputs)[1], self.units), dtype=dtype)
        variables = [self.cell.recurrent_kernel, self.cell.bias]
        states, _ = backend.scan(step, variables, h_0, sequences)  # (T, B, units)
        return ops.transpose(states, (1, 0, 2))

    def _step(self, projected, h_tm1):
        """One step of Keras' GRU with `reset_after`, the input's share (B, 3 units) given.

        Both biases are added here: the gradient of one added to all steps at once would be a sum
        over the whole sequence, which TensorFlow takes long for.
        """
        dtype = self.compute_dtype
        kernel = ops.cast(self.cell.recurrent_kernel, dtype)
        input_bias, recurrent_bias = ops.unstack(ops.cast(self.cell.bias, dtype))
        recurrent = ops.matmul(h_tm1, kernel) + recurrent_bias
        x_z, x_r, x_h = ops.split(projected + input_bias, 3, axis=-1)
        h_z, h_r, h_h = ops.split(recurrent, 3, axis=-1)
        update = ops.sigmoid(x_z + h_z)
        reset = ops.sigmoid(x_r + h_r)
        candidate = ops.tanh(x_h + reset * h_h)
        return update * h_tm1 + (1.0 - update) * candidate

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units}
