"""Tasks of varying size, each against a solver that reads the inputs row by row."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from mf_keras.data import associative_recall_task, copy_task, repeat_copy_task, reverse_task

TASKS = {
    "copy": copy_task,
    "reverse": reverse_task,
    "repeat_copy": repeat_copy_task,
    "associative_recall": associative_recall_task,
}
SMALL = {
    "copy": {"length": 5, "width": 3, "min_length": 2},
    "reverse": {"length": 5, "width": 3, "min_length": 1},
    "repeat_copy": {"length": 3, "width": 2, "repeats": 4},
    "associative_recall": {"items": 4, "item_length": 2, "width": 3},
}


def answer_of_recall(x, backwards=False):
    end = int(np.flatnonzero(x[:, -1])[0])
    assert x[:, -1].sum() == 1
    assert not x[end, :-1].any()
    bits = list(x[:end, :-1])
    return end + 1, bits[::-1] if backwards else bits, end


def answer_of_repeat_copy(x, length=3, repeats=4):
    end = int(np.flatnonzero(x[:, -2])[0])
    counts = np.arange(1, repeats + 1)
    times = round(float(x[end, -1] * counts.std() + counts.mean()))
    assert 1 <= times <= repeats
    bits = [np.append(row, 0) for row in x[:end, :-2]] * times
    return end + 1, [*bits, np.append(np.zeros(x.shape[1] - 2), 1)], (end, times)


def answer_of_associative_recall(x):
    first, second = np.flatnonzero(x[:, -1])
    starts = [*np.flatnonzero(x[:, -2]), first]
    items = [x[a + 1 : b, :-2] for a, b in itertools.pairwise(starts)]
    query = x[first + 1 : second, :-2]
    matches = [i for i, item in enumerate(items[:-1]) if (item == query).all()]
    assert matches
    return second + 1, [items[i + 1] for i in matches], len(items)


def answers(name, x):
    """Where the answer begins, the rows it may be, and the sizes that were drawn."""
    if name in ("copy", "reverse"):
        start, rows, size = answer_of_recall(x, backwards=name == "reverse")
        return start, [rows], size
    if name == "repeat_copy":
        start, rows, size = answer_of_repeat_copy(x)
        return start, [rows], size
    return answer_of_associative_recall(x)


def examples(name, count, **arguments):
    data = TASKS[name](**SMALL[name] | arguments).batch(count).take(1)
    return next(data.as_numpy_iterator())


@pytest.mark.parametrize("name", TASKS)
def test_the_answer_follows_from_the_inputs(name):
    sizes = set()
    for x, y, weight in zip(*examples(name, 300), strict=True):
        start, possible, size = answers(name, x)
        rows = possible[0]
        expected_weight = np.zeros(len(x))
        expected_weight[start : start + len(rows)] = 1.0
        np.testing.assert_array_equal(weight, expected_weight)
        assert not y[weight == 0].any()
        assert any((y[start : start + len(rows)] == np.array(rows)).all() for rows in possible)
        assert not x[start:].any()  # the answer is given without inputs
        sizes.add(size)
    expected = {"copy": 4, "reverse": 5, "repeat_copy": 12, "associative_recall": 3}
    assert len(sizes) == expected[name]  # every size that there is


@pytest.mark.parametrize("name", TASKS)
def test_streams_are_endless_seeded_and_of_one_shape(name):
    data = TASKS[name]()
    assert int(data.cardinality()) == tf.data.INFINITE_CARDINALITY
    assert all(spec.shape.is_fully_defined() for spec in data.element_spec)
    first, again, other = (examples(name, 50, seed=seed) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))
    assert not (examples(name, 1, seed=3)[0] != first[0][:1]).any()


def test_sizes_are_uniform():
    _, _, weight = examples("copy", 4000)
    lengths = weight.sum(axis=1).astype(int)
    counts = np.bincount(lengths, minlength=6)[2:]
    assert (np.abs(counts - 1000) < 5 * np.sqrt(1000)).all()


@pytest.mark.parametrize("name", ["copy", "reverse"])
def test_without_delimiter(name):
    x, _, weight = examples(name, 8, delimiter=False, min_length=None)
    assert x.shape == (8, 10, 3)
    np.testing.assert_array_equal(weight, [[0.0] * 5 + [1.0] * 5] * 8)


def test_one_number_of_repeats_is_normalised_to_zero():
    x, _, _ = examples("repeat_copy", 8, min_repeats=4)
    assert not x[..., -1].any()


@pytest.mark.parametrize(
    ("task", "arguments", "error", "words"),
    [
        (copy_task, {"min_length": 13}, ValueError, "min_length must be at most length, 12"),
        (reverse_task, {"min_length": 0}, ValueError, "min_length must be an integer >= 1"),
        (reverse_task, {"delimiter": 1}, TypeError, "delimiter must be True or False"),
        (repeat_copy_task, {"min_repeats": 11}, ValueError, "at most repeats, 10"),
        (repeat_copy_task, {"repeats": 0}, ValueError, "repeats must be an integer >= 1"),
        (repeat_copy_task, {"seed": -1}, ValueError, "seed must be"),
        (associative_recall_task, {"items": 1}, ValueError, "items must be an integer >= 2"),
        (associative_recall_task, {"min_items": 1}, ValueError, "min_items must be an integer >="),
        (associative_recall_task, {"width": 1.5}, TypeError, "width must be an integer"),
    ],
)
def test_refuses_bad_sizes(task, arguments, error, words):
    with pytest.raises(error, match=words):
        task(**arguments)
