"""One training step on several devices at once.

Under a `keras.distribution` the step is one of the global batch, whose rows JAX lays on the
devices: there are no replicas, and these functions are `ops.mean`, `cond`, and so on.
"""

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras
from keras import ops

from mf_keras.backend.jax.primitives import cond
from mf_keras.types import Structure, Tensor

__all__ = [
    "apply",
    "check_optimizer",
    "check_steps",
    "check_variables",
    "check_whole_step",
    "cond",
    "distributed",
    "gather",
    "has_workers",
    "log",
    "mean",
    "own",
    "running",
    "scope_of",
    "share",
    "size",
    "summed",
    "total",
]


def running() -> bool:
    """Whether this is the code of a replica: never."""
    return False


def log(value: Tensor) -> Tensor:
    """The value itself."""
    return value


def total(values: Structure) -> Structure:
    """The values themselves."""
    return values


def size(rows: Tensor) -> Tensor:
    """The number of rows (B, ...)."""
    return ops.shape(rows)[0]


def mean(values: Tensor) -> Tensor:
    """The mean of values (B,)."""
    return ops.mean(values)


def gather(values: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The values themselves."""
    return values


def own(whole: Tensor, rows: Tensor) -> Tensor:
    """`whole` itself, (B, ...)."""
    del rows
    return whole


def share(whole: Tensor) -> Tensor:
    """`whole` itself, (n, ...)."""
    return whole


def summed(gradients: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The gradients themselves."""
    return list(gradients)


def apply(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[Tensor | None],
    variables: Sequence[keras.Variable],
) -> None:
    """Move variables by their gradients.

    By `stateless_apply`, since a `LossScaleOptimizer` has no other way on JAX.
    """
    values, state = optimizer.stateless_apply(
        [v.value for v in optimizer.variables], list(gradients), [v.value for v in variables]
    )
    for variable, value in zip([*variables, *optimizer.variables], [*values, *state], strict=True):
        variable.assign(value)


# What only a strategy of `tf.distribute` restricts.


def distributed() -> bool:
    """Whether models are created once for each replica: never."""
    return False


def scope_of(model: keras.Model) -> AbstractContextManager[Any]:
    """A context in which nothing is special."""
    del model
    return contextlib.nullcontext()


def check_whole_step(jit_compile: bool | str, distributed: bool) -> None:
    """Nothing is refused."""


def check_steps(steps_per_execution: int, distributed: bool) -> None:
    """Nothing is refused."""


def check_optimizer(name: str, optimizer: keras.optimizers.Optimizer, strategy: Any) -> None:
    """Nothing is refused."""


def check_variables(model: keras.Model) -> None:
    """Nothing is refused."""


def has_workers(strategy: Any) -> bool:
    """Whether the replicas of a strategy are in several processes: there are none."""
    del strategy
    return False
