"""MemoryChain: a bit at the start of a chain, asked for at its end."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.environments.environment import Environment
from mf_keras.outputs import Categorical
from mf_keras.types import ArrayLike, Config, Tensor


class ChainState(NamedTuple):
    """State of a `MemoryChain`."""

    context: Any  # (B,) of 0 and 1
    time: Any  # (B,) of int32, the steps so far


@keras.saving.register_keras_serializable(package="mf_keras")
class MemoryChain(Environment):
    """The memory length task of bsuite (Osband et al. 2020, arXiv:1908.03568), with one bit.

    The policy observes (1 - t / n, 0, c) with c = -1 or 1 in the first of n steps and 0 in the
    others. The action of the last step is right if it is the bit: a reward of 1, else -1. A task is
    the bit, x (B, 1) of 0 and 1. The second number is bsuite's number of the bit that is asked for,
    which is 0 where there is only one.

    Logs: `right`, the share of episodes with a right answer.

    Args:
        length: n, the steps of an episode.

    Raises:
        TypeError, ValueError: `length` is no integer >= 1.
    """

    observation_size = 3
    task = (1,)
    values = "0 and 1"
    logs = {"right": "max"}

    def __init__(self, length: int = 10) -> None:
        self.length = self.steps = validation.positive_int("length", length)
        self.actions = Categorical(2)

    def tasks(self, count: int, seed: int) -> np.ndarray:
        """Random bits (count, 1)."""
        count = validation.positive_int("count", count)
        random = np.random.default_rng(validation.seed("seed", seed))
        return random.integers(0, 2, size=(count, 1)).astype("float32")

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are 0 or 1."""
        return (x == 0) | (x == 1)

    def initial(self, x: Tensor) -> ChainState:
        """The start of the chain."""
        return ChainState(x[:, 0], ops.zeros_like(ops.cast(x[:, 0], "int32")))

    def observe(self, state: ChainState) -> Tensor:
        """Time left, which bit is asked for, the bit: (B, 3)."""
        dtype = state.context.dtype
        left = 1.0 - ops.cast(state.time, dtype) / self.length
        first = ops.cast(ops.equal(state.time, 0), dtype)
        return ops.stack([left, ops.zeros_like(left), first * (2.0 * state.context - 1.0)], axis=-1)

    def step(
        self, state: ChainState, actions: Tensor, answers: Tensor
    ) -> tuple[Tensor, ChainState]:
        """Compare the last action with the bit."""
        dtype = state.context.dtype
        time = state.time + 1
        right = ops.cast(ops.equal(ops.cast(actions, dtype), state.context), dtype)
        rewards = ops.cast(ops.equal(time, self.length), dtype) * (2.0 * right - 1.0)
        return rewards, ChainState(state.context, time)

    def measures(self, state: ChainState, rewards: Tensor) -> dict[str, Tensor]:
        """1 where the answer was right."""
        return {"right": 0.5 * (1.0 + ops.sum(rewards, axis=1))}

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"length": self.length}
