import sys
import types

import keras
import numpy as np
import pytest

from mf_keras import DNCCell, SequenceGenerator
from mf_keras.backend import datasets
from mf_keras.forcing.checked import stream_checks
from mf_keras.forcing.data import GeneratorData
from mf_keras.outputs import Bernoulli, Categorical, Joint


def test_without_tensorflow_nothing_is_a_dataset(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    for x in (np.zeros(3), [1], None):
        assert not datasets.is_dataset(x)
        assert not datasets.is_endless(x)


@pytest.mark.parametrize(("cardinality", "endless"), [(-1, True), (-2, False), (5, False)])
def test_a_dataset_of_somebody_who_has_tensorflow_is_one(monkeypatch, cardinality, endless):
    class Dataset:
        """As much of a `tf.data.Dataset` as is asked for."""

        def cardinality(self):
            return np.int64(cardinality)

    found = types.SimpleNamespace(Dataset=Dataset, INFINITE_CARDINALITY=-1)
    monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(data=found))
    assert datasets.is_dataset(Dataset())
    assert datasets.is_endless(Dataset()) is endless
    assert not datasets.is_dataset(np.zeros(3))


class Tensor(np.ndarray):
    def set_shape(self, shape):
        assert self.shape == shape


class Mapped:
    """As much of a dataset as `map` needs: one element."""

    def __init__(self, *parts):
        self.parts = parts

    def map(self, function):
        return function(*self.parts)


@pytest.mark.parametrize("wrong", [None, "gap", "value", "size"])
def test_the_conditions_of_a_dataset_are_seen_on_arrays(monkeypatch, wrong):
    """Which a graph of TensorFlow hands over, where Keras' own functions are JAX's."""
    nest = types.SimpleNamespace(flatten=keras.tree.flatten, map_structure=keras.tree.map_structure)
    found = types.SimpleNamespace(
        nest=nest,
        numpy_function=lambda function, inputs, dtypes: [
            np.asarray(x).view(Tensor) for x in function(*inputs)
        ],
    )
    monkeypatch.setitem(sys.modules, "tensorflow", found)
    cell = DNCCell(keras.layers.GRUCell(2), 3, 3, 2, 1)
    generator = SequenceGenerator(cell, Joint({"a": Bernoulli(1), "b": Categorical(2)}))
    data = GeneratorData(generator)
    x, weights = np.zeros((2, 3, 2), "int32"), np.float32([[1, 1, 0], [1, 1, 1]])
    x[0, 2] = 9  # padding may hold anything
    if wrong == "gap":
        weights[1] = [1, 0, 1]
    elif wrong == "value":
        x[1, 0] = 2
    elif wrong == "size":
        weights = np.ones((3, 3), "float32")
    batch = Mapped(x, None, weights)
    if wrong is None:
        seen, nothing, same = datasets.with_checks(batch, *stream_checks(data, "x"))
        np.testing.assert_array_equal(seen, x)
        np.testing.assert_array_equal(same, weights)
        assert nothing is None
    else:
        words = {"gap": "got a gap", "value": "must hold only", "size": "as many sequences"}
        with pytest.raises(ValueError, match=words[wrong]):
            datasets.with_checks(batch, *stream_checks(data, "x"))
