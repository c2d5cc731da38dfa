"""What `keras.ops` lacks: gradients, branches that assign variables, concrete tensors, rows."""

import contextlib
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import tensorflow as tf

from mf_keras.backend.tensorflow.execution import compiling_loops
from mf_keras.types import ArrayLike, Function, Structure, Tensor


def pullback(
    function: Function, variables: Sequence[Any], sources: Sequence[Tensor] = ()
) -> tuple[list[Tensor], Any, Function]:
    """`function(*sources)`, and the function that pulls cotangents of its targets back.

    Args:
        function: gives `(targets, aux)`, a list of tensors and anything else.
        variables: Keras variables that are to get gradients.
        sources: tensors that are to get gradients.

    Returns:
        `(targets, aux, pull)`. `pull(cotangents)`, one for each target, gives
        `(to_variables, to_sources)`: the gradients of sum(target x cotangent), None where there is
        none. It can be called once.
    """
    variables, sources = list(variables), list(sources)
    with tf.GradientTape() as tape:
        tape.watch(sources)
        targets, aux = function(*sources)

    def pull(cotangents: Sequence[Tensor]) -> Any:
        return tape.gradient(targets, (variables, sources), list(cotangents))

    return targets, aux, pull


def cond(predicate: Tensor, true_fn: Function, false_fn: Function) -> Any:
    """One of two functions, which give tensors of one structure and may assign variables.

    Where the replicas of a strategy exchange tensors within, it is `replicas.cond`.
    """
    return tf.cond(predicate, true_fn, false_fn)


def step(function: Function) -> Function:
    """A decorator for the training, test and prediction steps of a `Forcing`.

    Loops in it are compiled if `compiles_loops` of the `Forcing` is True; if it is "auto", where
    the number of steps T of the data (B, T, ...) is known, for which XLA compiles anew.
    """

    @functools.wraps(function)
    def run(self, data):
        wanted = self.compiles_loops
        if wanted == "auto":
            wanted = _known_lengths(data)
        with compiling_loops(wanted):
            return function(self, data)

    return run


def _known_lengths(data):
    """Whether the second axis of all tensors is known, of those that have one."""
    shapes = [x.shape for x in tf.nest.flatten(data) if tf.is_tensor(x)]
    return all(shape.rank is None or shape.rank < 2 or shape[1] is not None for shape in shapes)


def unknown_to_keras(optimizers: Iterable[keras.optimizers.Optimizer | None]) -> list[Any]:
    """The variables of further optimizers that must be among those of the model: none.

    TensorFlow changes a variable where it is.
    """
    del optimizers
    return []


def keeping_values(model: keras.Model) -> Any:
    """A context in which nothing is special: variables always have values."""
    del model
    return contextlib.nullcontext()


def after(tensors: Sequence[Tensor]) -> Any:
    """A context in which computation begins when these tensors are there."""
    return tf.control_dependencies(tensors)


def to_tensor(name: str, value: ArrayLike) -> Tensor:
    """`value` as a tensor.

    Raises:
        TypeError: it cannot be one.
    """
    wrong = f"{name} must be a tensor of numbers, got {type(value).__name__}."
    try:
        tensor = keras.ops.convert_to_tensor(value)
        if isinstance(tensor, tf.Variable):  # which Keras leaves as it is
            tensor = tf.convert_to_tensor(tensor)
    except Exception as error:
        raise TypeError(wrong) from error
    real = isinstance(tensor, tf.Tensor) and not tensor.dtype.is_complex  # not ragged, not sparse
    if not real or tensor.dtype == tf.string:
        raise TypeError(wrong)
    return tensor


def required(tensors: Structure, right: Tensor, words: str, value: Tensor) -> Structure:
    """`tensors`, once a condition has been seen to hold.

    In a graph it is an assertion. XLA drops it from what it compiles as one program, such as a
    `tf.function(jit_compile=True)`, where nothing is checked.

    Args:
        tensors: a nested structure of tensors; None stays None.
        right: bools, which must all be True.
        words: the message where one is not.
        value: what to show of it then.

    Raises:
        tf.errors.InvalidArgumentError: when it runs, if the condition does not hold.
    """
    check = tf.debugging.Assert(tf.reduce_all(right), [words, value])
    # Of an assertion that ran at once, in eager code, there is no operation.
    with tf.control_dependencies([] if check is None else [check]):
        return tf.nest.map_structure(lambda x: None if x is None else tf.identity(x), tensors)


def is_concrete(tensor: Tensor) -> bool:
    """Whether the tensor has values now, rather than in a graph that is being traced."""
    return hasattr(tensor, "numpy") and tf.executing_eagerly()


def read_rows(variable: keras.Variable, rows: Tensor) -> Tensor:
    """Rows of a Keras variable, (n, ...), without reading the others where TensorFlow can.

    Args:
        variable: a Keras variable (m, ...).
        rows: (n,) of integers.
    """
    return tf.gather(variable.value, rows)


def write_rows(variable: keras.Variable, rows: Tensor, values: Tensor, in_place: bool) -> None:
    """Set rows of a Keras variable.

    Args:
        variable: a Keras variable (m, ...).
        rows: (n,) of integers, none of them twice.
        values: (n, ...).
        in_place: whether only these rows may be written; otherwise the variable is copied and
            assigned, as a strategy and a `keras.StatelessScope` need it.
    """
    values = tf.cast(values, variable.dtype)
    if in_place and not tf.distribute.has_strategy():
        variable.value.scatter_update(tf.IndexedSlices(values, rows))
    else:
        variable.assign(keras.ops.scatter_update(variable, rows[:, None], values))


def has_state(variable: keras.Variable) -> bool:
    """Whether an assignment changes the Keras variable itself, and not a `StatelessScope`."""
    return isinstance(variable.value, tf.Variable)


def needs_tensorflow(what: str, instead: str) -> None:
    """Refuse what only TensorFlow has: nothing here.

    Args:
        what: the part of this package.
        instead: a sentence that says what to do.
    """
