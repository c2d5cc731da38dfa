import keras
import pytest

from mf_keras import MemoryForcing, ProfessorForcing
from tests.forcing.small import assert_same, discriminators, make, weights_of
from tests.small import binary, small_generator


def test_without_c_m_memory_forcing_is_professor_forcing():
    x = binary(4, 2, 1)
    models = [make(ProfessorForcing), make(MemoryForcing, memory_weight=0.0)]
    for model in models:
        model.fit(x, epochs=2, shuffle=False, verbose=0)
    assert_same(*(weights_of(model.generator) for model in models))
    assert_same(*(weights_of(model.hidden_discriminator) for model in models))


def test_the_documented_defaults():
    model = ProfessorForcing(small_generator(), **discriminators(ProfessorForcing))
    model.compile()
    (player,) = model.adversaries.values()
    assert type(player.optimizer) is keras.optimizers.Adam
    assert float(player.optimizer.learning_rate) == pytest.approx(1e-3)
    assert (player.decay, player.gate) == (0.95, (0.75, 0.99))


def test_it_watches_hidden_states_alone_and_its_file_does_not_say_so():
    model = ProfessorForcing(small_generator(), **discriminators(ProfessorForcing), hidden_weight=2)
    config = model.get_config()
    assert not {"watch", "weights", "discriminators", "memory_weight"} & set(config)
    again = ProfessorForcing.from_config(config)
    assert list(again.adversaries) == ["hidden"]
    assert again.cost_weights == {"hidden": 2.0}
