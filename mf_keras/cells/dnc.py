"""The Differentiable Neural Computer as a Keras RNN cell."""

from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing, backend, sparse_linkage, validation
from mf_keras.cells.batch_last import BatchLastDNC
from mf_keras.cells.cell import MAX_INTEGER, MemoryCell, split_interface
from mf_keras.cells.interface import DNCInterface


class DNCState(NamedTuple):
    """State of a DNC after a step; stacked over time, (B, T, ...), it is the trace.

    N slots, W word size, R read heads, H write heads.
    """

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), M
    read_weights: Any  # (B, R, N), w^r
    write_weights: Any  # (B, H, N), w^w
    usage: Any  # (B, N), u
    precedence: Any  # (B, H, N), p
    link: Any  # (B, H, N, N), L
    read_vectors: Any  # (B, R, W), r


class SparselyLinkedState(NamedTuple):
    """State of a DNC whose linkage is "sparse": K links a slot (see `sparse_linkage`)."""

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), M
    read_weights: Any  # (B, R, N), w^r
    write_weights: Any  # (B, H, N), w^w
    usage: Any  # (B, N), u
    precedence: Any  # (B, H, N), p
    link_weights: Any  # (B, H, K, N), the K largest L[i, j] of every slot i
    link_slots: Any  # (B, H, K, N), int32: their j + 1; 0 where there is none
    read_vectors: Any  # (B, R, W), r


class UnlinkedState(NamedTuple):
    """State of a DNC without temporal links."""

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), M
    read_weights: Any  # (B, R, N), w^r
    write_weights: Any  # (B, H, N), w^w
    usage: Any  # (B, N), u
    read_vectors: Any  # (B, R, W), r


# With at least so many rows, and with slots and words up to so long, a loop that XLA compiles for a
# CPU is faster with the batch last: 1.3 to 1.4 times with the paper's sizes, 1.2 times with 32
# slots. With 48 slots, or with words of 64, it is slower, with 1 to 4 rows it is not faster.
_MANY_ROWS = 8
_FEW_TERMS = 32

_STATE_TYPES = {"dense": DNCState, "sparse": SparselyLinkedState, None: UnlinkedState}


