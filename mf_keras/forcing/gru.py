"""A GRU that sums a sequence up in one vector, at a cost linear in time under XLA."""

import keras
from keras import ops

from mf_keras import backend

POOLINGS = ("mean", "last")


@keras.saving.register_keras_serializable(package="mf_keras")
class PooledGRU(keras.layers.Layer):
    """The states of `keras.layers.GRU(units, return_sequences=True)`, pooled over time.

    Under XLA the gradient of Keras' layer copies its buffers once a step, O(T^2) in all; this one
    runs on the scan of `unroll`. The products with the inputs are one product before the loop. The
    mean is summed up within the loop: the scan keeps the states for its gradient, but they are not
    transposed, and no gradient of theirs, (B, T, units), is made.

    Masked steps keep the state, as in Keras, and do not count.

    Args:
        units: size of the state.
        pooling: "mean" of the states over time, or the "last" one.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.
    """

    def __init__(self, units, pooling="mean", **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.pooling = pooling
        self.cell = keras.layers.GRUCell(units, dtype=self.dtype_policy, name="cell")

    def build(self, input_shape):
        """Create the weights for inputs of shape (B, T, F)."""
        if not self.cell.built:
            self.cell.build((None, input_shape[-1]))

    def call(self, inputs, mask=None):
        """(B, T, F), and perhaps a mask (B, T) -> (B, units)."""
        inputs = ops.transpose(inputs, (1, 0, 2))  # (T, B, F)
        time, batch, _ = ops.shape(inputs)
        sequences = [ops.matmul(inputs, ops.cast(self.cell.kernel, self.compute_dtype))]
        if mask is not None:
            mask = ops.expand_dims(ops.transpose(ops.cast(mask, "bool")), -1)  # (T, B, 1)
            sequences.append(mask)

        def step(carry, inputs_t):
            h_tm1, *total = carry
            h_t = h_new = self._step(inputs_t[0], h_tm1)
            if mask is not None:
                h_t = ops.where(inputs_t[1], h_new, h_tm1)
                h_new = ops.where(inputs_t[1], h_new, 0.0)
            return h_t, *(x + ops.cast(h_new, x.dtype) for x in total)

        carry = [ops.zeros((batch, self.units), dtype=self.compute_dtype)]
        if self.pooling == "mean":  # a half float could not hold the sum of a long sequence
            precise = keras.backend.result_type(self.compute_dtype, "float32")
            carry.append(ops.zeros((batch, self.units), dtype=precise))
        variables = [self.cell.recurrent_kernel, self.cell.bias]
        nothing = [False] * len(carry)
        sums = [False, *(True for _ in carry[1:])]
        _, (last, *total) = backend.scan(step, variables, carry, sequences, nothing, sums=sums)
        if self.pooling == "last":
            return last  # padding keeps the last state that counts
        steps = time if mask is None else ops.maximum(ops.sum(ops.cast(mask, "int32"), axis=0), 1)
        return ops.cast(total[0] / ops.cast(steps, total[0].dtype), self.compute_dtype)

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

    def compute_mask(self, inputs, previous_mask=None):
        """None: nothing is left to mask."""

    def get_config(self):
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "pooling": self.pooling}
