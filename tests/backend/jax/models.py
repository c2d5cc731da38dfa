"""Small models, compiled as users would, and their data."""

import keras
import numpy as np

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

TIME = 6


def cell(units=1, **options):
    controller = keras.layers.GRUCell(4)
    return DNCCell(controller, units, memory_size=3, word_size=2, num_reads=1, **options)


def discriminator():
    return SequenceDiscriminator(gru_units=3, dense_units=(3,))


def memory_forcing():
    model = MemoryForcing(
        SequenceGenerator(cell()), discriminator(), discriminator(), gate=(0.45, 0.9)
    )
    model.compile(keras.optimizers.Adam(1e-2))
    return model, {"x": binary(8, TIME, 1)}


def positive_negative():
    model = PositiveNegativeMemoryForcing(
        SequenceTransducer(cell(learn_initial_memory=True)),
        discriminator(),
        MemoryReplay(5),
        discriminator_batch=1,
        gate=(0.3, 0.9),
    )
    model.compile(keras.optimizers.Adam(1e-2))
    x = binary(8, TIME, 2)
    weights = np.ones((8, TIME), "float32")
    weights[::2, 1:] = 0.0
    return model, {"x": x, "y": binary(8, TIME, 1, seed=1), "sample_weight": weights}
