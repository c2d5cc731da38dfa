"""Algorithmic tasks: endless streams of (inputs, targets, sample_weight) that a seed determines.

Every task gives examples of one shape, so nothing is compiled twice: where lengths vary, an example
ends with its answer, and zero rows of weight 0 fill it up to the longest. Only the rows of weight 1
count. The literature measures the wrong bits per sequence in them (`errors` of
`mf_keras.outputs.Output`) and the sequences without any (`correct`).

A task is a function from its sizes to `_endless(examples, ...)`, where `examples(key, count)` draws
`count` examples from one key.
"""

import importlib
from typing import Any

import keras
import numpy as np

from mf_keras.data.streams import Arrays, Stream
from mf_keras.validation import boolean, positive_int

# The tasks are written with a few functions that TensorFlow and NumPy have.
_USES_NUMPY = keras.backend.backend() != "tensorflow"
tf: Any = Arrays if _USES_NUMPY else importlib.import_module("tensorflow")

_LARGEST_BLOCK = 1024  # examples
_LARGEST_BLOCK_SIZE = 2**20  # entries, so that long sequences do not fill the memory
_LARGEST_SEED = 2**63 - 1


def copy_task(
    length: int = 12,
    width: int = 6,
    seed: int = 0,
    delimiter: bool = True,
    min_length: int | None = None,
) -> Any:
    """Repeat a sequence of random bits after its end (Graves et al., arXiv:1410.5401, section 4.1).

    An example of length L, with T = 2 length + 1 steps:

        inputs (T, width + 1): L rows of bits, a row with 1 in the last channel only, zero rows
        targets (T, width): zeros until the delimiter, then the bits, then zeros
        sample_weight (T,): 1 on the answer's L rows, 0 on the others

    Args:
        length: number of rows of bits, the longest where lengths vary.
        width: bits per row.
        seed: the same seed gives the same stream, in every iteration.
        delimiter: False leaves out the delimiter's row and channel: inputs (2 length, width).
        min_length: L is drawn uniformly from here to `length`; None for `length` always.

    Returns:
        An endless `tf.data.Dataset` of float32 triples (inputs, targets, sample_weight), unbatched;
        on JAX a `Stream` of NumPy arrays, of other random numbers.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, `min_length` above `length`, or `seed` outside [0, 2^63).
    """
    return _recall(length, width, seed, delimiter, min_length, backwards=False)


def reverse_task(
    length: int = 12,
    width: int = 6,
    seed: int = 0,
    delimiter: bool = True,
    min_length: int | None = None,
) -> Any:
    """Give a sequence of random bits backwards after its end.

    The examples are those of `copy_task`, with the rows of the answer in reverse order.

    Args:
        length: number of rows of bits, the longest where lengths vary.
        width: bits per row.
        seed: the same seed gives the same stream, in every iteration.
        delimiter: False leaves out the delimiter's row and channel: inputs (2 length, width).
        min_length: L is drawn uniformly from here to `length`; None for `length` always.

    Returns:
        An endless `tf.data.Dataset` of float32 triples (inputs, targets, sample_weight), unbatched;
        on JAX a `Stream` of NumPy arrays, of other random numbers.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is below 1, `min_length` above `length`, or `seed` outside [0, 2^63).
    """
    return _recall(length, width, seed, delimiter, min_length, backwards=True)


