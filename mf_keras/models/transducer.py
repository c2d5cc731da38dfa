"""SequenceTransducer: a model that maps input sequences to binary output sequences."""

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.cells import MemoryCell, check_dtype
from mf_keras.losses import binary_nll
from mf_keras.models.unroll import check_chunk, unroll


@keras.saving.register_keras_serializable(package="mf_keras")
class SequenceTransducer(keras.Model):
    """Maps (B, T, D) inputs to the logits of (B, T, units) bits, for tasks such as copying.

    Works with plain Keras losses on its logits, and with the forcing algorithms of this package,
    which use `trace`. Its data are `(inputs, targets, sample_weight)` triples as Keras
    passes them; the weights (B, T) say which steps count.

        transducer = SequenceTransducer(DNCCell(keras.layers.GRUCell(64), units=6))
        logits = transducer(inputs)  # (B, T, 6)

    Args:
        cell: a memory cell, e.g. `DNCCell`; its `units` is the size of a step of the outputs.
        chunk: None, or "sqrt" or a number of steps to train long sequences in little memory: the
            gradient keeps the states at the ends of such chunks alone, as `unroll` explains.
        dtype: None, or the cell's. The controller computes in its own: give it to that as well.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `cell` is no memory cell, or `chunk` has the wrong type.
        ValueError: `chunk` is below 1 or an unknown word, or `dtype` is not the cell's.
    """

    def __init__(self, cell, chunk=None, dtype=None, **kwargs):
        if not isinstance(cell, MemoryCell):
            raise TypeError(f"cell must be a memory cell such as DNCCell, got {cell!r}.")
        chunk = check_chunk(chunk)
        # The cell casts its own weights, step by step; cast here, their gradients would be rounded.
        dtype = check_dtype(dtype, cell)
        super().__init__(**{"autocast": False, **kwargs, "dtype": dtype})
        self.cell = cell
        self.chunk = chunk
        self.units = cell.units

    def build(self, input_shape):
        """Create the weights for inputs of shape (B, T, D)."""
        if not self.cell.built:
            self.cell.build((None, input_shape[-1]))
            self.cell.built = True

    def call(self, inputs, training=False):
        """Logits of every step.

        Args:
            inputs: (B, T, D).
            training: passed on to the cell.

        Returns:
            (B, T, units).
        """
        logits, _ = self.trace(inputs, training=training, keep=())
        return logits

    def trace(self, inputs, training=False, keep=None):
        """Logits, and what the memory did.

        Args:
            inputs: (B, T, D).
            training: passed on to the cell.
            keep: names of the fields that the trace shall have; the others are None. None for all.
                The gradient needs their states all the same, unless there are chunks.

        Returns:
            `(logits, trace)`: (B, T, units), and the cell's named tuple with (B, T, ...) tensors.
        """
        logits, trace, _ = unroll(self.cell, inputs, training=training, keep=keep, chunk=self.chunk)
        return logits, trace

    def nll(self, inputs, targets, sample_weight=None, training=False):
        """Negative log-likelihood of the targets.

        Args:
            inputs: (B, T, D).
            targets: (B, T, units) of 0/1.
            sample_weight: optional (B, T), how much each step counts.
            training: passed on to the cell.

        Returns:
            (B,), nats, summed over T and units, in at least float32.

        Raises:
            TypeError: an argument is no tensor.
            ValueError: a shape does not fit, or a target is neither 0 nor 1.
        """
        inputs = backend.to_tensor("inputs", inputs)
        targets = backend.to_tensor("targets", targets)
        validation.shape_of("targets", targets, ("B", "T", self.units))
        if backend.is_concrete(targets):
            validation.binary_values("targets", ops.convert_to_numpy(targets))
        if sample_weight is not None:
            sample_weight = backend.to_tensor("sample_weight", sample_weight)
        return binary_nll(targets, self(inputs, training=training), sample_weight)

    def export(self, filepath, *args, **kwargs):
        """`keras.Model.export`, also of what was trained by an algorithm of this package.

        Raises:
            ValueError: the transducer is not built.
        """
        if not self.built:
            raise ValueError("The transducer must be built before it is exported.")
        self(ops.zeros((1, 1, self.cell.input_size), self.cell.compute_dtype))  # Keras wants a call
        return super().export(filepath, *args, **kwargs)

    def get_config(self):
        """The constructor's arguments, the cell serialized."""
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "chunk": self.chunk,
        }

    @classmethod
    def from_config(cls, config):
        """A transducer from what `get_config` gave."""
        cell = keras.saving.deserialize_keras_object(config["cell"])
        return cls(**{**config, "cell": cell, "dtype": None})  # the cell's own


def bit_errors(targets, logits, sample_weight=None):
    """How many thresholded bits are wrong on the steps that count, the copy task's usual measure.

    Args:
        targets: (B, T, units) of 0/1.
        logits: (B, T, units); a bit is predicted 1 where its logit is positive.
        sample_weight: optional (B, T); steps of weight 0 do not count, all others count once.

    Returns:
        (B,) of float32.
    """
    wrong = ops.not_equal(logits > 0, ops.cast(targets, "bool"))
    errors = ops.sum(ops.cast(wrong, "float32"), axis=-1)  # (B, T)
    if sample_weight is not None:
        errors = ops.where(ops.equal(sample_weight, 0), 0.0, errors)
    return ops.sum(errors, axis=-1)


def correct(targets, logits, sample_weight=None):
    """Which sequences are exactly right: every thresholded bit of every step that counts.

    The paper's "Euclidean distance 0 between thresholded output and target".

    Args:
        targets: (B, T, units) of 0/1.
        logits: (B, T, units); a bit is predicted 1 where its logit is positive.
        sample_weight: optional (B, T); steps of weight 0 do not count.

    Returns:
        (B,) of bool.
    """
    return ops.equal(bit_errors(targets, logits, sample_weight), 0.0)


def counted_steps(sample_weight):
    """The number of steps up to the last one that counts; what follows is padding.

    Args:
        sample_weight: (B, T).

    Returns:
        (B,) of int32.
    """
    positions = ops.arange(1, ops.shape(sample_weight)[1] + 1, dtype="int32")
    return ops.max(ops.where(ops.equal(sample_weight, 0), 0, positions), axis=1)
