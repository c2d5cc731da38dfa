"""The Differentiable Neural Computer as a Keras RNN cell."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import addressing, sparse_linkage, validation
from mf_keras.addressing import Equations
from mf_keras.cells.cell import MAX_INTEGER, MemoryCell, Signal
from mf_keras.types import Config, Shape, State, Tensor


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

    `MemoryCell` explains the arguments from `controller` to `learn_initial_memory`, and `layout`.

    Args:
        masked_lookup: each key comes with a mask of the word's parts that it compares (Csordas and
            Schmidhuber, ICLR 2019, arXiv:1904.10278, "masked content-based addressing").
        erase_on_deallocation: what the free gates release is also erased, M_{t-1} psi_t in place
            of M_{t-1} in the write (the same paper, "de-allocation").
        sharpen_links: forward and backward weightings are raised to a learned power >= 1 and
            normalised (the same paper, "sharpness of temporal link distributions").
        linkage: "dense", the paper's N x N link matrix; "sparse", of which each slot keeps its
            `num_links` strongest links, in time and memory linear in N (after Rae et al. 2016,
            arXiv:1610.09027; see `sparse_linkage`); None for no temporal links: the heads read only
            by content, and neither read modes nor the fields `precedence` and `link` exist.
        num_links: K, the number of links that a slot keeps if `linkage` is "sparse"; from K = N on
            it computes what "dense" does.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no layer.
        ValueError: a size is below 1, `linkage` or `layout` is unknown, there are no links to
            sharpen, or sparse links were to lie with the batch last.
    """

    integer_fields = ("link_slots",)

    def __init__(
        self,
        controller: keras.layers.Layer,
        units: int,
        memory_size: int = 20,
        word_size: int = 16,
        num_reads: int = 4,
        num_writes: int = 1,
        clip: float | None = 20.0,
        learn_initial_memory: bool = False,
        masked_lookup: bool = False,
        erase_on_deallocation: bool = False,
        sharpen_links: bool = False,
        linkage: str | None = "dense",
        num_links: int = 8,
        layout: str = "auto",
        **kwargs: Any,
    ) -> None:
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
            layout=layout,
            **kwargs,
        )

    @property
    def state_type(self) -> Any:
        """The named tuple of the state, which depends on the linkage."""
        return _STATE_TYPES[self.linkage]

    @property
    def any_layout(self) -> bool:  # type: ignore[override]  # it depends on an option
        """Sparse links are batch first."""
        return self.linkage != "sparse"

    def memory_shapes(self) -> dict[str, Shape]:
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r, h = self.memory_size, self.word_size, self.num_reads, self.num_writes
        k = min(self.num_links, n)
        links: dict[str | None, dict[str, Shape]] = {
            "dense": {"precedence": (h, n), "link": (h, n, n)},
            "sparse": {"precedence": (h, n), "link_weights": (h, k, n), "link_slots": (h, k, n)},
            None: {},
        }
        return {
            "memory": (n, w),
            "read_weights": (r, n),
            "write_weights": (h, n),
            "usage": (n,),
            **links[self.linkage],
            "read_vectors": (r, w),
        }

    def signals(self) -> list[Signal]:
        """The paper's control signals, in its order; what the options add comes last.

        W R + 3 W + 5 R + 3 numbers with one write head and no options; 3 R less without linkage.
        """
        r, h, w = self.num_reads, self.num_writes, self.word_size
        linked, masked, sharp = self.linkage is not None, self.masked_lookup, self.sharpen_links
        one_plus, gate, softmax = addressing.oneplus, ops.sigmoid, addressing.softmax
        return [
            Signal("read_keys", (r, w), symbol="k^r"),
            Signal("read_strengths", (r,), one_plus, "beta^r"),
            Signal("write_keys", (h, w), symbol="k^w"),
            Signal("write_strengths", (h,), one_plus, "beta^w"),
            Signal("erase", (h, w), gate, "e"),
            Signal("write_vectors", (h, w), symbol="v"),
            Signal("free_gates", (r,), gate, "f"),
            Signal("allocation_gates", (h,), gate, "g^a"),
            Signal("write_gates", (h,), gate, "g^w"),
            # H backward, content, H forward
            Signal("read_modes", (r, 2 * h + 1), softmax, "pi", given=linked),
            Signal("read_masks", (r, w), gate, "m^r", given=masked),
            Signal("write_masks", (h, w), gate, "m^w", given=masked),
            # H backward, H forward
            Signal("link_sharpness", (r, 2 * h), one_plus, "s", given=sharp),
        ]

    def address(self, eq: Equations, signals: SimpleNamespace, state: State) -> dict[str, Tensor]:
        """One step of the memory, in the paper's order."""
        psi = eq.retention(signals.free_gates, state.read_weights)
        usage = eq.update_usage(state.usage, state.write_weights, psi)
        content = eq.content_weights(
            state.memory, signals.write_keys, signals.write_strengths, signals.write_masks
        )
        gates = signals.allocation_gates, signals.write_gates
        allocation = eq.allocation_of_heads(usage, *gates)
        write_weights = eq.write_weighting(allocation, content, *gates)
        memory = eq.deallocate(state.memory, psi) if self.erase_on_deallocation else state.memory
        memory = eq.erase_and_write(memory, write_weights, signals.erase, signals.write_vectors)
        links = self._links(eq, state, write_weights)
        content = eq.content_weights(
            memory, signals.read_keys, signals.read_strengths, signals.read_masks
        )
        read_weights = self._read_weights(eq, signals, content, links, state.read_weights)
        return {
            "memory": memory,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "usage": usage,
            **links,
            "read_vectors": eq.read(memory, read_weights),
        }

    def _links(self, eq, state, write_weights):
        """Links with the old precedence, then the precedence: the new values of these fields."""
        if self.linkage is None:
            return {}
        precedence = eq.update_precedence(state.precedence, write_weights)
        if self.linkage == "dense":
            link = eq.update_link(state.link, state.precedence, write_weights)
            return {"precedence": precedence, "link": link}
        weights, slots = sparse_linkage.update_link(
            state.link_weights, state.link_slots, state.precedence, write_weights
        )
        return {"precedence": precedence, "link_weights": weights, "link_slots": slots}

    def _read_weights(self, eq, signals, content, links, read_weights_tm1):
        """w^r, from the content weightings and, where there are any, the links."""
        if self.linkage is None:
            return content
        forward, backward = self._follow_links(eq, links, read_weights_tm1)
        if self.sharpen_links:
            s_b, s_f = eq.layout.split(signals.link_sharpness, 2 * [self.num_writes], 1)
            backward, forward = eq.sharpen_links(backward, s_b), eq.sharpen_links(forward, s_f)
        return eq.read_weighting(backward, content, forward, signals.read_modes)

    def _follow_links(self, eq, links, read_weights):
        """f and b."""
        if self.linkage == "dense":
            return eq.follow_links(links["link"], read_weights)
        return sparse_linkage.follow_links(links["link_weights"], links["link_slots"], read_weights)

    def get_config(self) -> Config:
        """The constructor's arguments, the controller serialized."""
        return {
            **super().get_config(),
            "masked_lookup": self.masked_lookup,
            "erase_on_deallocation": self.erase_on_deallocation,
            "sharpen_links": self.sharpen_links,
            "linkage": self.linkage,
            "num_links": self.num_links,
        }
