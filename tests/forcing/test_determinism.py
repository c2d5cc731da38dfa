"""The same seed gives the same weights, to the bit; another seed gives others."""

import keras
import numpy as np
import pytest

from mf_keras import (
    DNCCell,
    MemoryForcing,
    MemoryReplay,
    PositiveNegativeMemoryForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    SequenceTransducer,
)
from tests.small import binary

SIZE, BATCH, TIME = 12, 4, 3


def cell():
    controller = keras.layers.SimpleRNNCell(3)  # the smallest cell takes least to compile
    return DNCCell(controller, 1, memory_size=3, word_size=2, num_reads=1, linkage=None)


def judge():
    return SequenceDiscriminator(3, (2,))


# Teacher forcing draws nothing that these two do not.
GENERATORS = {
    "Memory Forcing": lambda model: MemoryForcing(model, judge(), judge(), gate=None),
}
TRANSDUCERS = {
    "positive/negative": lambda model: PositiveNegativeMemoryForcing(
        model, judge(), MemoryReplay(8), discriminator_batch=1, gate=None
    ),
}


def make(name, seed):
    """A built model, compiled as `compile` does it by default."""
    keras.utils.set_random_seed(seed)
    if name in GENERATORS:
        model = GENERATORS[name](SequenceGenerator(cell()))
    else:
        model = TRANSDUCERS[name](SequenceTransducer(cell()))
        model.build((None, TIME, 2))
    model.compile(keras.optimizers.Adam(0.1))
    return model


def variables(model):
    """All that changes while it trains, but for the means of the logs."""
    players = [model, *model.adversaries.values()]
    logs = {id(v) for metric in model.metrics for v in metric.variables}
    found = [*model.variables, *(v for player in players for v in player.optimizer.variables)]
    return [v for v in found if id(v) not in logs]


def values(model):
    return [np.array(v) for v in variables(model)]


def train(model, name, seed):
    """Two shuffled epochs; the model's values after them."""
    data = {"x": binary(SIZE, TIME, 1)}
    if name in TRANSDUCERS:
        data = {"x": binary(SIZE, TIME, 2), "y": binary(SIZE, TIME, 1, seed=1)}
    keras.utils.set_random_seed(seed)
    model.fit(**data, batch_size=BATCH, epochs=2, verbose=0)
    return values(model)


def equal(first, second):
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", [*GENERATORS, *TRANSDUCERS])
def test_the_seed_decides_all_and_to_the_bit(name):
    first, again = make(name, 1), make(name, 1)
    start = values(first)
    assert equal(values(again), start)
    trained = train(first, name, 1)
    assert not equal(trained, start)
    for adversary in first.adversaries.values():
        assert int(adversary.optimizer.iterations) > 0
    assert equal(train(again, name, 1), trained)
    # Another seed: other weights to begin with, and from the same ones another training.
    assert not equal(values(make(name, 2)), start)
    for variable, value in zip(variables(first), start, strict=True):
        variable.assign(value)
    assert not equal(train(first, name, 2), trained)
