"""Scanned digits: sizes, values, the fixed split, and that a sequence is its image."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mf_keras.data import DIGITS_SHAPE, digits

SIZES = {"train": 1397, "validation": 200, "test": 200}


def sequences(split):
    return np.stack(list(digits(split).as_numpy_iterator()))


@pytest.mark.parametrize("split", SIZES)
def test_sizes_and_values(split):
    assert int(digits(split).cardinality()) == SIZES[split]
    x = sequences(split)
    assert x.shape == (SIZES[split], 64, 1)
    assert x.dtype == np.float32
    assert set(np.unique(x)) == {0.0, 1.0}


def test_default_is_train():
    np.testing.assert_array_equal(
        next(digits().as_numpy_iterator()), next(digits("train").as_numpy_iterator())
    )


def test_the_splits_are_the_whole_set_in_the_documented_order():
    images = load_digits().images
    order = np.random.default_rng(0).permutation(len(images))
    x = np.concatenate([sequences(split) for split in SIZES])
    np.testing.assert_array_equal(x.reshape(-1, *DIGITS_SHAPE), images[order] >= 8)


def test_every_split_holds_every_class():
    order = np.random.default_rng(0).permutation(1797)
    classes = load_digits().target[order]
    for part in np.split(classes, [1397, 1597]):
        assert np.bincount(part).min() >= 0.05 * len(part)


def test_every_call_gives_the_same_sequences():
    np.testing.assert_array_equal(sequences("validation"), sequences("validation"))


@pytest.mark.parametrize("split", ["val", "", None, 0, "Train"])
def test_unknown_split(split):
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', 'test'"):
        digits(split)


def test_labels_are_those_of_the_images():
    order = np.random.default_rng(0).permutation(1797)
    pairs = list(digits("validation", labels=True).as_numpy_iterator())
    np.testing.assert_array_equal([x for x, _ in pairs], sequences("validation"))
    np.testing.assert_array_equal([y for _, y in pairs], load_digits().target[order][1397:1597])
    with pytest.raises(TypeError, match="labels must be"):
        digits("test", labels=1)


def test_contexts_are_the_classes():
    pairs = list(digits("validation", labels=True).as_numpy_iterator())
    found = list(digits("validation", contexts=True).as_numpy_iterator())
    np.testing.assert_array_equal([each["sequence"] for each in found], [x for x, _ in pairs])
    contexts = np.stack([each["context"] for each in found])
    assert contexts.dtype == np.float32
    np.testing.assert_array_equal(contexts, np.eye(10)[[y for _, y in pairs]])
    with pytest.raises(ValueError, match="labels must be False where contexts is True"):
        digits("test", labels=True, contexts=True)
    with pytest.raises(TypeError, match="contexts must be True or False"):
        digits("test", contexts=1)
