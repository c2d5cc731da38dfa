"""Steps of training: gradients, branches that assign variables, the order of computation."""

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mf_keras.backend.tensorflow.compilation import compiling_loops
from mf_keras.types import Function, Tensor


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

    Loops are compiled within if `compile` was told so.
    """

    @functools.wraps(function)
    def run(self, data):
        with compiling_loops(self.compiles_loops):
            return function(self, data)

    return run


def after(tensors: Sequence[Tensor]) -> Any:
    """A context in which computation begins when these tensors are there."""
    return tf.control_dependencies(tensors)
