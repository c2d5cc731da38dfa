"""CopyEnvironment: bits to remember, and a reward only if all of them come back."""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from mf_keras import validation
from mf_keras.environments.environment import Environment
from mf_keras.outputs import Bernoulli
from mf_keras.types import ArrayLike, Config, Tensor


class CopyState(NamedTuple):
    """State of a `CopyEnvironment`."""

    bits: Any  # (B, k)
    time: Any  # (B,) of int32, the steps so far
    right: Any  # (B,), how many bits were given back right


@keras.saving.register_keras_serializable(package="mf_keras")
class CopyEnvironment(Environment):
    """Shows k bits, one a step, and asks for them in k further steps; T = 2k.

    The reward is 1 after the last step if all k bits were right, else 0: a policy that guesses gets
    it with probability 2^-k. A task is the bits, x (B, k). The policy observes three numbers: the
    bit while it is shown, whether bits are shown, and whether they are asked for. Actions are one
    bit each; those of the first k steps have no effect.

    Logs: `right_bits`, of k.

    Args:
        length: k.

    Raises:
        TypeError, ValueError: `length` is no integer >= 1.
    """

    observation_size = 3
    values = "0 and 1"
    logs = {"right_bits": "max"}

    def __init__(self, length: int = 6) -> None:
        self.length = validation.positive_int("length", length)
        self.steps = 2 * self.length
        self.task = (self.length,)
        self.actions = Bernoulli(1)

    def tasks(self, count: int, seed: int) -> np.ndarray:
        """Random bits (count, k)."""
        count = validation.positive_int("count", count)
        random = np.random.default_rng(validation.seed("seed", seed))
        return random.integers(0, 2, size=(count, self.length)).astype("float32")

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries are 0 or 1."""
        return (x == 0) | (x == 1)

    def initial(self, x: Tensor) -> CopyState:
        """Nothing shown yet."""
        zeros = ops.zeros_like(x[:, 0])
        return CopyState(x, ops.cast(zeros, "int32"), zeros)

    def observe(self, state: CopyState) -> Tensor:
        """The bit, shown, asked for: (B, 3)."""
        dtype = state.bits.dtype
        shown = ops.cast(state.time < self.length, dtype)
        return ops.stack([shown * self._bit(state), shown, 1.0 - shown], axis=-1)

    def _bit(self, state):
        """The bit of this step, shown or asked for, (B,)."""
        one_hot = ops.one_hot(state.time % self.length, self.length, dtype=state.bits.dtype)
        return ops.sum(one_hot * state.bits, axis=-1)

    def step(self, state: CopyState, actions: Tensor, answers: Tensor) -> tuple[Tensor, CopyState]:
        """Compare the action with the bit."""
        dtype = state.bits.dtype
        same = ops.equal(ops.cast(actions[:, 0], dtype), self._bit(state))
        right = state.right + ops.cast(same & (state.time >= self.length), dtype)
        time = state.time + 1
        rewards = ops.cast(ops.equal(time, self.steps) & ops.equal(right, self.length), dtype)
        return rewards, CopyState(state.bits, time, right)

    def measures(self, state: CopyState, rewards: Tensor) -> dict[str, Tensor]:
        """How many bits were right."""
        return {"right_bits": state.right}

    def get_config(self) -> Config:
        """The constructor's arguments."""
        return {"length": self.length}
