"""The memory tape of a reinforcement-learning NTM as a Keras RNN cell."""

from types import SimpleNamespace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mf_keras import layouts, validation
from mf_keras.addressing import Equations
from mf_keras.cells.cell import MemoryCell, Signal
from mf_keras.layouts import Layout
from mf_keras.types import Config, Shape, State, Structure, Tensor

MOVES = 3  # -1, 0 and 1
_SYMBOL_GAIN = 4.0  # of the identity that symbols are embedded by at first


class TapeState(NamedTuple):
    """State of a tape cell after a step; stacked over time, (B, T, ...), it is the trace.

    N cells of the tape, W word size, R cells in the window.
    """

    hidden: Any  # (B, units of the controller), h_t
    controller: tuple  # the controller's own state tensors
    memory: Any  # (B, N, W), the tape
    read_weights: Any  # (B, R, N), one-hot: the cells in the window, where it read and wrote
    position: Any  # (B, 1) of int32, of the head
    read_vectors: Any  # (B, R, W), what was in the window before the write
    direct: Any  # (B, W), what direct access added to the last W outputs


@keras.saving.register_keras_serializable(package="mf_keras")
class TapeCell(MemoryCell):
    """The memory of the RL-NTM (Zaremba and Sutskever 2015, arXiv:1505.00521): a tape with a head.

    The head moves by -1, 0 or 1 a step, around the tape's ends. The move is an action, which is
    drawn outside of the cell: the last three inputs are the one-hot vector of the move that was
    drawn after the last step (-1, 0, 1; zeros for none). So the cell is a function of its inputs,
    and in a `Policy` whose last action is a move `Reinforce` trains it. A step is

        move the head; r_t = the cells in its window             window of R cells around the head
        h_t = controller(x_t, r_t)
        m <- sigmoid(f) m + tanh(v)                               for each cell m in the window
        y_t = W [h_t ; r_t] + b

    With `direct_access` the first W inputs are the one-hot vector of the symbol under the head of
    an input tape, s, and the last W outputs are logits of symbols: with E learned and gates g
    between 0 and 1, E s g_1 is added to the cell under the head, E s g_2 and r_t g_3 to the logits.
    The paper's Reverse, RepeatCopy and ForwardReverse fail without it. The authors' code starts
    with E of small random numbers, this cell with a multiple of the identity.

        cell = TapeCell(keras.layers.LSTMCell(25), units=8 + 10, word_size=10, direct_access=True)
        policy = Policy(cell, environments.Tapes(10, 6, 10, steps=20))

    `MemoryCell` explains the other arguments. A step runs batch first only.

    Args:
        num_reads: R, cells in the window, odd numbers on both sides alike; at most N.
        direct_access: whether there is direct access to the input and the memory.
        **kwargs: `name`, `dtype` and `trainable`, as for every Keras layer.

    Raises:
        TypeError: an argument has the wrong type, or `controller` is no layer.
        ValueError: a size is below 1, the window is longer than the tape, or with direct access
            there are fewer `units` than `word_size`.
    """

    state_type = TapeState
    integer_fields = ("position",)
    served_fields = ("hidden", "memory", "read_weights")

    def __init__(
        self,
        controller: keras.layers.Layer,
        units: int,
        memory_size: int = 20,
        word_size: int = 16,
        num_reads: int = 1,
        direct_access: bool = False,
        clip: float | None = 20.0,
        learn_initial_memory: bool = False,
        layout: str = "auto",
        **kwargs: Any,
    ) -> None:
        self.direct_access = validation.boolean("direct_access", direct_access)
        super().__init__(
            controller,
            units,
            memory_size=memory_size,
            word_size=word_size,
            num_reads=num_reads,
            clip=clip,
            learn_initial_memory=learn_initial_memory,
            layout=layout,
            **kwargs,
        )
        if self.num_reads > self.memory_size:
            raise ValueError(
                f"num_reads must be at most memory_size, {self.memory_size}, got {num_reads!r}."
            )
        if self.direct_access:
            if self.units < self.word_size:
                raise ValueError(
                    "units must be at least word_size for direct access, which adds words to the "
                    f"outputs; got {units!r} and {word_size!r}."
                )
            self.symbols = keras.layers.Dense(
                word_size,
                use_bias=False,
                kernel_initializer=keras.initializers.Identity(_SYMBOL_GAIN),
                dtype=self.dtype_policy,
                name="symbols",
            )

    def build(self, input_shape: Shape) -> None:
        """Create the weights for inputs of shape (B, D).

        Raises:
            ValueError: D is unknown or too small, or not what the controller is built for.
        """
        least = MOVES + (self.word_size if self.direct_access else 0)
        if input_shape[-1] is not None and input_shape[-1] < least:
            raise ValueError(
                f"inputs must have at least {least} features, the move and perhaps a symbol, got "
                f"shape {tuple(input_shape)}."
            )
        super().build(input_shape)
        if self.direct_access:
            self.symbols.build((None, self.word_size))

    def memory_shapes(self) -> dict[str, Shape]:
        """Shapes, without the batch, of the state's fields from `memory` on."""
        n, w, r = self.memory_size, self.word_size, self.num_reads
        return {
            "memory": (n, w),
            "read_weights": (r, n),
            "position": (1,),
            "read_vectors": (r, w),
            "direct": (w,),
        }

    def signals(self) -> list[Signal]:
        """Of every cell in the window a forget gate and a word, then the gates of direct access."""
        r, w = self.num_reads, self.word_size
        return [
            Signal("forget", (r,), ops.sigmoid, "f"),
            Signal("words", (r, w), ops.tanh, "v"),
            Signal("gates", (3,), ops.sigmoid, "g", given=self.direct_access),
        ]

    def step(
        self,
        inputs: Tensor,
        state: State,
        training: bool = False,
        layout: Layout = layouts.BATCH_FIRST,
        masks: Structure = None,
    ) -> tuple[Tensor, State]:
        """One time step on the named tuple, as for `MemoryCell`: the head moves first."""
        state = self._moved(ops.cast(inputs, self.compute_dtype), state)
        outputs, state = super().step(inputs, state, training, layout, masks)
        if self.direct_access:
            others = ops.zeros_like(outputs[:, : self.units - self.word_size])
            outputs = outputs + ops.concatenate([others, state.direct], axis=-1)
        return outputs, state

    def _moved(self, inputs, state):
        """The state with the head where it moves, its window, and the input's symbol."""
        move = ops.round(ops.clip(inputs[:, -1] - inputs[:, -MOVES], -1.0, 1.0))
        position = (
            state.position + ops.cast(ops.expand_dims(move, -1), "int32")
        ) % self.memory_size
        window = np.arange(self.num_reads, dtype="int32") - self.num_reads // 2
        cells = (position + ops.convert_to_tensor(window)) % self.memory_size  # (B, R)
        weights = ops.one_hot(cells, self.memory_size, dtype=self.compute_dtype)
        return state._replace(
            position=position,
            read_weights=weights,
            read_vectors=ops.matmul(weights, state.memory),
            direct=self.symbols(inputs[:, : self.word_size])
            if self.direct_access
            else ops.zeros_like(state.direct),
        )

    def address(self, eq: Equations, signals: SimpleNamespace, state: State) -> dict[str, Tensor]:
        """Write to the window; what was read there stays in `read_vectors`."""
        weights, words = state.read_weights, signals.words
        direct = state.direct  # the symbol, embedded
        if self.direct_access:
            gates = ops.expand_dims(signals.gates, -1)  # (B, 3, 1)
            under_head = self.num_reads // 2
            place = ops.one_hot(under_head, self.num_reads, dtype=words.dtype)[:, None]  # (R, 1)
            words = words + place * ops.expand_dims(gates[:, 0] * direct, 1)
            direct = gates[:, 1] * direct + gates[:, 2] * state.read_vectors[:, under_head]
        lost = eq.layout.contract("h,hn->n", 1.0 - signals.forget, weights)  # (B, N)
        memory = state.memory * (1.0 - ops.expand_dims(lost, -1))
        return {
            "memory": memory + eq.layout.contract("hn,hw->nw", weights, words),
            "read_weights": weights,
            "position": state.position,
            "read_vectors": state.read_vectors,
            "direct": direct,
        }

    def get_config(self) -> Config:
        """The constructor's arguments, the controller serialized."""
        config = super().get_config()
        del config["num_writes"]
        return {**config, "direct_access": self.direct_access}
