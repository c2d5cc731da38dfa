"""The algorithms that learn from rewards take steps on JAX, and are saved whole."""

import keras
import numpy as np
import pytest

from mf_keras import (
    MANNCell,
    MemoryReplay,
    MemoryReward,
    Policy,
    SequenceGAN,
    SequenceGenerator,
    TapeCell,
)
from mf_keras.environments import Tapes
from mf_keras.outputs import Categorical


def tokens():
    """A sequence GAN with roll-outs, and its data."""
    cell = MANNCell(keras.layers.Dense(3, "tanh"), 3, 3, 2, 1)
    model = SequenceGAN(SequenceGenerator(cell, Categorical(3)), rollouts=2)
    return model, np.random.default_rng(0).integers(3, size=(4, 3)).astype("int32")


def tapes():
    """A policy whose memory is a tape, with a critic and rewards for its memory, and its tasks."""
    environment = Tapes(3, 2, 2, steps=4)
    cell = TapeCell(keras.layers.Dense(3, "tanh"), environment.actions.size + 3, 3, 3)
    model = MemoryReward(
        Policy(cell, environment),
        replay=MemoryReplay(8),
        discriminator_batch=1,
        success=-2.2,  # that of even odds: so that there are episodes of both kinds
        entropy=0.1,
        baseline="critic",
    )
    return model, environment.tasks(8, seed=0)


@pytest.mark.parametrize("make", [tokens, tapes])
def test_a_step_moves_all_players_and_is_saved(make, tmp_path):
    model, x = make()
    model.compile(keras.optimizers.Adam(0.1))
    before = [np.array(weight) for weight in model.trainable_variables]
    history = model.fit(x, batch_size=len(x), epochs=2, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())
    moved = [np.any(a != b) for a, b in zip(before, model.trainable_variables, strict=True)]
    assert all(moved)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(model.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(a, b)
