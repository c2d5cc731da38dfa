"""Thousands of calls with wrong arguments: each is refused in words that name the argument."""

import random
import re

import numpy as np
import pytest
import tensorflow as tf

from mf_keras import TeacherForcing
from tests import fuzz_cases
from tests.small import binary, small_transducer


@pytest.fixture(scope="module")
def calls():
    return fuzz_cases.calls()


def trouble(call, wrong):
    """What is wrong with how the call takes the wrong arguments; None if it is as it should be."""
    try:
        call.function(**{**call.good, **wrong})
    except (TypeError, ValueError) as error:
        words = str(error)
    except Exception as error:  # an internal error of any library
        return f"{type(error).__name__}: {error}"
    else:
        return "nothing was raised"
    # Where two shapes do not fit each other, the words may blame the other one.
    named = any(re.search(rf"\b{name}\b", words) for name in wrong)
    named = named or re.match(rf"({'|'.join(call.good) or '-'}) must have shape", words)
    # Keras converts what its layers are called with before they see it.
    return None if named or "Failed to convert a NumPy array" in words else f"no name in: {words}"


def report(found):
    return "\n".join(f"{name}({wrong!r:.80}): {what:.150}" for name, wrong, what in found if what)


def test_every_wrong_argument_is_refused_by_name(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases = fuzz_cases.cases(calls)
    assert len(cases) >= 1000
    found = [
        (name, {argument: value}, trouble(calls[name], {argument: value}))
        for name, argument, value in cases
    ]
    assert not report(found), report(found)
    assert not list(tmp_path.iterdir())  # refused before anything is written


def test_two_wrong_arguments_are_refused_by_the_name_of_one(calls, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw, found = random.Random(0), []
    names = [name for name, call in calls.items() if len(call.kinds) > 1]
    for _ in range(500):
        name = draw.choice(names)
        pair = draw.sample(sorted(calls[name].kinds), 2)
        wrong = {each: draw.choice(fuzz_cases.BAD[calls[name].kinds[each]]) for each in pair}
        found.append((name, wrong, trouble(calls[name], wrong)))
    assert not report(found), report(found)


def test_the_good_arguments_are_good(calls):
    """Else the calls would be refused for another reason; `fit` and its kin stand for all."""
    steps = ("generator fit", "transducer train_on_batch", "generator predict")
    for name in ("replay.push", "addressing.content_weights", "copy_task", "unroll", *steps):
        calls[name].function(**calls[name].good)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x, y, w: (x * np.float32(np.nan), y, w), "inputs of x must be finite"),
        (lambda x, y, w: (x, y + 1.0, w), "x must hold only 0 and 1"),
        (lambda x, y, w: (x, y, -w), "sample_weight of x must be finite and not negative"),
        (lambda x, y, w: (x, y, 0.0 * w), "must count at least one step"),
    ],
)
def test_wrong_values_in_a_dataset_are_refused_as_they_come(change, words):
    model = TeacherForcing(small_transducer())
    model.compile(run_eagerly=True)
    triple = binary(2, 3, 3), binary(2, 3, 2), np.ones((2, 3), "float32")
    data = tf.data.Dataset.from_tensors(triple).map(change)
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        model.fit(data, verbose=0)
