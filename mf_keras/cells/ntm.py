"""The Neural Turing Machine as a Keras RNN cell."""

from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing, validation
from mf_keras.cells.cell import MemoryCell, split_interface


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


class NTMHeads(NamedTuple):
    """The addressing signals of a group of heads, squashed into their ranges."""

    keys: Any  # (B, H, W), k
    strengths: Any  # (B, H), beta in [1, inf)
    gates: Any  # (B, H), g in [0, 1]
    shifts: Any  # (B, H, 2K + 1), s, sums to 1
    gammas: Any  # (B, H), gamma in [1, inf)


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

    Args:
        controller: any Keras RNN cell without dropout, e.g. `keras.layers.GRUCell(64)`. `unroll`
            refuses one that assigns variables in a step, as batch normalization does in training.
        units: size of the output y_t.
        memory_size: N, number of memory slots.
        word_size: W, length of a slot.
        num_reads: R, number of read heads.
        num_writes: number of write heads.
        shift_range: K; a head can move by -K..K slots a step.
        clip: the controller's output is clipped to [-clip, clip]; None for no clipping.
        learn_initial_memory: start from a trained (N, W) matrix, not from the constant 1e-6.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no RNN cell.
        ValueError: a size is below 1, `shift_range` is negative, or the controller uses dropout.
    """

    state_type = NTMState

    def __init__(
        self,
        controller,
        units,
        memory_size=20,
        word_size=16,
        num_reads=4,
        num_writes=1,
        shift_range=1,
        clip=20.0,
        learn_initial_memory=False,
        **kwargs,
    ):
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
            **kwargs,
        )

    @property
    def interface_size(self):
        """(R + H) (W + 2K + 4) + 2 H W."""
        return sum(self._interface_sizes())

    def _interface_sizes(self):
        r, h, w = self.num_reads, self.num_writes, self.word_size
        heads = [w, 1, 1, 2 * self.shift_range + 1, 1]
        return [r * n for n in heads] + [h * n for n in heads] + [h * w, h * w]

    def parse(self, interface):
        """(B, interface_size) as `(read heads, write heads, erase, add)`."""
        pieces = split_interface(interface, self._interface_sizes())
        shape = (-1, self.num_writes, self.word_size)
        erase = ops.sigmoid(ops.reshape(pieces[10], shape))
        add = ops.reshape(pieces[11], shape)
        reads = self._heads(pieces[:5], self.num_reads)
        return reads, self._heads(pieces[5:10], self.num_writes), erase, add

    def _heads(self, pieces, count):
        key, strength, gate, shift, gamma = pieces
        return NTMHeads(
            keys=ops.reshape(key, (-1, count, self.word_size)),
            strengths=addressing.oneplus(strength),
            gates=ops.sigmoid(gate),
            shifts=addressing.softmax(ops.reshape(shift, (-1, count, 2 * self.shift_range + 1))),
            gammas=addressing.oneplus(gamma),
        )

    def initial_state(self, batch_size):
        """The state before the first step, as the named tuple: every head on slot 0."""
        state = super().initial_state(batch_size)
        slot_0 = ops.one_hot(0, self.memory_size, dtype=self.compute_dtype)  # (N,)
        return state._replace(
            read_weights=state.read_weights + slot_0,
            write_weights=state.write_weights + slot_0,
        )

    def memory_shapes(self):
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r, h = self.memory_size, self.word_size, self.num_reads, self.num_writes
        return [(n, w), (r, n), (h, n), (r, w)]

    def address(self, interface, state):
        """One step of the memory: write, then read what the write left."""
        reads, writes, erase, add = self.parse(interface)
        write_weights = _weights(writes, state.memory, state.write_weights)
        memory = addressing.erase_and_write(state.memory, write_weights, erase, add)
        read_weights = _weights(reads, memory, state.read_weights)
        return {
            "memory": memory,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "read_vectors": addressing.read(memory, read_weights),
        }

    def get_config(self):
        """The constructor's arguments, the controller serialized."""
        return {**super().get_config(), "shift_range": self.shift_range}


def _weights(heads, memory, weights_tm1):
    """The addressing pipeline of the paper's figure 2: (B, H, N)."""
    content = addressing.content_weights(memory, heads.keys, heads.strengths)
    gated = addressing.interpolate(content, weights_tm1, heads.gates)
    return addressing.sharpen(addressing.shift(gated, heads.shifts), heads.gammas)
