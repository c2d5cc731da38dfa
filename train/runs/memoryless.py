"""A controller without a memory: the baseline of memory cells, by the same code."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras.addressing import Equations
from mf_keras.cells import MemoryCell, Signal
from mf_keras.types import Shape, State, Tensor


class MemorylessState(NamedTuple):
    """State of a cell whose memory is always empty."""

    hidden: Any
    controller: tuple
    memory: Any  # (B, 1, 1), zeros
    read_vectors: Any  # (B, 1, 1), zeros


@keras.saving.register_keras_serializable(package="mf_keras.train")
class MemorylessCell(MemoryCell):
    """A controller with a linear readout and no memory: the baseline, in the same training.

    Its interface and what multiplies the read vector have no effect: of a GRU of H units these are
    4 H + 1 weights and as many more as there are outputs.
    """

    state_type = MemorylessState
    served_fields = ("hidden",)

    def memory_shapes(self) -> dict[str, Shape]:
        """Of one number, which stays 0."""
        return {"memory": (1, 1), "read_vectors": (1, 1)}

    def signals(self) -> list[Signal]:
        """One, which nothing uses; a layer has at least one unit."""
        return [Signal("unused", (1,))]

    def address(self, eq: Equations, signals: SimpleNamespace, state: State) -> dict[str, Tensor]:
        """Nothing is written, nothing is read."""
        zeros = ops.zeros_like(state.memory)
        return {"memory": zeros, "read_vectors": zeros}


def memoryless(controller: keras.layers.Layer, units: int, **sizes: int) -> MemorylessCell:
    """The baseline of a controller; the sizes of a memory make no difference."""
    return MemorylessCell(controller, units, memory_size=1, word_size=1, num_reads=1)
