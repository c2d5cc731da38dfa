import keras
import pytest

from mf_keras import DNCCell, KanervaCell, MANNCell, NTMCell
from train.runs.model import (
    WATCHED,
    BehaviourOptions,
    ForcingOptions,
    ModelOptions,
    make_optimizer,
)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("dnc", DNCCell), ("kanerva", KanervaCell), ("mann", MANNCell), ("ntm", NTMCell)],
)
def test_options_reach_the_cell(name, kind):
    options = ModelOptions(cell=name, controller_units=4, memory_size=3, word_size=2, num_reads=1)
    cell = options.make_cell(5)
    assert isinstance(cell, kind)
    assert (cell.units, cell.controller.units, cell.memory_size) == (5, 4, 3)
    assert (cell.word_size, cell.num_reads) == (2, 1)


def test_the_optimizer_is_the_papers():
    adam = make_optimizer(0.25)
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.9, 0.98, 1e-9)
    assert float(adam.learning_rate) == 0.25


def test_the_learning_rate_falls_to_0_if_asked():
    rate = make_optimizer(0.5, cosine_steps=10).get_config()["learning_rate"]
    rate = keras.optimizers.schedules.deserialize(rate)
    assert [float(rate(step)) for step in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0.0])


def test_gates_and_the_learning_rate_of_discriminators():
    assert ForcingOptions().gate() == {}
    options = ForcingOptions(no_gate=True, discriminator_learning_rate=0.25)
    assert options.gate() == {"gate": None}
    assert float(options.discriminator_optimizer().learning_rate) == 0.25


def test_discriminators_of_behaviours_have_the_options():
    options = BehaviourOptions(discriminator_steps=3, discriminator_units=5, pooling="last")
    found = options.of_behaviours(WATCHED["memory_forcing"])
    assert found.pop("discriminator_steps") == 3
    assert sorted(found) == ["hidden_discriminator", "memory_discriminator"]
    for discriminator in found.values():
        assert (discriminator.gru_units, discriminator.pooling) == (5, "last")
        assert not discriminator.layer_normalization
    options = BehaviourOptions(layer_normalization=True, spectral_normalization=True, no_gate=True)
    found = options.of_behaviours(WATCHED["professor_forcing"])
    assert found["gate"] is None
    assert "memory_discriminator" not in found
    assert found["hidden_discriminator"].layer_normalization
    assert found["hidden_discriminator"].spectral_normalization
