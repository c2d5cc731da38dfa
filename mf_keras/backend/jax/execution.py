"""How loops over time run: XLA compiles all of them; rows are shared out to devices, not cores."""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import keras
from jax.sharding import PartitionSpec

from mf_keras.backend.jax.primitives import Scope, known_values
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
    """`function` of the rows of a batch; on several devices each has its share of them.

    Args:
        function: takes nested structures of tensors (B, ...) and gives one, row by row. It assigns
            no variable.
        *batches: its arguments; None stays None.

    Returns:
        What `function(*batches)` does.
    """
    return _on_devices(function, batches)


def together_on_cores(function: Function, groups: Sequence[Sequence[Structure]]) -> Structure:
    """`function` of the rows of several batches, one batch after the other; see `on_cores`.

    Args:
        function: takes nested structures of tensors (B, ...) and gives one, row by row.
        groups: a list of tuples of its arguments; None stays None, in every tuple.

    Returns:
        What `function` gives of the joined batches.
    """
    return _join(side_by_side(function, groups))


def side_by_side(function: Function, groups: Sequence[Sequence[Structure]]) -> list[Structure]:
    """`[function(*arguments) for arguments in groups]`, as one batch: in one loop for all of them.

    Args:
        function: takes nested structures of tensors (B, ...), and gives one, row by row.
        groups: a list of tuples of its arguments; None stays None, in every tuple.
    """

    def of_joined(*groups):
        rows = [_rows(group) for group in groups]
        result = function(*_join(groups))
        ends = [sum(rows[: i + 1]) for i in range(len(rows))]
        return [_cut(result, end - size, end) for end, size in zip(ends, rows, strict=True)]

    return _on_devices(of_joined, [tuple(group) for group in groups])


def _on_devices(function, batches):
    """`function(*batches)`, on every device of a `keras.distribution.DataParallel` its rows.

    Left to itself, XLA sums the gradients of the weights over the devices in every step of a loop
    over time; so they are summed once, after it.
    """
    distribution, known = keras.distribution.distribution(), known_values()
    parallel = isinstance(distribution, keras.distribution.DataParallel)
    if not parallel or not known or getattr(_within, "rows", False):
        return function(*batches)
    mesh = distribution.device_mesh.backend_mesh
    if any(len(x) % mesh.size for x in jax.tree.leaves(batches)):
        return function(*batches)

    def of_own_rows(known, batches):
        _within.rows = True
        try:
            with Scope(known=known):
                return function(*batches)
        finally:
            _within.rows = False

    everywhere, rows = PartitionSpec(), PartitionSpec(distribution.batch_dim_name)
    return jax.shard_map(
        of_own_rows, mesh=mesh, in_specs=(everywhere, rows), out_specs=rows, check_vma=False
    )(known, tuple(batches))


# Whether what is traced now are the rows of one device.
_within = threading.local()


def _rows(batches):
    return len(jax.tree.leaves(batches)[0])


def _cut(structure, start, end):
    return jax.tree.map(lambda x: x[start:end], structure)


def _join(parts):
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *pieces: jnp.concatenate(pieces), *parts)


def on_cpu() -> bool:
    """Whether there is nothing to compute on but a CPU."""
    return jax.default_backend() == "cpu"


def usable_cores() -> int:
    """The number of cores that this process may use, or of all where the system does not say."""
    if hasattr(os, "sched_getaffinity"):  # only on Linux
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
