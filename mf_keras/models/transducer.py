"""SequenceTransducer: a model that maps input sequences to output sequences."""

from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.models.sequence_model import SequenceModel
from mf_keras.models.unroll import unroll
from mf_keras.types import ArrayLike, Keep, Shape, State, Tensor


@keras.saving.register_keras_serializable(package="mf_keras")
class SequenceTransducer(SequenceModel):
    """Maps (B, T, D) inputs to the logits of (B, T, *step) targets, for tasks such as copying.

    Works with plain Keras losses on its logits, and with the forcing algorithms of this package,
    which use `trace`. Its data are `(inputs, targets, sample_weight)` triples as Keras
    passes them; the weights (B, T) say which steps count. A mask, e.g. of an
    `Embedding(mask_zero=True)` in front, is taken as by `keras.layers.RNN`: a masked step is
    skipped, and Keras' losses do not count it.

        transducer = SequenceTransducer(DNCCell(keras.layers.GRUCell(64), units=6))
        logits = transducer(inputs)  # (B, T, 6), of 6 bits a step

    Args:
        cell: a memory cell, e.g. `DNCCell`; its `units` is the size of `output`.
        output: what a step of the targets is, an `mf_keras.outputs.Output`; None for
            `Bernoulli(cell.units)`, `Categorical(classes)` to classify every step.
        chunk: None, or "sqrt" or a number of steps to train long sequences in little memory
            (gradient checkpointing): the gradient keeps only the states at the ends of such chunks,
            as `unroll` explains.
        dtype: None, or the cell's. The controller computes in its own: give it to that as well.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `cell` is no memory cell, `output` no output, or `chunk` has the wrong type.
        ValueError: `output` is of another size than the cell's units, `chunk` is below 1 or an
            unknown word, or `dtype` is not the cell's.
    """

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs of shape (B, T, D)."""
        if not self.cell.built:
            self.cell.build((None, input_shape[-1]))
            self.cell.built = True

    def call(self, inputs: Tensor, mask: ArrayLike | None = None, training: bool = False) -> Tensor:
        """Logits of every step.

        Args:
            inputs: (B, T, D).
            mask: optional (B, T) of bool, as for `unroll`; Keras passes the mask of the inputs.
            training: passed on to the cell.

        Returns:
            (B, T, size).
        """
        logits, _ = self.trace(inputs, training=training, keep=(), mask=mask)
        return logits

    def compute_mask(self, inputs: Tensor, previous_mask: ArrayLike | None) -> ArrayLike | None:
        """The mask of the inputs, which losses and later layers take."""
        return previous_mask

    def trace(
        self,
        inputs: Tensor,
        training: bool = False,
        keep: Keep = None,
        mask: ArrayLike | None = None,
    ) -> tuple[Tensor, State]:
        """Logits, and what the memory did.

        Args:
            inputs: (B, T, D).
            training: passed on to the cell.
            keep: names of the fields that the trace shall have; the others are None. None for all.
                The gradient needs their states all the same, unless there are chunks.
            mask: optional (B, T) of bool, as for `unroll`.

        Returns:
            `(logits, trace)`: (B, T, size), and the cell's named tuple with (B, T, ...) tensors.
        """
        logits, trace, _ = unroll(
            self.cell, inputs, mask=mask, training=training, keep=keep, chunk=self.chunk
        )
        return logits, trace

    def nll(
        self,
        inputs: ArrayLike,
        targets: ArrayLike,
        sample_weight: ArrayLike | None = None,
        training: bool = False,
        mask: ArrayLike | None = None,
    ) -> Tensor:
        """Negative log-likelihood of the targets.

        Args:
            inputs: (B, T, D).
            targets: (B, T, *step), in the output's form: (B, T, units) of 0/1, (B, T) of tokens.
            sample_weight: optional (B, T), how much each step counts.
            training: passed on to the cell.
            mask: optional (B, T) of bool, as for `unroll`; a masked step does not count.

        Returns:
            (B,), nats, summed over the steps, in at least float32.

        Raises:
            TypeError: an argument is no tensor.
            ValueError: a shape does not fit, or a target is none of a step's values. In a graph
                wrong values end its run (`tf.errors.InvalidArgumentError`), except where XLA
                compiles it as one program.
        """
        inputs = backend.to_tensor("inputs", inputs)
        targets = self.output.to_steps("targets", targets, "float32")
        logits = self(inputs, mask=mask, training=training)
        shape = logits.shape[0] or "B", logits.shape[1] or "T"
        validation.shape_of("targets", targets, (*shape, *self.output.step))
        if sample_weight is not None:
            sample_weight = backend.to_tensor("sample_weight", sample_weight)
            validation.shape_of("sample_weight", sample_weight, shape)
        if mask is not None:
            counted = ops.cast(backend.to_tensor("mask", mask), "bool")
            weights = ops.ones_like(counted, "float32") if sample_weight is None else sample_weight
            sample_weight = ops.where(counted, weights, ops.zeros_like(weights))
        return self.output.nll(targets, logits, sample_weight)

    def export(
        self,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: Any = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> Any:
        """`keras.Model.export`, for sequences of any length unless `input_signature` says which.

        Raises:
            ImportError: Keras does not run on TensorFlow.
            ValueError: the transducer is not built.
        """
        backend.needs_tensorflow(
            "The export of a SavedModel",
            "Save the model as a .keras file, and load and export it on TensorFlow.",
        )
        if not self.built:
            raise ValueError("The transducer must be built before it is exported.")
        if input_signature is None:  # Keras would take the length of the first call
            shape = (None, None, self.cell.input_size)
            input_signature = [keras.InputSpec(shape=shape, dtype=self.input_dtype)]
        return super().export(filepath, format, verbose, input_signature, **kwargs)
