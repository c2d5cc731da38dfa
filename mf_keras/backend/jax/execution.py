"""How loops over time run: XLA compiles all of them; rows are shared out to devices, not cores."""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import keras

from mf_keras.backend.jax.primitives import Scope
from mf_keras.types import Function, Structure


def compiled(function: Function) -> Function:
    """`function` of tensors, compiled anew for every new set of input shapes.

    Variables that it reads are constants of the compiled program; see `CompiledFor`.
    """
    return jax.jit(function)


class CompiledFor:
    """A `compiled` function of a layer's variables, compiled anew when the variables are others.

    They are others after the layer is quantized, or after adapters (LoRA) are added to it. What the
    function assigns is lost.

    Args:
        layer: a Keras layer.
        function: takes tensors and reads the layer's variables.
    """

    def __init__(self, layer: keras.layers.Layer, function: Function) -> None:
        self._layer = layer
        self._function = function
        self._variables: list[keras.Variable] | None = None

    def __call__(self, *args: Structure) -> Structure:
        """What the function gives."""
        variables = self._layer.variables
        if self._variables is None or list(map(id, self._variables)) != list(map(id, variables)):
            self._variables = variables
            self._run = jax.jit(functools.partial(self._of_values, variables))
        return self._run([v.value for v in variables], *args)

    def _of_values(self, variables, values, *args):
        with Scope(variables, values):
            return self._function(*args)


@contextlib.contextmanager
def compiling_loops(wanted: bool = True) -> Iterator[None]:
    """A context in which nothing is special: XLA compiles every loop.

    Args:
        wanted: of no meaning here.
    """
    del wanted
    yield


def loops_are_compiled() -> bool:
    """True."""
    return True


def whole_step(jit_compile: bool | str, run_eagerly: bool) -> bool:
    """Whether Keras is to compile a whole training step, with its loops: unless it shall not.

    Args:
        jit_compile: as for `Forcing.compile`.
        run_eagerly: as for `Forcing.compile`.
    """
    return jit_compile is not False and not run_eagerly


def on_cores(function: Function, *batches: Structure) -> Structure:
    """`function(*batches)`.

    Args:
        function: takes nested structures of tensors (B, ...) and gives one, row by row.
        *batches: its arguments; None stays None.
    """
    return function(*batches)


def together_on_cores(function: Function, groups: Sequence[Sequence[Structure]]) -> Structure:
    """`function` of the rows of several batches, one batch after the other.

    Args:
        function: takes nested structures of tensors (B, ...) and gives one, row by row.
        groups: a list of tuples of its arguments; None stays None, in every tuple.

    Returns:
        What `function` gives of the joined batches.
    """
    if len(groups) == 1:
        return function(*groups[0])
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=0), *map(tuple, groups))
    return function(*joined)


def side_by_side(function: Function, groups: Sequence[Sequence[Structure]]) -> list[Structure]:
    """`[function(*arguments) for arguments in groups]`, as one batch: in one loop for all of them.

    Args:
        function: takes nested structures of tensors (B, ...), and gives one, row by row.
        groups: a list of tuples of its arguments.
    """
    rows = [len(jax.tree.leaves(group)[0]) for group in groups]
    result = together_on_cores(function, groups)
    starts = [sum(rows[:i]) for i in range(len(rows))]
    return [
        jax.tree.map(lambda x, first=first, count=count: x[first : first + count], result)
        for first, count in zip(starts, rows, strict=True)
    ]


def on_cpu() -> bool:
    """Whether there is nothing to compute on but a CPU."""
    return jax.default_backend() == "cpu"


def usable_cores() -> int:
    """The number of cores that this process may use, or of all where the system does not say."""
    if hasattr(os, "sched_getaffinity"):  # only on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
