"""A Bayesian memory, that of the Kanerva Machine, under a controller: a Keras RNN cell."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import kanerva, validation
from mf_keras.addressing import Equations
from mf_keras.cells.cell import MemoryCell, Signal, at_least_float32
from mf_keras.types import Config, Shape, State, Tensor

# A gate below this counts as this: its noise, one over it, stays finite in float32.
_MIN_GATE = 1e-6


class KanervaState(NamedTuple):
    """State of a Kanerva cell after a step; stacked over time, (B, T, ...), it is the trace.

    N slots, W word size, R read heads, H write heads.
    """

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), R, the mean of the memory
    covariance: Any  # (B, N, N), U, between the slots
    read_weights: Any  # (B, R, N), w of the queries
    write_weights: Any  # (B, H, N), w of the words that are written
    read_vectors: Any  # (B, R, W), R^T w


@keras.saving.register_keras_serializable(package="mf_keras")
class KanervaCell(MemoryCell):
    """The memory of the Kanerva Machine (see `mf_keras.kanerva`) as a Keras RNN cell.

    The machine of the papers is a generative model of sets of images (Wu et al. 2018,
    arXiv:1804.01756 and 1811.09556). This cell gives its memory, a normal distribution over
    matrices, to a controller instead. In a step the controller emits a word z and a write gate g
    for each write head, and a query for each read head:

        w = (R R^T + noise I)^-1 R z                      address of the word in the last memory
        R_t, U_t = the memory given the word at w, whose noise is noise / g
        r = R_t^T (R_t R_t^T + noise I)^-1 R_t q          what the new memory makes of each query

    So a closed gate writes nothing, and the covariance U decides where a word goes: the more was
    written at a weighting, the less the next word changes it. U only becomes smaller. Weights may
    be negative, and need not sum to 1. The memory starts at a learned mean, without which all slots
    would be alike for ever, and a learned multiple of the identity as covariance.

    A step solves linear systems of min(N, W) equations; it runs batch first only.

        layer = keras.layers.RNN(
            KanervaCell(keras.layers.GRUCell(64), units=10), return_sequences=True
        )

    `MemoryCell` explains the other arguments.

    Args:
        noise: variance of a word that is written with an open gate, and the ridge of the addresses.
        divergence_weight: above 0, the divergence of the memory after the last step that counts
            from the memory before the first, times this, is a loss: the price of what is written,
            as in the bound of the Kanerva Machine. The algorithms log it as `divergence`, nats.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no Keras layer for one step.
        ValueError: a size is below 1, `noise` is not above 0, `divergence_weight` is below 0, or
            `layout` is unknown or "batch_last".
    """

    state_type = KanervaState
    served_fields = ("hidden", "memory", "covariance", "read_weights", "write_weights")
    initial_memory_stddev = 1.0  # as in the papers

    def __init__(
        self,
        controller: keras.layers.Layer,
        units: int,
        memory_size: int = 32,
        word_size: int = 16,
        num_reads: int = 1,
        num_writes: int = 1,
        noise: float = 1.0,
        divergence_weight: float = 0.0,
        clip: float | None = 20.0,
        layout: str = "auto",
        **kwargs: Any,
    ) -> None:
        self.noise = validation.positive_number("noise", noise)
        self.divergence_weight = validation.real_number("divergence_weight", divergence_weight, 0.0)
        super().__init__(
            controller,
            units,
            memory_size=memory_size,
            word_size=word_size,
            num_reads=num_reads,
            num_writes=num_writes,
            clip=clip,
            learn_initial_memory=True,
            layout=layout,
            **kwargs,
        )

    def memory_shapes(self) -> dict[str, Shape]:
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r, h = self.memory_size, self.word_size, self.num_reads, self.num_writes
        return {
            "memory": (n, w),
            "covariance": (n, n),
            "read_weights": (r, n),
            "write_weights": (h, n),
            "read_vectors": (r, w),
        }

    def signals(self) -> list[Signal]:
        """Words and gates of the write heads, queries of the read heads: H (W + 1) + R W."""
        r, h, w = self.num_reads, self.num_writes, self.word_size
        return [
            Signal("words", (h, w), symbol="z"),
            Signal("write_gates", (h,), ops.sigmoid, "g"),
            Signal("queries", (r, w), symbol="q"),
        ]

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs of shape (B, D).

        Raises:
            ValueError: D is unknown, or not what the controller is built for.
        """
        super().build(input_shape)
        self.initial_log_variance = self.add_weight(
            name="initial_log_variance", shape=(), initializer="zeros", trainable=self.trainable
        )

    def initial_state(self, batch_size: int | Tensor) -> State:
        """The state before the first step, as the named tuple: the learned prior of the memory."""
        state = super().initial_state(batch_size)
        variance = ops.exp(ops.cast(self.initial_log_variance.value, self.compute_dtype))
        unit = ops.eye(self.memory_size, dtype=self.compute_dtype)
        return state._replace(covariance=state.covariance + variance * unit)

    def address(self, eq: Equations, signals: SimpleNamespace, state: State) -> dict[str, Tensor]:
        """One step of the memory: write, then read what the write left."""
        write_weights = kanerva.address(state.memory, signals.words, self.noise)
        noise = self.noise / ops.maximum(signals.write_gates, _MIN_GATE)
        memory, covariance = kanerva.write(
            state.memory, state.covariance, write_weights, signals.words, noise
        )
        read_weights = kanerva.address(memory, signals.queries, self.noise)
        return {
            "memory": memory,
            "covariance": covariance,
            "read_weights": read_weights,
            "write_weights": write_weights,
            "read_vectors": kanerva.read(memory, read_weights),
        }

    @property
    def trace_loss_fields(self) -> dict[str, tuple[str, ...]]:  # type: ignore[override]
        """The divergence, where it has a weight."""
        return {"divergence": ("memory", "covariance")} if self.divergence_weight else {}

    def trace_losses(self, trace: State, sample_weight: Tensor | None) -> dict[str, Tensor]:
        """The divergence of the last memory from the first one, times its weight."""
        batch, time = ops.shape(trace.memory)[:2]
        last = ops.broadcast_to(time - 1, (batch,))
        if sample_weight is not None:
            steps = ops.arange(time, dtype="int32")
            last = ops.max(ops.where(sample_weight > 0, steps, ops.zeros_like(steps)), axis=-1)
        precise = at_least_float32(self.compute_dtype)
        at_last = ops.reshape(last, (-1, 1, 1, 1))
        after = [
            ops.cast(ops.take_along_axis(x, at_last, axis=1)[:, 0], precise)
            for x in (trace.memory, trace.covariance)
        ]
        start = self.initial_state(batch)
        before = [ops.cast(x, precise) for x in (start.memory, start.covariance)]
        return {"divergence": self.divergence_weight * kanerva.divergence(*after, *before)}

    def get_config(self) -> Config:
        """The constructor's arguments, the controller serialized."""
        config = super().get_config()
        del config["learn_initial_memory"]  # always
        return {**config, "noise": self.noise, "divergence_weight": self.divergence_weight}
