"""Tapes: an input tape to read and an output tape to write, the interfaces of an RL-NTM."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.environments.environment import Environment
from mf_keras.outputs import Categorical, Joint
from mf_keras.types import ArrayLike, Config, Tensor

NOTHING = -1  # where no symbol is to be written any more
_FORBIDDEN = -1e9
_FORBIDDEN_HALF = -3e4  # float16 ends at 65504


class TapesState(NamedTuple):
    """State of `Tapes`."""

    tape: Any  # (B, L) of int32, the input tape
    targets: Any  # (B, M) of int32, what is to be written
    position: Any  # (B,) of int32, of the head on the input tape
    written: Any  # (B,) of int32, symbols so far
    time: Any  # (B,) of int32, steps so far
    wrong: Any  # (B,), symbols that were written wrong


@keras.saving.register_keras_serializable(package="mf_keras")
class Tapes(Environment):
    """An RL-NTM's input and output tapes (Zaremba and Sutskever 2015, arXiv:1505.00521).

    In a step the policy observes the symbol under the head of the input tape, one-hot, and draws
    three actions: to write or not, and a move -1, 0 or 1 of the head on the input tape, and of the
    one on the memory tape of a `TapeCell`. Its answer are the logits of a symbol. Where it writes,
    the reward is log p of the next target, which is differentiable in the answer; elsewhere 0. An
    episode ends when all targets are written. When there are as many left as steps, it must write.
    Positions on the input tape wrap.

    A task is a row of L + M integers: the input tape, then the targets, and -1 behind them.
    `data.tape_task` and `data.tape_examples` make them.

    Logs: `symbol_errors`, the share of wrong symbols, of the likeliest answers; `solved`, the share
    of episodes without any.

    Args:
        symbols: number of symbols, those that mark the end of a tape included.
        tape_length: L.
        target_length: M, the largest number of targets.
        steps: T, at least M.
        force_forward: whether the head on the input tape must not move back.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is out of range.
    """

    task_dtype = "int32"
    logs = {"symbol_errors": "min", "solved": "max"}

    def __init__(
        self,
        symbols: int,
        tape_length: int,
        target_length: int,
        steps: int,
        force_forward: bool = False,
    ) -> None:
        self.symbols = validation.positive_int("symbols", symbols, minimum=2)
        self.tape_length = validation.positive_int("tape_length", tape_length)
        self.target_length = validation.positive_int("target_length", target_length)
        self.steps = validation.positive_int("steps", steps, minimum=self.target_length)
        self.force_forward = validation.boolean("force_forward", force_forward)
        self.observation_size = self.answer_size = self.symbols
        self.task = (self.tape_length + self.target_length,)
        self.values = f"integers from -1 to {self.symbols - 1}, -1 only behind all targets"
        moves = {"input": Categorical(3), "memory": Categorical(3)}
        self.actions = Joint({"write": Categorical(2), **moves})

    def tasks(self, count: int, seed: int) -> np.ndarray:
        """Random tapes, of which the first symbols are to be copied, M of them or all L."""
        count = validation.positive_int("count", count)
        random = np.random.default_rng(validation.seed("seed", seed))
        tape = random.integers(0, self.symbols, size=(count, self.tape_length), dtype="int32")
        targets = np.full((count, self.target_length), NOTHING, "int32")
        copied = min(self.tape_length, self.target_length)
        targets[:, :copied] = tape[:, :copied]
        return np.concatenate([tape, targets], axis=1)

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are symbols or -1, in the targets -1 only behind the last symbol."""
        entries = (x >= NOTHING) & (x < self.symbols) & (x % 1 == 0)
        targets = x[:, self.tape_length :]
        follows = (targets[:, 1:] == NOTHING) | (targets[:, :-1] != NOTHING)
        join = np.concatenate if isinstance(x, np.ndarray) else ops.concatenate
        first = self.tape_length + 1
        return join([entries[:, :first], entries[:, first:] & follows], axis=1)

    def initial(self, x: Tensor) -> TapesState:
        """Both heads at the start."""
        x = ops.cast(x, "int32")
        zeros = ops.zeros_like(x[:, 0])
        tape, targets = x[:, : self.tape_length], x[:, self.tape_length :]
        return TapesState(tape, targets, zeros, zeros, zeros, ops.cast(zeros, "float32"))

    def observe(self, state: TapesState) -> Tensor:
        """The symbol under the head, (B, symbols)."""
        return ops.one_hot(_at(state.tape, state.position), self.symbols)

    def running(self, state: TapesState) -> Tensor:
        """Which episodes have targets left."""
        return self._left(state) > 0

    def _left(self, state):
        """How many targets are left, (B,) of int32."""
        return self._number(state) - state.written

    def _number(self, state):
        return ops.sum(ops.cast(state.targets != NOTHING, "int32"), axis=1)

    def allowed(self, state: TapesState, parameters: Tensor) -> Tensor:
        """No waiting while targets must be written; no step back where forbidden."""
        late = self._left(state) >= self.steps - state.time
        forbidden = [late & self.running(state)]
        forbidden += [ops.zeros_like(late)] * (parameters.shape[-1] - 1)
        if self.force_forward:
            forbidden[2] = ops.ones_like(late)  # after two entries of `write`
        dtype = keras.backend.standardize_dtype(parameters.dtype)
        low = ops.cast(_FORBIDDEN_HALF if dtype == "float16" else _FORBIDDEN, dtype)
        return ops.where(ops.stack(forbidden, axis=-1), low, parameters)

    def step(
        self, state: TapesState, actions: Tensor, answers: Tensor
    ) -> tuple[Tensor, TapesState]:
        """Write, and move the head on the input tape; the one on the memory tape is the cell's."""
        writes = ops.equal(actions[:, 0], 1) & self.running(state)
        target = _at(state.targets, ops.minimum(state.written, self.target_length - 1))
        wanted = ops.one_hot(target, self.symbols, dtype=answers.dtype)
        log_p = ops.sum(wanted * ops.log_softmax(answers, axis=-1), axis=-1)
        guess = ops.cast(ops.argmax(answers, axis=-1), "int32")
        wrong = ops.cast(writes & (guess != target), state.wrong.dtype)
        after = TapesState(
            state.tape,
            state.targets,
            (state.position + actions[:, 1] - 1) % self.tape_length,
            state.written + ops.cast(writes, "int32"),
            state.time + 1,
            state.wrong + wrong,
        )
        return ops.where(writes, log_p, ops.zeros_like(log_p)), after

    def measures(self, state: TapesState, rewards: Tensor) -> dict[str, Tensor]:
        """The share of wrong symbols, and whether there are none."""
        number = ops.cast(ops.maximum(self._number(state), 1), state.wrong.dtype)
        solved = ops.cast(ops.equal(state.wrong, 0.0), state.wrong.dtype)
        return {"symbol_errors": state.wrong / number, "solved": solved}

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {
            "symbols": self.symbols,
            "tape_length": self.tape_length,
            "target_length": self.target_length,
            "steps": self.steps,
            "force_forward": self.force_forward,
        }


def _at(tape, position):
    """The symbols (B,) of tapes (B, L) at positions (B,)."""
    return ops.take_along_axis(tape, ops.expand_dims(position, 1), axis=1)[:, 0]
