"""Frozen parts stay frozen through files, and optimizers keep their state for what is left."""

import keras
import numpy as np
import pytest

from mf_keras import MemoryForcing, SequenceDiscriminator, SequenceGenerator
from tests.small import binary, small_cell


def discriminator(**kwargs):
    return SequenceDiscriminator(gru_units=3, dense_units=(3, 2), **kwargs)


def forcing():
    """A model with a part frozen in each of its three networks, and one thawed in a frozen one."""
    generator = SequenceGenerator(small_cell(learn_initial_memory=True))
    hidden, memory = discriminator(), discriminator(spectral_normalization=True)
    model = MemoryForcing(generator, hidden, memory, gate=None)
    generator.cell.interface.trainable = False
    generator.cell.initial_memory.trainable = False
    hidden.gru.trainable = False
    hidden.dense[0].trainable = False
    memory.trainable = False
    memory.logit.trainable = True
    model.compile(
        keras.optimizers.Adam(0.1),
        discriminator_optimizer=keras.optimizers.Adam(0.1),
        run_eagerly=True,
    )
    return model


def flags(model):
    """Whether each weight is trainable, of the generator and of both discriminators."""
    parts = [model.generator, model.hidden_discriminator, model.memory_discriminator]
    return [[variable.trainable for variable in part.weights] for part in parts]


def values(variables):
    return [np.array(variable) for variable in variables]


@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_what_is_frozen_is_frozen_after_a_file_and_optimizers_keep_their_state(tmp_path):
    model, x = forcing(), binary(4, 3, 1)
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert flags(loaded) == flags(model)
    assert not loaded.generator.cell.interface.trainable
    assert not loaded.hidden_discriminator.gru.trainable
    assert [layer.trainable for layer in loaded.hidden_discriminator.dense] == [False, True]
    assert not loaded.memory_discriminator.trainable
    assert loaded.memory_discriminator.logit.trainable
    frozen = values(v for v in loaded.generator.weights if not v.trainable)
    for each in (model, loaded):
        each.fit(x, verbose=0)
    after = values(v for v in loaded.generator.weights if not v.trainable)
    for one, other in zip(frozen, after, strict=True):
        np.testing.assert_array_equal(one, other)
    optimizers = [model.optimizer, loaded.optimizer]
    for one, other in zip(*(values(o.variables) for o in optimizers), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_is_kept_in_layers_of_keras_and_before_anything_is_built():
    cell = small_cell()
    cell.readout.trainable = False
    again = type(cell).from_config(cell.get_config())
    assert type(cell).from_config(again.get_config()).get_config() == cell.get_config()
    inputs = keras.Input((3, 2))
    model = keras.Model(inputs, keras.layers.RNN(again)(inputs))
    count = len(model.weights) - 2
    assert len(model.trainable_variables) == count
    assert len(keras.Model.from_config(model.get_config()).trainable_variables) == count


def test_a_frozen_cell_and_one_without_frozen_parts_have_no_more_in_their_configuration():
    for kwargs in ({}, {"trainable": False}):
        cell = small_cell(learn_initial_memory=True, **kwargs)
        cell.build((None, 2))
        assert "trainable_parts" not in cell.get_config()
        assert all(v.trainable is cell.trainable for v in cell.weights)
