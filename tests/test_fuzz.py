"""Thousands of calls with wrong arguments: each is refused in words that name the argument."""

import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import TeacherForcing
from tests import fuzz_cases
from tests.small import binary, small_transducer

CALLS = fuzz_cases.calls()


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


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    """Nothing is written by a call that is refused."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not list(tmp_path.iterdir())


def test_every_argument_of_every_public_callable_is_known():
    unknown = [f"{name}: {call.unknown}" for name, call in CALLS.items() if call.unknown]
    assert not unknown, f"without an example in fuzz_cases.EXAMPLES: {unknown}"
    labels = {label.split()[0] for label in fuzz_cases.instances()}
    classes = {
        name: value for name, value in fuzz_cases.functions().items() if isinstance(value, type)
    }
    lacking = [name for name, value in classes.items() if fuzz_cases.methods(value)]
    lacking = sorted(set(lacking) - labels)
    assert not lacking, f"classes with methods, but not in fuzz_cases.instances: {lacking}"


def test_a_new_parameter_is_covered_by_its_default_or_refused():
    def new(units, size=3, share=0.5, shares=None):
        """A function that no table knows."""

    new.__module__ = "mf_keras.new"
    call = fuzz_cases.describe(new, ["new"])
    assert sorted(call.wrong) == ["share", "size", "units"]
    assert call.unknown == ["shares"]
    numbers = {
        name: [value for value in wrong.always if isinstance(value, int)]
        for name, wrong in call.wrong.items()
    }
    assert 0 in numbers["size"]
    assert 0 not in numbers["share"]


@pytest.mark.parametrize("name", CALLS)
def test_every_wrong_argument_is_refused_by_name(name):
    call = CALLS[name]
    found = [
        (name, {argument: value}, trouble(call, {argument: value}))
        for argument, wrong in call.wrong.items()
        for value in wrong.always
    ]
    assert not report(found), report(found)


@st.composite
def wrong_calls(draw):
    """A call with one or two arguments of which both are wrong."""
    name = draw(st.sampled_from(sorted(CALLS)))
    arguments = sorted(CALLS[name].wrong)
    chosen = draw(st.lists(st.sampled_from(arguments), min_size=1, max_size=2, unique=True))
    return name, {argument: draw(CALLS[name].wrong[argument].drawn) for argument in chosen}


@given(case=wrong_calls())
@settings(max_examples=200)
def test_drawn_wrong_arguments_are_refused_by_the_name_of_one(case):
    name, wrong = case
    found = [(name, wrong, trouble(CALLS[name], wrong))]
    assert not report(found), report(found)


def test_the_good_arguments_are_good():
    """Else the calls would be refused for another reason; `fit` and its kin stand for all."""
    steps = ("TeacherForcing.fit", "TeacherForcing pairs.train_on_batch", "TeacherForcing.predict")
    names = ("MemoryReplay.push", "content_weights", "copy_task", "unroll", *steps)
    for name in names:
        CALLS[name].function(**CALLS[name].good)


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
