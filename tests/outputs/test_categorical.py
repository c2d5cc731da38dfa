"""Tokens: the embedding's weights belong to the generator."""

import keras
import numpy as np
import pytest
from keras import ops

from mf_keras import NTMCell, SequenceGenerator
from mf_keras.outputs import Categorical


def generator(output):
    cell = NTMCell(keras.layers.SimpleRNNCell(3), output.size, memory_size=3, word_size=2)
    return SequenceGenerator(cell, output)


def test_an_embedding_is_read_and_owned_by_its_generator():
    output = Categorical(5, embedding=2)
    made = generator(output)
    (weights,) = output.variables
    assert weights.shape == (5, 2)
    assert any(weights is variable for variable in made.trainable_variables)
    assert made.cell.input_size == output.input_size == 2
    read = output.encode(ops.convert_to_tensor([[3, -1]]), "float32")
    np.testing.assert_allclose(read, [[weights[3], [0.0, 0.0]]])


def test_without_an_embedding_there_are_no_more_weights():
    made = generator(Categorical(5))
    assert not made.output.variables
    assert len(made.variables) == len(made.cell.variables)


@pytest.mark.parametrize("embedding", [0, -1, 1.5, "2", True])
def test_wrong_sizes_are_named(embedding):
    with pytest.raises((TypeError, ValueError), match="embedding must be an integer >= 1"):
        Categorical(3, embedding=embedding)
