import sys
import types

import numpy as np
import pytest

from mf_keras.backend import datasets


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
