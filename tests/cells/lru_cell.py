"""A memory that is not in the package: least recently used access (Santoro et al. 2016).

"Meta-Learning with Memory-Augmented Neural Networks", arXiv:1605.06065, section 3, with a
gate for each read head.
"""

from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing
from mf_keras.cells import MemoryCell, Signal


class LRUState(NamedTuple):
    hidden: Any
    controller: tuple
    memory: Any  # (B, N, W), M
    read_weights: Any  # (B, R, N), w^r
    usage: Any  # (B, N), w^u
    read_vectors: Any  # (B, R, W), r


@keras.saving.register_keras_serializable(package="tests")
class LRUCell(MemoryCell):
    """w^w = g w^r_{t-1} + (1 - g) w^lu; the least used slot is erased before the write."""

    state_type = LRUState
    any_layout = True
    decay = 0.95

    def memory_shapes(self):
        n, w, r = self.memory_size, self.word_size, self.num_reads
        return {"memory": (n, w), "read_weights": (r, n), "usage": (n,), "read_vectors": (r, w)}

    def signals(self):
        r, w = self.num_reads, self.word_size
        return [
            Signal("keys", (r, w), symbol="k"),
            Signal("strengths", (r,), addressing.oneplus, "beta"),
            Signal("add", (r, w), symbol="a"),
            Signal("gates", (r,), ops.sigmoid, "g"),
        ]

    def address(self, eq, signals, state):
        least_used = eq.least_used(state.usage)
        each_head = eq.layout.stack([least_used] * self.num_reads)
        write_weights = eq.interpolate(state.read_weights, each_head, signals.gates)
        erased = eq.deallocate(state.memory, 1.0 - least_used)
        memory = erased + eq.layout.contract("hn,hw->nw", write_weights, signals.add)
        read_weights = eq.content_weights(memory, signals.keys, signals.strengths)
        used = ops.sum(read_weights + write_weights, axis=eq.layout.axis(0))
        return {
            "memory": memory,
            "read_weights": read_weights,
            "usage": self.decay * state.usage + used,
            "read_vectors": eq.read(memory, read_weights),
        }
