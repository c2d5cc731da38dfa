"""The Neural Turing Machine as a Keras RNN cell."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing, validation
from mf_keras.addressing import Equations
from mf_keras.cells.cell import MemoryCell, Signal
from mf_keras.types import Config, Shape, State, Tensor


class NTMState(NamedTuple):
    """State of an NTM after a step; stacked over time, (B, T, ...), it is the trace.

    N slots, W word size, R read heads, H write heads.
    """

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), M
    read_weights: Any  # (B, R, N), w of the read heads
    write_weights: Any  # (B, H, N), w of the write heads
    read_vectors: Any  # (B, R, W), r


@keras.saving.register_keras_serializable(package="mf_keras")
class NTMCell(MemoryCell):
    """Neural Turing Machine (Graves, Wayne, Danihelka, 2014, arXiv:1410.5401) as a Keras RNN cell.

    Every head addresses by content (eq. 5, 6), interpolates with its last weighting (eq. 7),
    shifts (eq. 8) and sharpens (eq. 9). Write heads look up M_{t-1}; the read heads look up and
    read M_t, after the write of the same step. The paper leaves the ranges of the key strength and
    of the add vector open: strengths are `oneplus`, as in the DNC, and the add vector is linear.

    The paper leaves the initial weightings open, too. Here every head starts on slot 0. Starting
    from zeros, on a memory of equal rows, all slots would be treated alike for ever: content
    lookup, shift and sharpening keep a uniform weighting uniform.

        layer = keras.layers.RNN(NTMCell(keras.layers.GRUCell(64), units=10), return_sequences=True)
        outputs = layer(inputs)  # (B, T, D) -> (B, T, 10)

    `MemoryCell` explains the arguments from `controller` to `learn_initial_memory`, and `layout`.

    Args:
        shift_range: K; a head can move by -K..K slots a step.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no layer.
        ValueError: a size is below 1, `shift_range` is negative, or `layout` is unknown.
    """

    state_type = NTMState
    any_layout = True

    def __init__(
        self,
        controller: keras.layers.Layer,
        units: int,
        memory_size: int = 20,
        word_size: int = 16,
        num_reads: int = 4,
        num_writes: int = 1,
        shift_range: int = 1,
        clip: float | None = 20.0,
        learn_initial_memory: bool = False,
        layout: str = "auto",
        **kwargs: Any,
    ) -> None:
        self.shift_range = validation.positive_int("shift_range", shift_range, minimum=0)
        super().__init__(
            controller,
            units,
            memory_size=memory_size,
            word_size=word_size,
            num_reads=num_reads,
            num_writes=num_writes,
            clip=clip,
            learn_initial_memory=learn_initial_memory,
            layout=layout,
            **kwargs,
        )

    def memory_shapes(self) -> dict[str, Shape]:
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r, h = self.memory_size, self.word_size, self.num_reads, self.num_writes
        return {
            "memory": (n, w),
            "read_weights": (r, n),
            "write_weights": (h, n),
            "read_vectors": (r, w),
        }

    def signals(self) -> list[Signal]:
        """Those of the read heads, then those of the write heads: (R + H)(W + 2K + 4) + 2 H W."""
        h, w = self.num_writes, self.word_size
        return [
            *self._signals_of_heads("read", self.num_reads),
            *self._signals_of_heads("write", h),
            Signal("erase", (h, w), ops.sigmoid, "e"),
            Signal("add", (h, w), symbol="a"),
        ]

    def _signals_of_heads(self, kind, count):
        """The addressing signals of a group of heads."""
        taps = 2 * self.shift_range + 1
        return [
            Signal(f"{kind}_keys", (count, self.word_size), symbol="k"),
            Signal(f"{kind}_strengths", (count,), addressing.oneplus, "beta"),
            Signal(f"{kind}_gates", (count,), ops.sigmoid, "g"),
            Signal(f"{kind}_shifts", (count, taps), addressing.softmax, "s"),
            Signal(f"{kind}_gammas", (count,), addressing.oneplus, "gamma"),
        ]

    def initial_state(self, batch_size: int | Tensor) -> State:
        """The state before the first step, as the named tuple: every head on slot 0."""
        state = super().initial_state(batch_size)
        slot_0 = ops.one_hot(0, self.memory_size, dtype=self.compute_dtype)  # (N,)
        return state._replace(
            read_weights=state.read_weights + slot_0,
            write_weights=state.write_weights + slot_0,
        )

    def address(self, eq: Equations, signals: SimpleNamespace, state: State) -> dict[str, Tensor]:
        """One step of the memory: write, then read what the write left."""
        content = eq.content_weights(state.memory, signals.write_keys, signals.write_strengths)
        gated = eq.interpolate(content, state.write_weights, signals.write_gates)
        shifted = eq.shift(gated, signals.write_shifts)
        write_weights = eq.sharpen(shifted, signals.write_gammas)
        memory = eq.erase_and_write(state.memory, write_weights, signals.erase, signals.add)

        content = eq.content_weights(memory, signals.read_keys, signals.read_strengths)
        gated = eq.interpolate(content, state.read_weights, signals.read_gates)
        shifted = eq.shift(gated, signals.read_shifts)
        read_weights = eq.sharpen(shifted, signals.read_gammas)
        return {
            "memory": memory,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "read_vectors": eq.read(memory, read_weights),
        }

    def get_config(self) -> Config:
        """The constructor's arguments, the controller serialized."""
        return {**super().get_config(), "shift_range": self.shift_range}
