import itertools

import numpy as np
import pytest

from mf_keras import data

BY_HAND = {
    "copy": lambda s, first: list(s),
    "duplicated_input": lambda s, first: list(s[::3]),
    "reverse": lambda s, first: list(s[::-1]),
    "forward_reverse": lambda s, first: list(s[::-1]),
    "repeat_copy": lambda s, first: list(s) * (int(first) + 2),
}


@pytest.mark.parametrize("task", data.TAPE_TASKS)
def test_examples_by_loops(task):
    lengths, symbols = np.tile(np.arange(1, 5), 20), 5
    size, number = data.tape_sizes(task, 4)
    x = data.tape_examples(task, lengths, 4, symbols, seed=0)
    assert x.shape == (80, size + number)
    assert x.dtype == "int32"
    for row, n in zip(x, lengths, strict=True):
        tape, targets = row[:size], row[size:]
        begin, copies = int(task == "repeat_copy"), 3 if task == "duplicated_input" else 1
        shown = tape[begin : begin + copies * n]
        assert (shown < symbols - 1).all()
        assert (tape[begin + copies * n :] == symbols - 1).all()
        if copies == 3:
            np.testing.assert_array_equal(shown, np.repeat(shown[::3], 3))
        expected = BY_HAND[task](shown, tape[0])
        assert targets[: len(expected)].tolist() == expected
        assert (targets[len(expected) :] == -1).all()
    if task == "repeat_copy":
        assert set(x[:, 0]) == {0, 1}


def test_a_stream_is_that_of_its_seed():
    def first(**options):
        stream = data.tape_task("reverse", 4, 5, **options).batch(8)
        return np.stack(list(itertools.islice(stream.as_numpy_iterator(), 2)))

    found = first(seed=1)
    assert found.shape == (2, 8, 9)
    np.testing.assert_array_equal(found, first(seed=1))
    assert (found != first(seed=2)).any()
    whole = first(seed=1, min_length=4)
    assert (whole[..., 5:] >= 0).all()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"task": "sort"}, ValueError, "task must be one of"),
        ({"symbols": 2}, ValueError, "symbols"),
        ({"lengths": [0]}, ValueError, "lengths"),
        ({"lengths": [1.0]}, TypeError, "lengths"),
        ({"repeats": (1, 3)}, ValueError, "repeats"),
    ],
)
def test_refuses_bad_arguments(options, error, words):
    good = {"task": "copy", "lengths": [1, 2], "length": 3, "symbols": 4, "seed": 0}
    with pytest.raises(error, match=words):
        data.tape_examples(**{**good, **options})
