"""Small models and data for the tests."""

import keras
import numpy as np

from mf_keras import MANNCell, SequenceGenerator, SequenceTransducer


class LouderInTraining(keras.layers.GRUCell):
    """A controller that tells whether it is trained."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states)
        return (2.0 * output if training else output), states


def small_cell(units=1, kind=MANNCell, **kwargs):
    """A cell of hidden size 8 with a memory of 5 x 4.

    The default kind takes half the time of a `DNCCell`, eagerly and while tracing: it is for tests
    that are about anything but the cell.
    """
    controller = keras.layers.GRUCell(8)
    return kind(controller, units, **{"memory_size": 5, "word_size": 4, "num_reads": 1, **kwargs})


def small_generator(units=1, **kwargs):
    """A generator whose logits vary: the initial weights alone say 1/2 to everything."""
    generator = SequenceGenerator(small_cell(units, **kwargs))
    random = np.random.default_rng(0)
    for variable in generator.trainable_variables:
        variable.assign(3.0 * variable + random.normal(scale=0.3, size=variable.shape))
    return generator


def small_transducer(units=2, **kwargs):
    transducer = SequenceTransducer(small_cell(units, **kwargs))
    transducer.build((None, None, units + 1))
    return transducer


def binary(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 2, size=shape).astype("float32")
