"""What a request to an exported model may hold.

A check that fails is an InvalidArgument, and no numbers come back.
"""

import tensorflow as tf

from mf_keras.outputs import Output
from mf_keras.types import Tensor


def few(name: str, x: Tensor, max_rows: int) -> Tensor:
    """`x`, refused where it has too many rows, before anything is computed from them."""
    rows = tf.shape(x)[0]
    return _required(x, rows <= max_rows, f"{name} must have at most {max_rows} rows, got", [rows])


def draw(seed: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """`(seed, temperature)`, both (B,), of which every temperature is finite and above 0."""
    seed = _shaped("seed", seed, (None,))
    temperature = _shaped("temperature", temperature, (None,))
    counts = [tf.shape(seed)[0], tf.shape(temperature)[0]]
    words = "seed and temperature must have one entry a row, got so many seeds and temperatures:"
    seed, temperature = _required((seed, temperature), tf.equal(*counts), words, counts)
    right = tf.logical_and(temperature > 0.0, tf.math.is_finite(temperature))
    wrong = [tf.boolean_mask(temperature, ~right)]
    return _required(
        (seed, temperature), right, "temperature must be finite and above 0, got", wrong
    )


def steps(name: str, x: Tensor, length: int | None, output: Output) -> Tensor:
    """`x` (B, T, *step), which holds what the steps of an output may; T is any for None."""
    x = _shaped(name, x, (None, length, *output.step))
    right = output.valid(x)
    wrong = [tf.boolean_mask(x, ~right)]
    return _required(x, right, f"{name} must hold only {output.values}, got", wrong)


def context(context: Tensor, rows: Tensor, size: int) -> Tensor:
    """The context (B, C), finite, of as many rows."""
    context = _shaped("context", context, (None, size))
    counts = [tf.shape(context)[0], rows]
    words = "context must have one entry a row, got so many, and so many rows:"
    context = _required(context, tf.equal(*counts), words, counts)
    finite = tf.math.is_finite(context)
    wrong = [tf.boolean_mask(context, ~finite)]
    return _required(context, finite, "context must be finite, got", wrong)


def weights(lengths: Tensor, rows: Tensor, length: int) -> Tensor:
    """(B, T), 1 on the steps of each sequence, for lengths (B,) from 1 to T."""
    lengths = _shaped("lengths", lengths, (None,))
    counts = [tf.shape(lengths)[0], rows]
    words = "lengths must have one entry a row, got so many, and so many sequences:"
    lengths = _required(lengths, tf.equal(*counts), words, counts)
    right = (lengths >= 1) & (lengths <= length)
    wrong = [tf.boolean_mask(lengths, ~right)]
    lengths = _required(lengths, right, f"lengths must be from 1 to {length}, got", wrong)
    return tf.sequence_mask(lengths, length, tf.float32)


def prefix(prefix: Tensor, seed: Tensor, length: int) -> Tensor:
    """The prefix (B, T0, *step), with T0 up to T, of as many rows as seeds (B,)."""
    counts = [tf.shape(prefix)[0], tf.shape(seed)[0]]
    words = "prefix and seed must have one entry a row, got so many prefixes and seeds:"
    prefix = _required(prefix, tf.equal(*counts), words, counts)
    steps = tf.shape(prefix)[1]
    words = f"prefix must have at most {length} steps, got"
    return _required(prefix, steps <= length, words, [steps])


def _shaped(name, x, shape):
    """`x`, refused where its shape is another: a server feeds the graph with what it is sent."""
    return tf.ensure_shape(x, shape, name=name)


def _required(x, condition, words, values):
    """`x`, once the condition has been seen to hold.

    What is computed from `x` waits, so that no later failure comes first with other words.
    """
    check = tf.debugging.Assert(tf.reduce_all(condition), [words, *values], summarize=3)
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, x)
