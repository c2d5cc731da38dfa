"""Streams of examples as NumPy arrays, which the tasks give on JAX."""

import functools
from collections.abc import Iterator
from typing import Any, Self

import keras
import numpy as np

from mf_keras.types import Function, Structure
from mf_keras.validation import positive_int


class Stream(keras.utils.PyDataset):
    """A stream of single examples, or of batches, that is a pure function of their numbers.

        stream = data.copy_task(length=12, width=6)
        model.fit(stream.batch(16), steps_per_epoch=1000)

    It can be iterated over, again and again, and `fit` takes it as every `keras.utils.PyDataset`.

    Args:
        block: a function of an index i that gives examples i n to i n + n - 1, a nested structure
            of arrays (n, ...).
        block_size: n.
        length: number of items; None for a stream without an end.
        batch_size: of the items; None for single examples.
        **kwargs: `workers`, `use_multiprocessing` and `max_queue_size`, as for every `PyDataset`.
    """

    def __init__(
        self,
        block: Function,
        block_size: int,
        length: int | None = None,
        batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._arguments = (block, block_size)
        self._block = functools.lru_cache(maxsize=2)(block)
        self._block_size = block_size
        self._length = length
        self.batch_size = batch_size

    @property
    def num_batches(self) -> int | None:
        """The number of items; None for a stream without an end."""
        return self._length

    def __getitem__(self, index: int) -> Structure:
        if self._length is not None and index >= self._length:
            raise IndexError(f"index must be below {self._length}, got {index}.")
        if self.batch_size is None:
            return keras.tree.map_structure(lambda x: x[0], self._examples(index, 1))
        return self._examples(index * self.batch_size, self.batch_size)

    def __iter__(self) -> Iterator[Structure]:
        index = 0
        while self._length is None or index < self._length:
            yield self[index]
            index += 1

    def batch(self, batch_size: int) -> Self:
        """Batches of so many examples; of a stream that ends only whole ones.

        Raises:
            TypeError: `batch_size` is no integer.
            ValueError: it is below 1, or this is a stream of batches.
        """
        batch_size = positive_int("batch_size", batch_size)
        if self.batch_size is not None:
            raise ValueError(f"batch must be called once, got batches of {self.batch_size}.")
        length = None if self._length is None else self._length // batch_size
        return type(self)(*self._arguments, length, batch_size)

    def take(self, count: int) -> Self:
        """The first `count` items.

        Raises:
            TypeError, ValueError: `count` is no integer >= 1.
        """
        count = positive_int("count", count)
        length = count if self._length is None else min(count, self._length)
        return type(self)(*self._arguments, length, self.batch_size)

    def _examples(self, first, count):
        """`count` examples from number `first` on."""
        parts = []
        while count:
            index, start = divmod(first, self._block_size)
            size = min(count, self._block_size - start)
            part = slice(start, start + size)
            parts.append(keras.tree.map_structure(lambda x: x[part], self._block(index)))  # noqa: B023
            first, count = first + size, count - size
        return keras.tree.map_structure(lambda *pieces: np.concatenate(pieces), *parts)


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
