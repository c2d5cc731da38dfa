"""Environment: what a policy observes, what it does, and what it gets for it."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from mf_keras.outputs import Output
from mf_keras.types import ArrayLike, Config, State, Tensor


class Environment:
    """A task that a `Policy` acts in for `steps` steps: pure functions on a named tuple of tensors.

    An episode begins with a task, a row of x, which holds all that is random about it, so that an
    episode is a pure function of the policy's weights, its noise and x. Shapes use B batch.

    The environment runs inside `unroll`, compiled, beside the policy's cell. So a state is a named
    tuple of tensors with the batch as their first axis and the same shapes and dtypes at every
    step, the step's number included: (B,) of int32.

    A subclass gives the attributes and the methods that raise NotImplementedError here, and is
    registered by `keras.saving.register_keras_serializable`.

    Attributes:
        actions: what an action is, an `mf_keras.outputs.Output`.
        observation_size: how many numbers `observe` gives.
        steps: T, the steps of an episode, at most.
        answer_size: how many real numbers the policy gives in a step beside the parameters of its
            action; rewards may be differentiable in them.
        task: shape of a task, without the batch.
        task_dtype: of tasks: "float32" or "int32".
        values: what a task may hold, in words.
        logs: name of a log of `measures` -> "max" or "min", whichever is better.
    """

    actions: Output
    observation_size: int
    steps: int
    answer_size: int = 0
    task: tuple[int, ...]
    task_dtype: str = "float32"
    values: str
    logs: Mapping[str, str] = MappingProxyType({})

    # What a subclass gives.

    def tasks(self, count: int, seed: int) -> np.ndarray:
        """Tasks (count, *task), drawn at random."""
        raise NotImplementedError(f"{type(self).__name__} must define tasks(count, seed).")

    def valid(self, x: ArrayLike) -> Tensor:
        """Which entries of x, an array or a tensor (B, *task), a task may hold: bools."""
        raise NotImplementedError(f"{type(self).__name__} must define valid(x).")

    def initial(self, x: Tensor) -> State:
        """The state before the first step of the tasks x (B, *task)."""
        raise NotImplementedError(f"{type(self).__name__} must define initial(x).")

    def observe(self, state: State) -> Tensor:
        """What the policy reads, (B, observation_size)."""
        raise NotImplementedError(f"{type(self).__name__} must define observe(state).")

    def step(self, state: State, actions: Tensor, answers: Tensor) -> tuple[Tensor, State]:
        """What happens after an action.

        Args:
            state: the state before it.
            actions: (B, *actions.step), in the dtype that the output carries.
            answers: (B, answer_size), in at least float32.

        Returns:
            `(rewards, state)`: (B,), and the state after it. Rewards of an episode that has ended
            are 0.
        """
        raise NotImplementedError(f"{type(self).__name__} must define step(...).")

    def get_config(self) -> Config:
        """The constructor's arguments."""
        raise NotImplementedError(f"{type(self).__name__} must define get_config().")

    # What it may give.

    def allowed(self, state: State, parameters: Tensor) -> Tensor:
        """The parameters of an action (B, size), those of what is forbidden now set to -1e9.

        Infinities would make NaN in the gradient.
        """
        return parameters

    def running(self, state: State) -> Tensor | None:
        """Which episodes have not ended, (B,) of bool; None where all have `steps` steps."""
        return None

    def measures(self, state: State, rewards: Tensor) -> dict[str, Tensor]:
        """The values (B,) of `logs`.

        Args:
            state: after the last step.
            rewards: (B, T).
        """
        return {}

    @classmethod
    def from_config(cls, config: Config) -> "Environment":
        """An environment from what `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())
        return f"{type(self).__name__}({arguments})"
