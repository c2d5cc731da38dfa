"""Streams of Keras and Python whose batches are checked as they are drawn."""

import types
from collections.abc import Iterator
from typing import Any

import keras

from mf_keras.types import Function


class CheckedBatches(keras.utils.PyDataset):
    """A `PyDataset` whose batches are checked as they are drawn.

    Args:
        batches: the `PyDataset`.
        check: a function of a batch, which gives it or raises an error.
    """

    def __init__(self, batches: keras.utils.PyDataset, check: Function) -> None:
        super().__init__(
            workers=batches.workers,
            use_multiprocessing=batches.use_multiprocessing,
            max_queue_size=batches.max_queue_size,
        )
        self.batches, self.check = batches, check

    @property
    def num_batches(self) -> int | None:
        """As many as there were."""
        return self.batches.num_batches

    def __getitem__(self, index: int) -> Any:
        return self.check(self.batches[index])

    def on_epoch_begin(self) -> None:
        """Hand it on."""
        self.batches.on_epoch_begin()

    def on_epoch_end(self) -> None:
        """Hand it on."""
        self.batches.on_epoch_end()


def checked_stream(x: Any, check: Function) -> Any:
    """A `PyDataset` or generator whose batches are checked; anything else as it is."""
    if isinstance(x, keras.utils.PyDataset):
        return CheckedBatches(x, check)
    if isinstance(x, types.GeneratorType):
        return _checked_generator(x, check)
    return x


def _checked_generator(batches: Iterator[Any], check: Function) -> Iterator[Any]:
    for batch in batches:
        yield check(batch)
