import keras
import pytest

from mf_keras.models.streams import checked_stream


class Numbers(keras.utils.PyDataset):
    began = 0

    @property
    def num_batches(self):
        return 3

    def __getitem__(self, index):
        return index

    def on_epoch_begin(self):
        self.began += 1


def small(batch):
    if batch > 1:
        raise ValueError("too large")
    return 10 * batch


def test_batches_are_checked_one_by_one_as_they_are_drawn():
    numbers = Numbers(workers=2, max_queue_size=3)
    stream = checked_stream(numbers, small)
    assert (stream.num_batches, stream.workers, stream.max_queue_size) == (3, 2, 3)
    stream.on_epoch_begin()
    stream.on_epoch_end()
    assert numbers.began == 1
    drawn = checked_stream(numbers_up_to(3), small)
    for draw in (stream.__getitem__, lambda _: next(drawn)):
        assert [draw(i) for i in range(2)] == [0, 10]
        with pytest.raises(ValueError, match="too large"):
            draw(2)


def numbers_up_to(n):
    yield from range(n)


def test_what_is_no_stream_stays():
    x = [1, 2]
    assert checked_stream(x, small) is x