@keras.saving.register_keras_serializable(package="mf_keras")
class DNCCell(MemoryCell):
    """Differentiable Neural Computer (Graves et al., Nature 538, 2016) as a Keras RNN cell.

    A step follows the paper's Methods: usage from the last weights, allocation, write lookup on
    M_{t-1}, write, temporal links with the old precedence, precedence, read lookup on M_t, read.
    With several write heads each later head allocates on the usage that the earlier heads'
    allocation would cause, and each head keeps its own links, as in DeepMind's code.

        layer = keras.layers.RNN(DNCCell(keras.layers.GRUCell(64), units=10), return_sequences=True)
        outputs = layer(inputs)  # (B, T, D) -> (B, T, 10)

    Args:
        controller: any Keras RNN cell without dropout, e.g. `keras.layers.GRUCell(64)`. `unroll`
            refuses one that assigns variables in a step, as batch normalization does in training.
        units: size of the output y_t.
        memory_size: N, number of memory slots.
        word_size: W, length of a slot.
        num_reads: R, number of read heads.
        num_writes: number of write heads.
        clip: the controller's output is clipped to [-clip, clip]; None for no clipping.
        learn_initial_memory: start from a trained (N, W) matrix, not from the constant 1e-6.
        masked_lookup: each key comes with a mask of the word's parts that it compares (Csordas and
            Schmidhuber, ICLR 2019, arXiv:1904.10278, "masked content-based addressing").
        erase_on_deallocation: what the free gates release is also erased, M_{t-1} psi_t in place
            of M_{t-1} in the write (the same paper, "de-allocation").
        sharpen_links: forward and backward weightings are raised to a learned power >= 1 and
            normalised (the same paper, "sharpness of temporal link distributions").
        linkage: "dense", the paper's N x N link matrix; "sparse", of which each slot keeps its
            `num_links` strongest links, in time and memory linear in N (after Rae et al. 2016,
            arXiv:1610.09027; see `sparse_linkage`); None for no temporal links: the heads read by
            content alone, and neither read modes nor the fields `precedence` and `link` exist.
        num_links: K, the number of links that a slot keeps if `linkage` is "sparse"; from K = N on
            it computes what "dense" does.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no RNN cell.
        ValueError: a size is below 1, the controller uses dropout, `linkage` is unknown, or there
            are no links to sharpen.
    """

    integer_fields = ("link_slots",)

    def __init__(
        self,
        controller,
        units,
        memory_size=20,
        word_size=16,
        num_reads=4,
        num_writes=1,
        clip=20.0,
        learn_initial_memory=False,
        masked_lookup=False,
        erase_on_deallocation=False,
        sharpen_links=False,
        linkage="dense",
        num_links=8,
        **kwargs,
    ):
        self.masked_lookup = validation.boolean("masked_lookup", masked_lookup)
        self.erase_on_deallocation = validation.boolean(
            "erase_on_deallocation", erase_on_deallocation
        )
        self.sharpen_links = validation.boolean("sharpen_links", sharpen_links)
        self.linkage = validation.one_of("linkage", linkage, tuple(_STATE_TYPES))
        self.num_links = validation.positive_int("num_links", num_links)
        if self.sharpen_links and self.linkage is None:
            raise ValueError("sharpen_links must be False where linkage is None, got True.")
        if self.linkage == "sparse":
            memory_size = validation.positive_int("memory_size", memory_size)
            if memory_size > MAX_INTEGER:
                raise ValueError(
                    f"memory_size must be at most {MAX_INTEGER} where linkage is 'sparse', "
                    f"got {memory_size}."
                )
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
    def state_type(self):
        """The named tuple of the state, which depends on the linkage."""
        return _STATE_TYPES[self.linkage]

    @property
    def interface_size(self):
        """W R + 3 W + 5 R + 3 with one write head and no options; 3 R less without linkage."""
        return sum(self.interface_sizes())

    def interface_sizes(self):
        """The paper's order; what the options add comes last."""
        r, h, w = self.num_reads, self.num_writes, self.word_size
        sizes = [r * w, r, h * w, h, h * w, h * w, r, h, h]
        if self.linkage is not None:
            sizes += [r * (2 * h + 1)]
        if self.masked_lookup:
            sizes += [r * w, h * w]
        if self.sharpen_links:
            sizes += [r * 2 * h]
        return sizes

    def parse(self, interface):
        """The interface vector (B, interface_size) as `DNCInterface`."""
        r, h, w = self.num_reads, self.num_writes, self.word_size
        pieces = split_interface(interface, self.interface_sizes())
        k_r, beta_r, k_w, beta_w, e, v, f, g_a, g_w, *options = pieces
        read_modes = read_masks = write_masks = link_sharpness = None
        if self.linkage is not None:
            pi, *options = options
            read_modes = ops.softmax(ops.reshape(pi, (-1, r, 2 * h + 1)), axis=-1)
        if self.masked_lookup:
            m_r, m_w, *options = options
            read_masks = ops.sigmoid(ops.reshape(m_r, (-1, r, w)))
            write_masks = ops.sigmoid(ops.reshape(m_w, (-1, h, w)))
        if self.sharpen_links:
            link_sharpness = addressing.oneplus(ops.reshape(options[0], (-1, r, 2 * h)))
        return DNCInterface(
            read_keys=ops.reshape(k_r, (-1, r, w)),
            read_strengths=addressing.oneplus(beta_r),
            write_keys=ops.reshape(k_w, (-1, h, w)),
            write_strengths=addressing.oneplus(beta_w),
            erase=ops.sigmoid(ops.reshape(e, (-1, h, w))),
            write_vectors=ops.reshape(v, (-1, h, w)),
            free_gates=ops.sigmoid(f),
            allocation_gates=ops.sigmoid(g_a),
            write_gates=ops.sigmoid(g_w),
            read_modes=read_modes,
            read_masks=read_masks,
            write_masks=write_masks,
            link_sharpness=link_sharpness,
        )

    def memory_shapes(self):
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r, h = self.memory_size, self.word_size, self.num_reads, self.num_writes
        k = min(self.num_links, n)
        links = {"dense": [(h, n), (h, n, n)], "sparse": [(h, n)] + 2 * [(h, k, n)], None: []}
        return [(n, w), (r, n), (h, n), (n,), *links[self.linkage], (r, w)]

    def address(self, interface, state):
        """One step of the memory, in the paper's order."""
        signals = self.parse(interface)
        psi = addressing.retention(signals.free_gates, state.read_weights)
        usage = addressing.update_usage(state.usage, state.write_weights, psi)
        write_weights = self._write_weights(signals, usage, state.memory)
        memory = state.memory
        if self.erase_on_deallocation:
            memory = memory * ops.expand_dims(psi, -1)
        memory = addressing.erase_and_write(
            memory, write_weights, signals.erase, signals.write_vectors
        )
        links = self._links(state, write_weights)
        read_weights = self._read_weights(signals, memory, links, state.read_weights)
        return {
            "memory": memory,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "usage": usage,
            **links,
            "read_vectors": addressing.read(memory, read_weights),
        }

    def _write_weights(self, signals, usage, memory_tm1):
        """w^w = g^w (g^a a + (1 - g^a) c^w): (B, H, N)."""
        content = addressing.content_weights(
            memory_tm1, signals.write_keys, signals.write_strengths, signals.write_masks
        )
        g_a = ops.expand_dims(signals.allocation_gates, -1)  # (B, H, 1)
        g_w = ops.expand_dims(signals.write_gates, -1)
        allocation = self._allocation(usage, g_a * g_w)
        return g_w * (g_a * allocation + (1.0 - g_a) * content)

    def _allocation(self, usage, gates):
        """a of every write head, (B, H, N); a head sees what the heads before it would use."""
        weights = []
        for head in range(self.num_writes):
            if head:
                usage = usage + (1.0 - usage) * gates[:, head - 1] * weights[-1]
            weights.append(addressing.allocation_weights(usage))
        return ops.stack(weights, axis=1)

    def _links(self, state, write_weights):
        """Links with the old precedence, then the precedence: the new values of these fields."""
        if self.linkage is None:
            return {}
        precedence = addressing.update_precedence(state.precedence, write_weights)
        if self.linkage == "dense":
            link = addressing.update_link(state.link, state.precedence, write_weights)
            return {"precedence": precedence, "link": link}
        weights, slots = sparse_linkage.update_link(
            state.link_weights, state.link_slots, state.precedence, write_weights
        )
        return {"precedence": precedence, "link_weights": weights, "link_slots": slots}

    def _follow_links(self, links, read_weights):
        """f and b, (B, R, H, N) each."""
        if self.linkage == "dense":
            return addressing.follow_links(links["link"], read_weights)
        return sparse_linkage.follow_links(links["link_weights"], links["link_slots"], read_weights)

    def _read_weights(self, signals, memory, links, read_weights_tm1):
        """w^r = pi_1 b + pi_2 c^r + pi_3 f, or c^r alone without linkage: (B, R, N)."""
        h = self.num_writes
        content = addressing.content_weights(
            memory, signals.read_keys, signals.read_strengths, signals.read_masks
        )
        if self.linkage is None:
            return content
        forward, backward = self._follow_links(links, read_weights_tm1)
        if self.sharpen_links:
            backward = self._sharpen(backward, signals.link_sharpness[..., :h])
            forward = self._sharpen(forward, signals.link_sharpness[..., h:])
        modes = ops.expand_dims(signals.read_modes, -1)  # (B, R, 2H + 1, 1)
        return (
            ops.sum(modes[:, :, :h] * backward, axis=2)
            + modes[:, :, h] * content
            + ops.sum(modes[:, :, h + 1 :] * forward, axis=2)
        )

    def _sharpen(self, weights, sharpness):
        """S(d, s) of each (read head, write head): (B, R, H, N)."""
        r, h, n = self.num_reads, self.num_writes, self.memory_size
        sharp = addressing.sharpen(
            ops.reshape(weights, (-1, r * h, n)), ops.reshape(sharpness, (-1, r * h))
        )
        return ops.reshape(sharp, (-1, r, h, n))

    def in_loop(self, batch_size):
        """What `unroll` runs over time: a `BatchLastDNC`, where that is faster, or the cell itself.

        Arguments and what it returns are those of `MemoryCell.in_loop`.
        """
        options = self.masked_lookup or self.erase_on_deallocation or self.sharpen_links
        # A subclass may compute something else, and so may a layer that was put in or quantized.
        plain = type(self) is DNCCell and self.linkage == "dense" and not options
        plain = plain and all(_is_linear(layer) for layer in (self.interface, self.readout))
        many = batch_size is None or batch_size >= _MANY_ROWS
        few = max(self.memory_size, self.word_size) <= _FEW_TERMS
        cell, axes = super().in_loop(batch_size)
        if not (plain and many and few and backend.loops_are_compiled()):
            return cell, axes
        last = keras.tree.map_structure(lambda _: -1, axes)
        return BatchLastDNC(self), last._replace(hidden=0, controller=axes.controller)

    def get_config(self):
        """The constructor's arguments, the controller serialized."""
        return {
            **super().get_config(),
            "masked_lookup": self.masked_lookup,
            "erase_on_deallocation": self.erase_on_deallocation,
            "sharpen_links": self.sharpen_links,
            "linkage": self.linkage,
            "num_links": self.num_links,
        }


def _is_linear(layer):
    """Whether a layer is x kernel + bias and nothing else, so that its weights are all there is."""
    return (
        type(layer) is keras.layers.Dense
        and layer.quantization_mode is None
        and layer.use_bias
        and layer.activation is keras.activations.linear
    )