def repeat_copy_task(
    length: int = 10,
    width: int = 8,
    repeats: int = 10,
    seed: int = 0,
    min_length: int = 1,
    min_repeats: int = 1,
) -> Any:
    """Repeat a sequence several times, then say so (Graves et al., arXiv:1410.5401, section 4.2).

    An example of L rows and R repetitions, with T = length + 2 + length repeats steps:

        inputs (T, width + 2): L rows of bits; a row with 1 in the last channel but one and in the
            last one R, normalised to mean 0 and variance 1 over its range; zero rows
        targets (T, width + 1): zeros until that row, then the bits R times, a row with 1 in the
            last channel only, zeros
        sample_weight (T,): 1 on the L R + 1 rows of the answer, 0 on the others

    Args:
        length: the largest L.
        width: bits per row.
        repeats: the largest R.
        seed: the same seed gives the same stream, in every iteration.
        min_length: L is drawn uniformly from here to `length`.
        min_repeats: R is drawn uniformly from here to `repeats`.

    Returns:
        An endless `tf.data.Dataset` of float32 triples (inputs, targets, sample_weight), unbatched;
        on JAX a `Stream` of NumPy arrays, of other random numbers.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is out of range, or `seed` outside [0, 2^63).
    """
    length, width = positive_int("length", length), positive_int("width", width)
    repeats, seed = positive_int("repeats", repeats), _seed(seed)
    min_length = _smallest("min_length", min_length, "length", length)
    min_repeats = _smallest("min_repeats", min_repeats, "repeats", repeats)
    steps = length + 2 + length * repeats
    time = tf.range(steps)
    counts = np.arange(min_repeats, repeats + 1)
    spread = max(float(counts.std()), 1e-6)  # a single number becomes 0

    def examples(key, count):
        bits = _random_bits(key, (count, length, width))
        rows = _random_sizes(key, 1, count, min_length, length)  # (count, 1)
        times = _random_sizes(key, 2, count, min_repeats, repeats)
        number = (tf.cast(times, tf.float32) - counts.mean()) / spread
        delimiter, marker = _one(time == rows), _one(time == rows + 1 + rows * times)
        since = time - rows - 1  # steps since the answer began
        answer = tf.logical_and(since >= 0, since < rows * times)
        inputs = [_rows(bits, time, time < rows), delimiter, delimiter * number[..., tf.newaxis]]
        targets = [_rows(bits, since % rows, answer), marker]
        weight = tf.cast(answer, tf.float32) + marker[..., 0]
        return tf.concat(inputs, axis=-1), tf.concat(targets, axis=-1), weight

    return _endless(examples, seed, example_size=steps * (width + 2))


def associative_recall_task(
    items: int = 6, item_length: int = 3, width: int = 6, seed: int = 0, min_items: int = 2
) -> Any:
    """Show items, query the one after a given one (Graves et al., arXiv:1410.5401, section 4.3).

    An example of K items, with T = items (1 + item_length) + 2 + 2 item_length steps:

        inputs (T, width + 2): K times a row with 1 in the last channel but one only, and an item
            of `item_length` rows; then one of the items but the last, between two rows with 1 in
            the last channel only; zero rows
        targets (T, width): the item that came after that one, after the second of these rows
        sample_weight (T,): 1 on the answer's rows, 0 on the others

    Args:
        items: the largest K.
        item_length: rows of an item.
        width: bits per row.
        seed: the same seed gives the same stream, in every iteration.
        min_items: K is drawn uniformly from here to `items`; at least 2.

    Returns:
        An endless `tf.data.Dataset` of float32 triples (inputs, targets, sample_weight), unbatched;
        on JAX a `Stream` of NumPy arrays, of other random numbers.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a size is out of range, or `seed` outside [0, 2^63).
    """
    items = positive_int("items", items, minimum=2)
    item_length = positive_int("item_length", item_length)
    width, seed = positive_int("width", width), _seed(seed)
    min_items = _smallest("min_items", min_items, "items", items, least=2)
    stride = 1 + item_length
    steps = items * stride + 2 + 2 * item_length
    time = tf.range(steps)

    def examples(key, count):
        bits = _random_bits(key, (count, items * item_length, width))
        shown = _random_sizes(key, 1, count, min_items, items)  # (count, 1)
        # One of the items but the last one shown, each as likely.
        uniform = _random_uniform(_fold(key, 2), (count, 1))
        queried = tf.cast(uniform * tf.cast(shown - 1, tf.float32), tf.int32)
        queried = tf.minimum(queried, shown - 2)  # uniform x n may round up to n
        begin = shown * stride  # of the query
        end = begin + stride
        item_delimiter = tf.logical_and(time < begin, time % stride == 0)
        query_delimiter = tf.logical_or(time == begin, time == end)
        item = tf.logical_and(time < begin, time % stride > 0)
        query = tf.logical_and(time > begin, time < end)
        answer = tf.logical_and(time > end, time <= end + item_length)
        listed = time // stride * item_length + time % stride - 1
        index = tf.where(query, queried * item_length + time - begin - 1, listed)
        channels = [_rows(bits, index, tf.logical_or(item, query))]
        channels += [_one(item_delimiter), _one(query_delimiter)]
        targets = _rows(bits, (queried + 1) * item_length + time - end - 1, answer)
        return tf.concat(channels, axis=-1), targets, tf.cast(answer, tf.float32)

    return _endless(examples, seed, example_size=steps * (width + 2))


