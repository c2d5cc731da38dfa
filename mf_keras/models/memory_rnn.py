"""MemoryRNN: a layer of Keras around a memory cell, on the loop of `unroll`."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.cells import MemoryCell
from mf_keras.layouts import BATCH_FIRST
from mf_keras.models.unroll import check_chunk, check_features, kept_fields, prepare, run
from mf_keras.types import ArrayLike, Chunk, Config, Shape, Structure, Tensor


@keras.saving.register_keras_serializable(package="mf_keras")
class MemoryRNN(keras.layers.RNN):
    """`keras.layers.RNN` for memory cells, on the loop of `unroll`, which is faster.

    It gives the numbers of `keras.layers.RNN(cell, ...)`, to rounding, and takes what that takes:
    masks, initial states, `Bidirectional`, functional and sequential models.

        model = keras.Sequential([keras.Input((None, 8)), MemoryRNN(cell), keras.layers.Dense(2)])

    It differs in these:

    * It can return the trace of the memory.
    * `reset_state()` of a stateful layer sets the cell's own initial state, not zeros.
    * A `mask` keeps whatever the padding holds, NaN included, from outputs and gradients.
    * XLA compiles its loops in training on a CPU too, where Keras leaves a model to TensorFlow (see
      `jit_compile`).

    States are those of `keras.layers.RNN`, a flat list of tensors (B, size); `cell.unpack` gives
    the named tuple. The layer takes both as `initial_state`.

    Args:
        cell: a memory cell, e.g. `DNCCell`.
        return_sequences: return the outputs of all steps, instead of the last one.
        return_state: return the final states, too.
        return_trace: return the states of all steps, too, a dict by the names of the state's
            fields: True for all of them, or names, e.g. `("memory", "read_weights")`.
            `Bidirectional` takes no trace.
        chunk: None, or "sqrt" or a number of steps to train long sequences in little memory
            (gradient checkpointing), as `unroll` explains.
        go_backwards: read the sequence from its end; outputs are in the order of reading.
        stateful: begin with the final states of the batch before, row by row. The initial state is
            copied once, so that a learned initial memory is not learned.
        zero_output_for_mask: outputs of masked steps are 0 instead of the output before.
        jit_compile: whether XLA compiles the loops over time inside of a graph, such as that of
            `fit`, anew for every new shape of the inputs, which takes 10 s or more of CPU time.
            "auto": only in training on a known number of steps, where it saves more than that time;
            `predict` and what `model.export` writes are not compiled by XLA.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: `cell` is no memory cell, or an argument has the wrong type.
        ValueError: `return_trace` names no field of the cell's state, `chunk` is below 1 or an
            unknown word, or `jit_compile` is.
    """

    def __init__(
        self,
        cell: MemoryCell,
        return_sequences: bool = False,
        return_state: bool = False,
        return_trace: bool | Sequence[str] = False,
        chunk: Chunk = None,
        go_backwards: bool = False,
        stateful: bool = False,
        zero_output_for_mask: bool = False,
        jit_compile: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        if not isinstance(cell, MemoryCell):
            raise TypeError(f"cell must be a memory cell such as DNCCell, got {cell!r}.")
        if return_trace is None:
            raise TypeError("return_trace must be True, False or names of fields, got None.")
        if not isinstance(return_trace, bool):
            kept_fields(return_trace, cell.batch_axes(BATCH_FIRST), "return_trace")
            return_trace = tuple(return_trace)
        chunk = check_chunk(chunk)
        flags = {
            "return_sequences": return_sequences,
            "return_state": return_state,
            "go_backwards": go_backwards,
            "stateful": stateful,
            "zero_output_for_mask": zero_output_for_mask,
        }
        for name, value in flags.items():
            validation.boolean(name, value)
        if isinstance(jit_compile, str):
            validation.one_of("jit_compile", jit_compile, ("auto",))
        else:
            validation.boolean("jit_compile", jit_compile)
        super().__init__(cell, **{"autocast": False, **kwargs, **flags})
        self.return_trace = return_trace
        self.chunk = chunk
        self.jit_compile = jit_compile

    def build(self, sequences_shape: Shape, initial_state_shape: Structure = None) -> None:
        """Create the cell's weights for inputs of shape (B, T, D), and the states if stateful.

        Raises:
            ValueError: the shape is another one, or B is unknown where the layer is stateful.
        """
        if len(sequences_shape) != 3:
            raise ValueError(f"sequences must have shape (B, T, D), got {tuple(sequences_shape)}.")
        super().build(sequences_shape, initial_state_shape)

    def call(
        self,
        sequences: Tensor,
        initial_state: Structure = None,
        mask: ArrayLike | None = None,
        training: bool = False,
    ) -> Any:
        """Run the cell over sequences.

        Args:
            sequences: (B, T, D), T >= 1.
            initial_state: the state before the first step, as Keras' flat list of (B, size) tensors
                or as the cell's named tuple; None for the cell's own, or for the states of the
                batch before where the layer is stateful.
            mask: optional (B, T) of bool, as for `unroll`.
            training: passed on to the cell.

        Returns:
            The outputs, (B, T, units) or (B, units). After them, where they are wanted, the trace,
            a dict of (B, T, ...) tensors, and the final states, (B, size) each:
            `outputs, trace, *states`.

        Raises:
            TypeError, ValueError: an argument has the wrong type or shape.
        """
        state = self._start(sequences, initial_state)
        sequences, state, mask = prepare(self.cell, sequences, state, mask, "sequences")
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)
        if self.jit_compile == "auto":
            compiled = bool(training) and sequences.shape[1] is not None
        else:
            compiled = bool(self.jit_compile)
        with backend.compiling_loops(compiled):
            outputs, trace, final = run(
                self.cell,
                sequences,
                state,
                mask,
                training,
                keep=self._keep,
                chunk=self.chunk,
                return_sequences=self.return_sequences,
            )
        if self.zero_output_for_mask and mask is not None:
            counted = mask if self.return_sequences else mask[:, -1]
            outputs = ops.where(ops.expand_dims(counted, -1), outputs, ops.zeros_like(outputs))
        states = self.cell.pack(final)
        if self.stateful:
            for variable, value in zip(self.states, states, strict=True):
                variable.assign(ops.cast(value, variable.dtype))
        return self._result(outputs, trace, states)

    @property
    def _keep(self):
        """Fields of the trace, as `unroll` takes them."""
        if isinstance(self.return_trace, bool):
            return None if self.return_trace else ()
        return self.return_trace

    def _start(self, sequences, initial_state):
        """The named tuple before the first step, or None for the cell's own."""
        if initial_state is None:
            if not self.stateful:
                return None
            rows = self.states[0].shape[0]
            if sequences.shape[0] not in (None, rows):
                raise ValueError(
                    f"sequences must have {rows} rows, as the states of this stateful layer, "
                    f"got shape {tuple(sequences.shape)}."
                )
            initial_state = [variable.value for variable in self.states]
        if isinstance(initial_state, self.cell.state_type):
            return initial_state
        if not isinstance(initial_state, (list, tuple)):
            raise TypeError(
                "initial_state must be a list of tensors (B, size), or the cell's "
                f"{self.cell.state_type.__name__}, got {initial_state!r}."
            )
        dtype = self.cell.compute_dtype
        flat = [ops.cast(backend.to_tensor("initial_state", x), dtype) for x in initial_state]
        try:
            return self.cell.unpack(flat)
        except (ValueError, IndexError) as error:
            raise ValueError(f"initial_state must fit the cell: {error}") from error

    def _result(self, outputs, trace, states):
        """What the layer returns, of tensors, shapes or masks."""
        result = [outputs]
        if self.return_trace:  # Keras takes no None
            names = self._keep or trace._fields
            result.append({name: getattr(trace, name) for name in names})
        if self.return_state:
            result.extend(states)
        return tuple(result) if len(result) > 1 else outputs

    def compute_output_spec(
        self,
        sequences: Tensor,
        initial_state: Structure = None,
        mask: ArrayLike | None = None,
        training: bool = False,
    ) -> Any:
        """What `call` returns of symbolic tensors."""
        check_features(self.cell, sequences, "sequences")
        batch, time, _ = sequences.shape
        state = self.cell.initial_state(1)

        def of_every_step(wanted, x):
            return keras.KerasTensor((batch, time, *x.shape[1:]), x.dtype) if wanted else None

        kept = kept_fields(self._keep, state)
        trace = keras.tree.map_structure(of_every_step, kept, state)
        dtype = self.cell.compute_dtype
        steps = (batch, time) if self.return_sequences else (batch,)
        outputs = keras.KerasTensor((*steps, self.cell.units), dtype)
        states = [keras.KerasTensor((batch, size), dtype) for size in self.cell.state_size]
        return self._result(outputs, trace, states)

    def compute_output_shape(
        self, sequences_shape: Shape, initial_state_shape: Structure = None
    ) -> Any:
        """Shapes of what `call` returns."""
        spec = self.compute_output_spec(keras.KerasTensor(sequences_shape))
        return keras.tree.map_structure(lambda x: x.shape, spec)

    def compute_mask(self, sequences: Structure, previous_mask: ArrayLike | None) -> Any:
        """The mask of the outputs of all steps; None of everything else."""
        mask = keras.tree.flatten(previous_mask)[0] if self.return_sequences else None
        trace = keras.tree.map_structure(lambda _: None, self.cell.batch_axes(BATCH_FIRST))
        return self._result(mask, trace, [None] * len(self.state_size))

    def reset_state(self) -> None:
        """Let the next batch of a stateful layer begin with the cell's own initial state."""
        if self.states is not None:
            start = self.get_initial_state(self.states[0].shape[0])
            for variable, value in zip(self.states, start, strict=True):
                variable.assign(ops.cast(value, variable.dtype))

    def get_config(self) -> Config:
        """The constructor's arguments, the cell serialized."""
        config = {
            **super().get_config(),
            "return_trace": self.return_trace,
            "chunk": self.chunk,
            "jit_compile": self.jit_compile,
        }
        del config["unroll"]
        return config
