"""Every source of data is checked: arrays at once, streams as they come."""

import functools

import keras
import numpy as np
import pytest

from mf_keras import SequenceGenerator, TeacherForcing, outputs
from mf_keras.backend import datasets
from mf_keras.data import copy_task
from tests.backends import tf
from tests.small import binary, small_cell, small_generator, small_transducer


class Batches(keras.utils.PyDataset):
    """Two batches."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.parts if len(self.parts) > 1 else self.parts[0]


def generated(*parts):
    """Keras wants a tuple of a Python generator."""
    while True:
        yield parts


def dataset(*parts):
    return tf.data.Dataset.from_tensors(parts if len(parts) > 1 else parts[0]).repeat(2)


# Name -> (two equal batches, what `evaluate` needs to end).
SOURCES = {
    "PyDataset": (Batches, {}),
    "generator": (generated, {"steps": 2}),
    "tf.data": (dataset, {}),
}
EACH = pytest.mark.parametrize("source", SOURCES)


def compiled(model):
    forcing = TeacherForcing(model)
    forcing.compile("adam", run_eagerly=True)
    return forcing


def message(call):
    """What is said where the call is refused; the text of any kind of error."""
    with pytest.raises((ValueError, tf.errors.OpError)) as error:
        call()
    return str(error.value)


def calls(forcing, source, *parts):
    """`fit`, `evaluate`, and `fit` with it as `validation_data`."""
    make, steps = SOURCES[source]
    options = {f"{name}_per_epoch": count for name, count in steps.items()}
    yield lambda: forcing.fit(make(*parts), verbose=0, **options)
    yield lambda: forcing.evaluate(make(*parts), verbose=0, **steps)


@EACH
def test_values_that_are_no_bits_are_refused(source):
    forcing = compiled(small_generator())
    for wrong in (255.0 * binary(2, 2, 1), 3.0 + binary(2, 3, 1)):
        for call in calls(forcing, source, wrong):
            assert "must hold only 0 and 1" in message(call)
    make, steps = SOURCES[source]
    assert "must hold only 0 and 1" in message(
        lambda: forcing.predict(make(wrong), verbose=0, **steps)
    )
    validation = {"validation_steps": 1} if steps else {}
    assert "must hold only 0 and 1" in message(
        lambda: forcing.fit(binary(2, 2, 1), validation_data=make(wrong), verbose=0, **validation)
    )


@EACH
def test_weights_and_targets_that_make_no_sense_are_refused(source):
    forcing, ones = compiled(small_transducer()), np.ones((2, 3), "float32")
    x, y = binary(2, 3, 3), binary(2, 3, 2)
    wrong = {
        "finite and not negative": (x, y, -ones),
        "count at least one step": (x, y, 0.0 * ones),
        "must hold only 0 and 1": (x, y + 2.0, ones),
        "must be finite": (x * np.float32(np.nan), y, ones),
    }
    for words, parts in wrong.items():
        for call in calls(forcing, source, *parts):
            assert words in message(call)


@EACH
def test_good_streams_train_as_arrays_do(source):
    x, found = binary(2, 2, 1), []
    make, steps = SOURCES[source]
    options = {f"{name}_per_epoch": count for name, count in steps.items()}
    for data, more in ((np.concatenate([x, x]), {"batch_size": 2}), (make(x), options)):
        keras.utils.set_random_seed(0)
        forcing = compiled(small_generator())
        found.append(forcing.fit(data, shuffle=False, verbose=0, **more).history["nll"])
    np.testing.assert_allclose(*found, rtol=1e-6)


@EACH
def test_tokens_out_of_range_are_refused(source):
    forcing = compiled(SequenceGenerator(small_cell(3), outputs.Categorical(3)))
    forcing.fit(np.array([[0, 1, 2]]), verbose=0)
    for call in calls(forcing, source, np.array([[0, 1, 3]])):
        assert "must hold only integers from 0 to 2" in message(call)


def test_parts_of_another_length_are_refused():
    forcing = compiled(small_transducer())
    signature = tuple(tf.TensorSpec((None, None, n), "float32") for n in (3, 2))
    data = tf.data.Dataset.from_generator(
        lambda: iter([(binary(2, 3, 3), binary(2, 4, 2))]), output_signature=signature
    )
    assert "as many sequences and steps in all its parts" in message(
        lambda: forcing.fit(data, verbose=0)
    )


def distributed(strategy, *parts):
    return strategy.experimental_distribute_dataset(dataset(*parts))


@pytest.fixture(scope="module")
def strategy():
    return tf.distribute.MirroredStrategy(["CPU:0"])


def test_datasets_of_a_strategy_are_checked_within_the_steps(strategy):
    x, y, ones = binary(2, 3, 3), binary(2, 3, 2), np.ones((2, 3), "float32")
    with strategy.scope():
        forcing = compiled(small_transducer())
    wrong = {
        "the targets": (x, y + 2.0, ones),
        "finite and not negative": (x, y, -ones),
        "count at least one step": (x, y, 0.0 * ones),
        "inputs of x must be finite": (x * np.float32(np.nan), y, ones),
    }
    wrong["must hold only 0 and 1"] = wrong.pop("the targets")
    before, good = forcing.get_weights(), distributed(strategy, x, y, ones)
    for words, parts in wrong.items():
        data = distributed(strategy, *parts)
        for method in (forcing.fit, forcing.evaluate):
            assert words in message(functools.partial(method, data, verbose=0))
    for one, other in zip(before, forcing.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert words in message(lambda: forcing.fit(good, validation_data=data, verbose=0))
    nan = distributed(strategy, x * np.float32(np.nan))
    assert "x must be finite" in message(lambda: forcing.predict(nan, verbose=0))
    with pytest.raises(ValueError, match=r"x is the dataset of a tf\.distribute strategy"):
        compiled(small_transducer()).fit(good, verbose=0)


def test_a_graph_checks_what_a_generator_or_a_transducer_scores():
    """Traced without XLA, which would drop the assertions."""
    x, generator, transducer = binary(2, 2, 1), small_generator(), small_transducer()
    score = tf.function(generator.nll, autograph=False)
    np.testing.assert_allclose(score(tf.constant(x)), generator.nll(x), rtol=1e-5)
    inputs, targets = tf.constant(binary(2, 3, 3)), tf.constant(binary(2, 3, 2))
    both = tf.function(transducer.nll, autograph=False)
    both(inputs, targets)
    assert "x must hold only 0 and 1" in message(lambda: score(tf.constant(255.0 * x)))
    assert "targets must hold only 0 and 1" in message(lambda: both(inputs, targets + 2.0))


class Endless(keras.utils.PyDataset):
    """One batch, again and again."""

    num_batches = None

    def __init__(self, part):
        super().__init__()
        self.part = part

    def __getitem__(self, index):
        return self.part


@pytest.mark.parametrize("make", [lambda x: dataset(x).repeat(), Endless])
def test_what_never_ends_is_refused_without_a_number_of_steps(make):
    x = binary(2, 2, 1)
    forcing, endless = compiled(small_generator()), make(x)
    assert datasets.is_endless(copy_task(length=3, width=2).batch(1))
    refused = {
        "steps_per_epoch must be given": lambda: forcing.fit(endless, verbose=0),
        "steps must be given": lambda: forcing.evaluate(endless, verbose=0),
        "steps must be given, as x": lambda: forcing.predict(endless, verbose=0),
        "validation_steps must be given": lambda: forcing.fit(
            x, validation_data=endless, verbose=0
        ),
    }
    for words, call in refused.items():
        with pytest.raises(ValueError, match=f"{words}.* never ends"):
            call()
    assert forcing.trained_steps == 0
    forcing.fit(endless, steps_per_epoch=1, validation_data=endless, validation_steps=1, verbose=0)
    forcing.predict(endless, steps=1, verbose=0)