def _recall(length, width, seed, delimiter, min_length, backwards):
    """The copy task, forwards or backwards."""
    length, width = positive_int("length", length), positive_int("width", width)
    seed = _seed(seed)
    extra = int(boolean("delimiter", delimiter))
    least = length if min_length is None else _smallest("min_length", min_length, "length", length)
    steps = 2 * length + extra
    time = tf.range(steps)

    def examples(key, count):
        bits = _random_bits(key, (count, length, width))
        rows = _random_sizes(key, 1, count, least, length)  # (count, 1)
        since = time - rows - extra  # steps since the answer began
        answer = tf.logical_and(since >= 0, since < rows)
        inputs = _rows(bits, time, time < rows)
        if delimiter:
            inputs = tf.concat([inputs, _one(time == rows)], axis=-1)
        targets = _rows(bits, rows - 1 - since if backwards else since, answer)
        return inputs, targets, tf.cast(answer, tf.float32)

    return _endless(examples, seed, example_size=steps * (width + extra))


def _seed(seed):
    return positive_int("seed", seed, minimum=0, maximum=_LARGEST_SEED)


def _smallest(name, value, largest_name, largest, least=1):
    """The lower end of a range whose upper end is `largest`."""
    value = positive_int(name, value, minimum=least)
    if value > largest:
        raise ValueError(f"{name} must be at most {largest_name}, {largest}, got {value!r}.")
    return value


def _fold(key, number):
    """Another key, for another draw of the same block."""
    if _USES_NUMPY:
        return (*key, number)
    return tf.random.experimental.stateless_fold_in(key, number, alg="philox")


# The algorithms of random numbers are named, so that they never change.


def _random_uniform(key, shape):
    """float32 in [0, 1)."""
    if _USES_NUMPY:
        return _generator(key).random(shape, np.float32)
    return tf.random.stateless_uniform(shape, key, alg="philox")


def _random_integers(key, shape, smallest, end):
    """int32, uniform from `smallest` to `end` - 1."""
    if _USES_NUMPY:
        return _generator(key).integers(smallest, end, shape, np.int32)
    return tf.random.stateless_uniform(shape, key, smallest, end, tf.int32, alg="philox")


def _generator(key):
    return np.random.Generator(np.random.PCG64(list(key)))


def _random_bits(key, shape):
    """0 and 1 with probability one half each."""
    return tf.cast(_random_integers(key, shape, 0, 2), tf.float32)


def _random_sizes(key, number, count, smallest, largest):
    """(count, 1) of int32, uniform from `smallest` to `largest`; the key's draw of that number."""
    return _random_integers(_fold(key, number), (count, 1), smallest, largest + 1)


def _rows(values, index, where):
    """Rows `index` (count, T) of values (count, n, width) where `where` is True, else zeros."""
    if _USES_NUMPY:
        index = np.clip(np.broadcast_to(index, where.shape), 0, values.shape[1] - 1)
        return np.take_along_axis(values, index[..., np.newaxis], axis=1) * _one(where)
    index = tf.broadcast_to(index, tf.shape(where))
    chosen = tf.gather(values, tf.clip_by_value(index, 0, values.shape[1] - 1), batch_dims=1)
    return chosen * _one(where)


def _one(where):
    """(count, T) of bool as a channel (count, T, 1) of 0 and 1."""
    return tf.cast(where, tf.float32)[..., tf.newaxis]


def _endless(examples, seed, example_size):
    """The stream of single examples that `examples(key, count)` draws in blocks.

    Block i has the key (seed, i): a block is a function of the seed and its number, so every
    iteration repeats the stream, and blocks are drawn in parallel. Drawing single examples would
    be an order of magnitude slower.
    """
    count = max(1, min(_LARGEST_BLOCK, _LARGEST_BLOCK_SIZE // example_size))
    if _USES_NUMPY:

        def block_of_arrays(index):
            return tuple(x.astype(np.float32) for x in examples((seed, index), count))

        return Stream(block_of_arrays, count)

    def block(index):
        return examples(tf.stack([tf.constant(seed, tf.int64), index]), count)

    blocks = tf.data.Dataset.counter().map(
        block, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return blocks.unbatch()
