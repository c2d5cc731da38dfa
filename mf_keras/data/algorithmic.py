"""Algorithmic tasks: endless streams of (inputs, targets, sample_weight) that a seed determines.

A task is a function from its sizes to `_endless(examples, ...)`, where `examples(key, count)` draws
`count` examples from one key. Tasks whose examples differ in length fit too: each example is a
triple of its own with time first, for `padded_batch`.
"""

import numpy as np
import tensorflow as tf

from mf_keras.validation import positive_int

_LARGEST_BLOCK = 1024  # examples
_LARGEST_BLOCK_SIZE = 2**20  # entries, so that long sequences do not fill the memory
_LARGEST_SEED = 2**63 - 1


def copy_task(length=12, width=6, seed=0, delimiter=True):
    """Repeat a sequence of random bits after its end (Graves et al., arXiv:1410.5401, section 4.1).

    An example, with T = 2 length + 1 steps:

        inputs (T, width + 1): the bits, a row whose last channel alone is 1, `length` zero rows
        targets (T, width): zeros until the delimiter, then the bits
        sample_weight (T,): 1 on the answer's rows, 0 on the others

    Args:
        length: number of rows of bits.
        width: bits per row.
        seed: the same seed gives the same stream, in every iteration.
        delimiter: False leaves out the delimiter's row and channel: inputs (2 length, width).

    Returns:
        An endless `tf.data.Dataset` of float32 triples (inputs, targets, sample_weight), unbatched.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `length` or `width` below 1, or `seed` outside [0, 2^63).
    """
    length = positive_int("length", length)
    width = positive_int("width", width)
    seed = _seed(seed)
    if not isinstance(delimiter, (bool, np.bool_)):
        raise TypeError(f"delimiter must be True or False, got {delimiter!r}.")
    extra = int(delimiter)
    steps = 2 * length + extra
    marker = np.zeros((steps, width + extra), "float32")
    if delimiter:
        marker[length, -1] = 1.0
    answer = np.repeat(np.float32([0.0, 1.0]), [length + extra, length])  # (T,)

    def examples(key, count):
        bits = _random_bits(key, (count, length, width))
        inputs = tf.pad(bits, [[0, 0], [0, length + extra], [0, extra]]) + marker
        targets = tf.pad(bits, [[0, 0], [length + extra, 0], [0, 0]])
        return inputs, targets, tf.tile(answer[np.newaxis], [count, 1])

    return _endless(examples, seed, example_size=marker.size)


def _seed(seed):
    seed = positive_int("seed", seed, minimum=0)
    if seed > _LARGEST_SEED:
        raise ValueError(f"seed must be below 2^63, got {seed!r}.")
    return seed


def _random_bits(key, shape):
    """0 and 1 with probability one half each; the algorithm is named, so that it never changes."""
    bits = tf.random.stateless_uniform(shape, key, 0, 2, tf.int32, alg="philox")
    return tf.cast(bits, tf.float32)


def _endless(examples, seed, example_size):
    """The stream of single examples that `examples(key, count)` draws in blocks.

    Block i has the key (seed, i): a block is a function of the seed and its number, so every
    iteration repeats the stream, and blocks are drawn in parallel. Drawing single examples would
    be an order of magnitude slower.
    """
    count = max(1, min(_LARGEST_BLOCK, _LARGEST_BLOCK_SIZE // example_size))

    def block(index):
        return examples(tf.stack([tf.constant(seed, tf.int64), index]), count)

    blocks = tf.data.Dataset.counter().map(
        block, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return blocks.unbatch()
