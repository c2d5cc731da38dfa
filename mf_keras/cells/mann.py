"""The memory of one-shot MANN, least recently used access, as a Keras RNN cell."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing, validation
from mf_keras.addressing import Equations
from mf_keras.cells.cell import MemoryCell, Signal
from mf_keras.types import Config, Shape, State, Tensor


class MANNState(NamedTuple):
    """State of a MANN after a step; stacked over time, (B, T, ...), it is the trace.

    N slots, W word size, R heads, each of which reads and writes.
    """

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), M
    read_weights: Any  # (B, R, N), w^r
    write_weights: Any  # (B, R, N), w^w
    usage: Any  # (B, N), w^u
    read_vectors: Any  # (B, R, W), r


@keras.saving.register_keras_serializable(package="mf_keras")
class MANNCell(MemoryCell):
    """Memory-augmented network of Santoro et al. 2016 (arXiv:1605.06065) as a Keras RNN cell.

    Least recently used access. A head writes its key where it has just read, or to the least used
    slot; then it reads what is like its key. In the order of a step, with a gate alpha and a key k
    for each head:

        w^w_t = sigma(alpha) w^r_{t-1} + (1 - sigma(alpha)) w^lu_{t-1}       eq. 7
        M_t = M_{t-1}, the least used slot set to 0, + sum of w^w_t k_t      eq. 8
        w^r_t = softmax of cos(k_t, M_t)                                     eq. 2, 3
        w^u_t = decay w^u_{t-1} + sum of (w^r_t + w^w_t)                     eq. 5

    The paper leaves some of it open. Here there are as many write as read heads, and head j may
    write to the j-th least used slot, so that every write weighting sums to 1; one slot is set to
    0, the least used one, before the write; reads see the write of the same step; ties of usage go
    to the lower slot. Every head starts on slot 0, which starts as used, as in all ports.

    Without strengths, as in the paper, a read is nearly the mean of a large memory: the weight of a
    row of cosine 1 among rows of cosine 0 is e / (e + N - 1), 0.021 for 128 slots.

        layer = keras.layers.RNN(
            MANNCell(keras.layers.LSTMCell(200), units=5), return_sequences=True
        )

    `MemoryCell` explains the other arguments; the sizes are the paper's.

    Args:
        num_reads: R, number of heads, each of which reads and writes.
        decay: of the usage, gamma. 0.95 as in all published code.
        strengths: cosines are multiplied by a learned key strength >= 1 for each head, as in the
            NTM and the DNC; the paper has none.
        write_vectors: what a head writes is a vector of its own, squashed by tanh, instead of its
            key.
        shared_slots: all heads write to all of the R least used slots (eq. 6 with n = R), so that a
            write weighting sums to up to R.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no Keras layer for one step.
        ValueError: a size is below 1, there are fewer slots than heads, `decay` is not in [0, 1],
            or `layout` is unknown.
    """

    state_type = MANNState
    any_layout = True

    def __init__(
        self,
        controller: keras.layers.Layer,
        units: int,
        memory_size: int = 128,
        word_size: int = 40,
        num_reads: int = 4,
        decay: float = 0.95,
        strengths: bool = False,
        write_vectors: bool = False,
        shared_slots: bool = False,
        clip: float | None = 20.0,
        learn_initial_memory: bool = False,
        layout: str = "auto",
        **kwargs: Any,
    ) -> None:
        self.decay = validation.real_number("decay", decay, 0.0, 1.0)
        self.strengths = validation.boolean("strengths", strengths)
        self.write_vectors = validation.boolean("write_vectors", write_vectors)
        self.shared_slots = validation.boolean("shared_slots", shared_slots)
        num_reads = validation.positive_int("num_reads", num_reads)
        memory_size = validation.positive_int("memory_size", memory_size)
        if memory_size < num_reads:
            raise ValueError(
                f"memory_size must be at least num_reads, a slot a head, got {memory_size} and "
                f"{num_reads}."
            )
        super().__init__(
            controller,
            units,
            memory_size=memory_size,
            word_size=word_size,
            num_reads=num_reads,
            num_writes=num_reads,
            clip=clip,
            learn_initial_memory=learn_initial_memory,
            layout=layout,
            **kwargs,
        )

    def memory_shapes(self) -> dict[str, Shape]:
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r = self.memory_size, self.word_size, self.num_reads
        return {
            "memory": (n, w),
            "read_weights": (r, n),
            "write_weights": (r, n),
            "usage": (n,),
            "read_vectors": (r, w),
        }

    def signals(self) -> list[Signal]:
        """Keys and gates, R (W + 1) numbers; what the options add comes last."""
        r, w = self.num_reads, self.word_size
        return [
            Signal("keys", (r, w), symbol="k"),
            Signal("write_gates", (r,), ops.sigmoid, "alpha"),
            Signal("strengths", (r,), addressing.oneplus, "beta", given=self.strengths),
            Signal("write_vectors", (r, w), ops.tanh, "a", given=self.write_vectors),
        ]

    def initial_state(self, batch_size: int | Tensor) -> State:
        """The state before the first step, as the named tuple: every head on slot 0."""
        state = super().initial_state(batch_size)
        slot_0 = ops.one_hot(0, self.memory_size, dtype=self.compute_dtype)  # (N,)
        return state._replace(read_weights=state.read_weights + slot_0, usage=state.usage + slot_0)

    def address(self, eq: Equations, signals: SimpleNamespace, state: State) -> dict[str, Tensor]:
        """One step of the memory, in the paper's order: write, then read."""
        slots = eq.each_least_used(state.usage, self.num_reads)  # (B, R, N)
        least = eq.layout.unstack(slots)[0]
        if self.shared_slots:
            slots = eq.layout.stack([eq.least_used(state.usage, self.num_reads)] * self.num_reads)
        write_weights = eq.least_recently_used_write(state.read_weights, slots, signals.write_gates)
        words = signals.write_vectors if self.write_vectors else signals.keys
        memory = eq.deallocate(state.memory, 1.0 - least)
        memory = memory + eq.layout.contract("hn,hw->nw", write_weights, words)

        strengths = signals.strengths if self.strengths else ops.ones_like(signals.write_gates)
        read_weights = eq.content_weights(memory, signals.keys, strengths)
        used = ops.sum(read_weights + write_weights, axis=eq.layout.axis(0))
        return {
            "memory": memory,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "usage": self.decay * state.usage + used,
            "read_vectors": eq.read(memory, read_weights),
        }

    def get_config(self) -> Config:
        """The constructor's arguments, the controller serialized."""
        config = super().get_config()
        del config["num_writes"]
        return {
            **config,
            "decay": self.decay,
            "strengths": self.strengths,
            "write_vectors": self.write_vectors,
            "shared_slots": self.shared_slots,
        }
