"""Streams of examples as NumPy arrays, which the tasks give on JAX."""

import functools
from collections.abc import Iterator
from typing import Any, Self

import keras
import numpy as np

from mf_keras.types import Function, Structure
from mf_keras.validation import boolean, positive_int


class Stream(keras.utils.PyDataset):
    """A stream of examples, or of batches of them, with the methods of `tf.data` that tasks need.

        train = data.digits("train").shuffle(1397, seed=0).batch(64, drop_remainder=True)
        model.fit(train, epochs=10)
        model.fit(data.copy_task(length=12, width=6).batch(16), steps_per_epoch=1000)

    `fit` takes it as every `keras.utils.PyDataset`. It can be iterated over, again and again.

    Args:
        block: a function of an index i that gives examples i n to i n + n - 1, a nested structure
            of arrays (n, ...).
        block_size: n.
        length: number of examples; None for a stream without an end.
    """

    def __init__(self, block: Function, block_size: int, length: int | None = None) -> None:
        super().__init__()
        self._block = functools.lru_cache(maxsize=2)(block)
        self._block_size = block_size
        self._length = length
        self._batch_size: int | None = None
        self._drops_remainder = False
        self._seed: int | None = None  # of the shuffling
        self._passes = 0

    @property
    def num_batches(self) -> int | None:
        """The number of items, examples or batches; None for a stream without an end."""
        if self._length is None or self._batch_size is None:
            return self._length
        whole, rest = divmod(self._length, self._batch_size)
        return whole + (rest > 0 and not self._drops_remainder)

    def __getitem__(self, index: int) -> Structure:
        count = self.num_batches
        if count is not None and not 0 <= index < count:
            raise IndexError(f"index must be below {count}, got {index}.")
        if self._batch_size is None:
            return keras.tree.map_structure(lambda x: x[0], self._examples(index, 1))
        first, size = index * self._batch_size, self._batch_size
        if self._length is not None:
            size = min(size, self._length - first)
        return self._examples(first, size)

    def __iter__(self) -> Iterator[Structure]:
        index = 0
        while self.num_batches is None or index < self.num_batches:
            yield self[index]
            index += 1
        self.on_epoch_end()

    def on_epoch_end(self) -> None:
        """Shuffle anew."""
        self._passes += 1

    def shuffle(self, buffer_size: int, seed: int = 0) -> Self:
        """The examples in random order, another one in every pass.

        Args:
            buffer_size: of no meaning, as all examples are shuffled; `tf.data` has it.
            seed: of the order.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range, the stream has no end,
                or it is one of batches.
        """
        positive_int("buffer_size", buffer_size)
        seed = positive_int("seed", seed, minimum=0)
        self._check_single("shuffle")
        if self._length is None:
            raise ValueError("shuffle needs a stream with an end.")
        return self._changed(_seed=seed)

    def batch(self, batch_size: int, drop_remainder: bool = False) -> Self:
        """Batches of so many examples; the last one of a stream may be smaller.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range, or this is a stream of
                batches.
        """
        batch_size = positive_int("batch_size", batch_size)
        drop_remainder = boolean("drop_remainder", drop_remainder)
        self._check_single("batch")
        return self._changed(_batch_size=batch_size, _drops_remainder=drop_remainder)

    def take(self, count: int) -> Self:
        """The first `count` items.

        Raises:
            TypeError, ValueError: `count` is no integer >= 1, or the stream is shuffled.
        """
        count = positive_int("count", count)
        if self._seed is not None:
            raise ValueError("take must come before shuffle.")
        examples = count * (self._batch_size or 1)
        return self._changed(
            _length=examples if self._length is None else min(examples, self._length)
        )

    def _check_single(self, name):
        if self._batch_size is not None:
            raise ValueError(f"{name} must come before batch, got batches of {self._batch_size}.")

    def _changed(self, **attributes: Any) -> Self:
        """A copy with other attributes."""
        new = type(self)(self._block, self._block_size, self._length)
        own = ("_batch_size", "_drops_remainder", "_seed")
        for name, value in {**{name: getattr(self, name) for name in own}, **attributes}.items():
            setattr(new, name, value)
        return new

    def _examples(self, first, count):
        """`count` examples from number `first` on, in this pass's order."""
        if self._seed is None or self._length is None:
            return self._in_order(first, count)
        order = np.random.default_rng([self._seed, self._passes]).permutation(self._length)
        return _cut(self._in_order(0, self._length), order[first : first + count])

    def _in_order(self, first, count):
        parts = []
        while count:
            index, start = divmod(first, self._block_size)
            part = slice(start, min(start + count, self._block_size))
            parts.append(_cut(self._block(index), part))
            size = part.stop - part.start
            first, count = first + size, count - size
        if len(parts) == 1:
            return parts[0]
        return keras.tree.map_structure(lambda *pieces: np.concatenate(pieces), *parts)


def _cut(arrays, part):
    return keras.tree.map_structure(lambda x: x[part], arrays)


class Arrays:
    """The functions of TensorFlow that the tasks are written with, of NumPy."""

    float32, int32, int64 = np.float32, np.int32, np.int64
    newaxis = None
    logical_and, logical_or = np.logical_and, np.logical_or
    where, minimum = np.where, np.minimum
    concat = np.concatenate

    @staticmethod
    def range(count: int) -> np.ndarray:
        """0 to count - 1."""
        return np.arange(count, dtype=np.int32)

    @staticmethod
    def cast(x: Any, dtype: Any) -> np.ndarray:
        """x in another dtype."""
        return np.asarray(x).astype(dtype)
