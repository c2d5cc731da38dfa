"""The scan: a loop over time whose gradient costs O(T) time and memory."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import keras
from jax import lax

from mf_keras.backend.jax.primitives import Scope
from mf_keras.types import Chunk, Function, Structure


def scan(
    step: Function,
    variables: Sequence[keras.Variable],
    carry: Structure,
    inputs: Structure,
    keep: Structure = None,
    chunk: Chunk = None,
    sums: Structure = None,
    constants: Sequence[keras.Variable] = (),
) -> tuple[Structure, Structure]:
    """Run `step` over time and keep what it carries; its gradient costs O(T) time and memory.

    The forward loop keeps the carries for the gradient, which goes backwards and runs each step
    again (`jax.checkpoint`); JAX's own gradient of a loop would keep all intermediates.

    With `chunk` the forward loop keeps for the gradient only the carry before every chunk-th step,
    and the gradient runs each chunk forwards once more before it goes through it backwards.

    Args:
        step: function `(carry, inputs_t) -> carry` of the same structure, shapes and dtypes. It may
            read `variables` and tensors that need no gradient, and nothing else.
        variables: Keras variables that `step` reads and that receive gradients.
        carry: nested structure of tensors, (B, ...) each: the carry before the first step. Integers
            pass no gradient on.
        inputs: nested structure of tensors, (T, B, ...) each.
        keep: structure of bools like `carry`: which of its tensors to return from every step; None
            for all of them.
        chunk: None, a number of steps >= 1, or "sqrt" for the square root of T.
        sums: structure of bools like `carry`: which of its tensors the step only adds to. JAX finds
            that out by itself.
        constants: further Keras variables that `step` may read, such as random states.

    Raises:
        ValueError: `step` assigns a variable, which the loop would lose.

    Returns:
        `(stacked, carry)`: the carries after steps 1..T, (T, B, ...) for every tensor of `carry`
        that is kept and None for the others; and the carry after step T.
    """
    del sums, constants
    flat_carry = keras.tree.flatten(carry)
    flat_inputs = keras.tree.flatten(inputs)
    flat_keep = [True] * len(flat_carry) if keep is None else keras.tree.flatten(keep)
    pack = keras.tree.pack_sequence_as
    values = [variable.value for variable in variables]
    # Half floats would soon be too coarse to add one more step to the sum of the steps before.
    weights = [value.astype(_precise(value.dtype)) for value in values]

    def body(carry_tm1, inputs_t):
        own = [w.astype(value.dtype) for w, value in zip(weights, values, strict=True)]
        with Scope(variables, own) as scope:
            carry_t = step(pack(carry, carry_tm1), pack(inputs, inputs_t))
        _check_unassigned(scope)
        carry_t = keras.tree.flatten(carry_t)
        return carry_t, [x if kept else None for x, kept in zip(carry_t, flat_keep, strict=True)]

    last, stacked = _run(body, flat_carry, flat_inputs, chunk)
    return pack(carry, stacked), pack(carry, last)


def _run(body, carry, inputs, chunk):
    """`lax.scan(body, carry, inputs)`, of which the gradient keeps the carries only."""

    def steps(carry, inputs):
        # Within a loop nothing can be shared with the forward pass, which XLA would undo.
        return lax.scan(jax.checkpoint(body, prevent_cse=False), carry, inputs)

    if chunk is None:
        return steps(carry, inputs)
    length = len(inputs[0])
    size = _chunk_length(chunk, length)
    whole = length // size * size
    chunks = [x[:whole].reshape(whole // size, size, *x.shape[1:]) for x in inputs]
    carry, stacked = lax.scan(jax.checkpoint(steps, prevent_cse=False), carry, chunks)
    stacked = jax.tree.map(lambda x: x.reshape(whole, *x.shape[2:]), stacked)
    if whole < length:
        carry, rest = jax.checkpoint(steps)(carry, [x[whole:] for x in inputs])
        stacked = jax.tree.map(lambda *parts: jnp.concatenate(parts), stacked, rest)
    return carry, stacked


def _chunk_length(chunk, length):
    """`chunk` as a number of steps, T at most."""
    return math.isqrt(length - 1) + 1 if chunk == "sqrt" else min(chunk, length)


def _precise(dtype):
    """float32 instead of a half float."""
    return jnp.float32 if dtype in (jnp.float16, jnp.bfloat16) else dtype


def _check_unassigned(scope):
    """Raise ValueError where a step has assigned a variable."""
    for variable in scope.assigned.values():
        raise ValueError(
            f"The cell must not assign {variable.path} in a step, which a loop over time would "
            "lose. Layers of dropout and of batch normalization in a controller do that in "
            "training; the `dropout` of Keras' own RNN cells does not."
        )
