"""SequenceDiscriminator: a classifier of two kinds of behaviour over time."""

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.frozen import KeepsFrozenParts
from mf_keras.types import Config, Shape, Structure, Tensor

POOLINGS = ("mean", "last", "none")
_EPSILON = 1e-5  # added to the variance: memories are small numbers, to Keras' 1e-3 they are zero


@keras.saving.register_keras_serializable(package="mf_keras")
class PooledGRU(KeepsFrozenParts, keras.layers.Layer):
    """The states of `keras.layers.GRU(units, return_sequences=True)`, pooled over time.

    Under XLA the gradient of Keras' layer copies its buffers once a step, O(T^2) in all; this one
    runs on the scan of `unroll`. The products with the inputs are one product before the loop. The
    mean is summed up within the loop: the scan keeps the states for its gradient, but they are not
    transposed, and no gradient of theirs, (B, T, units), is made.

    Masked steps keep the state, as in Keras, and do not count, whatever they hold.

    Args:
        units: size of the state.
        pooling: "mean" of the states over time, the "last" one, or "none" for all of them.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.
    """

    def __init__(self, units: int, pooling: str = "mean", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = units
        self.pooling = pooling
        self.cell = keras.layers.GRUCell(units, dtype=self.dtype_policy, name="cell")

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs of shape (B, T, F)."""
        if not self.cell.built:
            self.cell.build((None, input_shape[-1]))

    def call(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, T, F), and perhaps a mask (B, T) -> (B, units), or (B, T, units) without pooling."""
        inputs = ops.transpose(inputs, (1, 0, 2))  # (T, B, F)
        time, batch, _ = ops.shape(inputs)
        if mask is not None:
            mask = ops.expand_dims(ops.transpose(ops.cast(mask, "bool")), -1)  # (T, B, 1)
            inputs = ops.where(mask, inputs, ops.zeros_like(inputs))  # 0 times NaN is NaN
        sequences = [ops.matmul(inputs, ops.cast(self.cell.kernel, self.compute_dtype))]
        if mask is not None:
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
        keep = [self.pooling == "none", *(False for _ in carry[1:])]
        sums = [False, *(True for _ in carry[1:])]
        states, (last, *total) = backend.scan(step, variables, carry, sequences, keep, sums=sums)
        if self.pooling == "none":
            return ops.transpose(states[0], (1, 0, 2))
        if self.pooling == "last":
            return last  # padding keeps the last state that counts
        steps = time if mask is None else ops.maximum(ops.sum(ops.cast(mask, "int32"), axis=0), 1)
        return ops.cast(total[0] / ops.cast(steps, total[0].dtype), self.compute_dtype)

    def _step(self, projected, h_tm1):
        """One step of Keras' GRU with `reset_after`, the input's share (B, 3 units) given.

        Both biases are added here: the gradient of one added to all steps at once would be a sum
        over the whole sequence, which is slow in TensorFlow.
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

    def compute_mask(self, inputs: Tensor, previous_mask: Tensor | None = None) -> None:
        """None: nothing is left to mask."""

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {**super().get_config(), "units": self.units, "pooling": self.pooling}


@keras.saving.register_keras_serializable(package="mf_keras")
class SequenceDiscriminator(KeepsFrozenParts, keras.Model):
    """Maps a sequence of hidden states or of memory matrices to one logit.

    A GRU reads the sequence, its states are pooled over time, and a stack of dense layers with
    leaky ReLU ends in the logit. The sizes are those of the paper (Memory Forcing: GRU 128, Dense
    256, 8, 4, 1). With plain ReLU the 8 and 4 unit layers die, and the discriminator stays at
    chance for ever; the paper does not name its activation.

    In mixed_float16 the gradient that a very certain discriminator gives the generator is too small
    for a half float (from a logit of about -16 on); bfloat16 and float32 can represent it.

    Args:
        gru_units: size of the GRU.
        dense_units: sizes of the dense layers before the logit.
        pooling: "mean" of the states over time, or the "last" one; "none" for a logit (B, T, 1) of
            every step, which depends on the steps up to it.
        spectral_normalization: divide the dense kernels by their largest singular value (Miyato et
            al. 2018, arXiv:1802.05957). It works under XLA. The other usual remedy, R1 (Mescheder
            et al. 2018, arXiv:1801.04406), is not offered: its second derivative is right under
            XLA too, but leaves the scan's own gradient for TensorFlow's gradient of a loop.
        layer_normalization: normalise the numbers of every step before the GRU (Ba et al. 2016,
            arXiv:1607.06450), so that a memory of small numbers is read as hidden states are.
        **kwargs: `name` and `dtype`, as for every Keras model.

    Raises:
        TypeError: a size is no integer.
        ValueError: a size is below 1, or `pooling` is unknown.
    """

    def __init__(
        self,
        gru_units: int = 128,
        dense_units: Sequence[int] = (256, 8, 4),
        pooling: str = "mean",
        spectral_normalization: bool = False,
        layer_normalization: bool = False,
        **kwargs: Any,
    ) -> None:
        gru_units = validation.positive_int("gru_units", gru_units)
        if not isinstance(dense_units, (tuple, list)):
            raise TypeError(f"dense_units must be a tuple of integers, got {dense_units!r}.")
        dense_units = [validation.positive_int("dense_units", size) for size in dense_units]
        validation.one_of("pooling", pooling, POOLINGS)
        super().__init__(**kwargs)
        self.supports_masking = True
        self.gru_units = gru_units
        self.dense_units = tuple(dense_units)
        self.pooling = pooling
        self.spectral_normalization = validation.boolean(
            "spectral_normalization", spectral_normalization
        )
        self.layer_normalization = validation.boolean("layer_normalization", layer_normalization)
        self.normalization = None
        if layer_normalization:
            self.normalization = keras.layers.LayerNormalization(
                epsilon=_EPSILON, dtype=self.dtype_policy, name="normalization"
            )
        self.gru = PooledGRU(gru_units, pooling, dtype=self.dtype_policy, name="gru")
        self.dense = [self._dense(size, f"dense_{i}") for i, size in enumerate(dense_units)]
        self.logit = self._dense(1, "logit")

    def _dense(self, units, name):
        layer = keras.layers.Dense(units, dtype=self.dtype_policy, name=name)
        if self.spectral_normalization:
            layer = keras.layers.SpectralNormalization(
                # It assigns the kernel as it reads it: in half floats small updates would be lost.
                layer,
                dtype=self.dtype_policy.variable_dtype,
                name=f"{name}_normalized",
            )
        return layer

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of shape (B, T, ...), or for a list of such."""
        if isinstance(input_shape[0], (list, tuple)):
            input_shape = input_shape[0]
        self.features = math.prod(input_shape[2:])
        if self.normalization is not None:
            self.normalization.build((None, None, self.features))
        self.gru.build((None, None, self.features))
        size = self.gru_units
        for layer, units in zip(self.dense, self.dense_units, strict=True):
            layer.build((None, size))
            size = units
        self.logit.build((None, size))

    def call(self, inputs: Structure, mask: Structure = None, training: bool = False) -> Tensor:
        """The logit of each sequence; positive for the first kind of behaviour.

        Args:
            inputs: (B, T, ...), T >= 1; or a list of several such, whose rows are taken one after
                the other, which is faster than to join large ones.
            mask: optional (B, T) of bool, for a list one or None for each; False marks padding,
                which cannot change the logit.
            training: whether the spectral norms are estimated anew.

        Returns:
            (B, 1); without pooling (B, T, 1).

        Raises:
            TypeError: an argument is no tensor of numbers.
            ValueError: the inputs do not have the size that the weights are built for, or there
                are not as many masks as inputs.
        """
        if not isinstance(inputs, (list, tuple)):
            inputs, mask = [inputs], [mask]
        masks = [None] * len(inputs) if mask is None else mask
        if not isinstance(masks, (list, tuple)) or len(masks) != len(inputs):
            raise ValueError(f"mask must be a list of {len(inputs)} masks or None, got {mask!r}.")
        masked = any(mask is not None for mask in masks)
        pairs = zip(inputs, masks, strict=True)
        groups = [self._sequences(x, mask, masked) for x, mask in pairs]
        x = backend.together_on_cores(lambda x, mask: self.gru(x, mask=mask), groups)
        for layer in self.dense:
            x = ops.leaky_relu(self._apply(layer, x, training))
        return self._apply(self.logit, x, training)

    def _sequences(self, inputs, mask, masked):
        """Inputs as (B, T, F) and the mask, both checked; `masked` if there must be a mask."""
        inputs = backend.to_tensor("inputs", inputs)
        if mask is not None:
            mask = backend.to_tensor("mask", mask)
            validation.shape_of("mask", mask, (inputs.shape[0] or "B", inputs.shape[1] or "T"))
        features = tuple(inputs.shape[2:])
        validation.shape_of("inputs", inputs, ("B", "T", *(size or "F" for size in features)))
        size = math.prod(features)
        if size != self.features:
            raise ValueError(
                f"inputs must have {self.features} features a step, got {size} in {features}."
            )
        batch, time = ops.shape(inputs)[:2]
        if masked and mask is None:
            mask = ops.ones((batch, time), "bool")
        inputs = ops.reshape(inputs, (batch, -1, size))
        if self.normalization is not None:
            if mask is not None:  # NaN in padding would be NaN in the gradient
                counts = ops.expand_dims(ops.cast(mask, "bool"), -1)
                inputs = ops.where(counts, inputs, ops.zeros_like(inputs))
            inputs = self.normalization(inputs)
        return inputs, mask

    def _apply(self, layer, x, training):
        return layer(x, training=training) if self.spectral_normalization else layer(x)

    def compute_mask(self, inputs: Structure, previous_mask: Structure = None) -> None:
        """None: a logit has no steps to mask."""

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "gru_units": self.gru_units,
            "dense_units": list(self.dense_units),
            "pooling": self.pooling,
            "spectral_normalization": self.spectral_normalization,
            "layer_normalization": self.layer_normalization,
        }
