"""The same seed gives the same weights, to the bit; another seed gives others.

Of positive/negative forcing `test_positive_negative` has the same, compiled as a whole.
"""

import keras
import numpy as np
import pytest

from mf_keras import DNCCell, MemoryForcing, SequenceDiscriminator, SequenceGenerator
from tests.small import binary

SIZE, BATCH, TIME = 12, 4, 3


def make(seed):
    """A model, compiled as `compile` does it by default."""
    keras.utils.set_random_seed(seed)
    controller = keras.layers.SimpleRNNCell(3)  # the smallest cell takes least to compile
    cell = DNCCell(controller, 1, memory_size=3, word_size=2, num_reads=1, linkage=None)
    discriminators = [SequenceDiscriminator(3, (2,)) for _ in range(2)]
    model = MemoryForcing(SequenceGenerator(cell), *discriminators, gate=None)
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


def train(model, seed, epochs=2):
    """Shuffled epochs; the model's values after them."""
    keras.utils.set_random_seed(seed)
    model.fit(binary(SIZE, TIME, 1), batch_size=BATCH, epochs=epochs, verbose=0)
    return values(model)


def equal(first, second):
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


@pytest.mark.long
@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_the_seed_decides_all_and_a_run_from_a_keras_file_goes_on_to_the_bit(tmp_path):
    """With compiled loops; the model from the file is traced and compiled anew."""
    model = make(1)
    start = values(model)

    def again(seed, epochs=2):
        for variable, value in zip(variables(model), start, strict=True):
            variable.assign(value)
        return train(model, seed, epochs)

    assert equal(values(make(1)), start)
    assert not equal(values(make(2)), start)
    trained = train(model, 1)
    assert not equal(trained, start)
    for adversary in model.adversaries.values():
        assert int(adversary.optimizer.iterations) > 0
    assert equal(again(1), trained)
    assert not equal(again(2), trained)

    again(1, epochs=1)
    model.save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    assert resumed.get_compile_config()["jit_compile"] == "auto"
    assert equal(*(train(each, 3, epochs=1) for each in (model, resumed)))
