"""What `fit` and its kin refuse of sets of images, and what a file of a training holds."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import KanervaMachine, checkpoints

PIXELS, CODE = 6, 3


def make_machine(**options):
    keras.utils.set_random_seed(0)
    layers = keras.layers.Dropout(0.5), keras.layers.Dense(CODE)
    encoder = keras.Sequential([keras.Input((PIXELS,)), *layers])
    decoder = keras.Sequential([keras.Input((CODE,)), keras.layers.Dense(PIXELS)])
    machine = KanervaMachine(encoder, decoder, 4, CODE, **options)
    machine.compile("sgd", run_eagerly=True)
    return machine


def images(b=2, t=3, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (b, t, PIXELS)).astype("float32")


class Batches(keras.utils.PyDataset):
    def __init__(self, *batches):
        super().__init__()
        self.batches = batches

    @property
    def num_batches(self):
        return len(self.batches)

    def __getitem__(self, index):
        return self.batches[index]


def wrong(value):
    x = images()
    x[1, 2, 0] = value
    return x


@pytest.mark.parametrize("method", ["fit", "evaluate", "predict", "train_on_batch"])
@pytest.mark.parametrize("value", [np.nan, -0.1, 1.1, np.inf])
def test_pixels_of_an_array_are_refused_at_once(method, value):
    with pytest.raises(ValueError, match=r"x must hold only pixels in \[0, 1\]"):
        getattr(make_machine(), method)(wrong(value))


@pytest.mark.parametrize(
    ("x", "error", "message"),
    [
        (None, ValueError, "x must be given"),
        ([[0.0]], TypeError, "x must be an array, a tensor or a stream"),
        (np.array([[["a"] * PIXELS]]), TypeError, "x must hold numbers"),
        (images()[0], ValueError, r"x must have shape \(B, T, ...\)"),
        (images()[..., :5], ValueError, r"x must have shape \(B, T, 6\)"),
        (images()[:0], ValueError, "x must have shape"),
    ],
)
def test_what_is_no_set_of_images_is_refused_by_name(x, error, message):
    with pytest.raises(error, match=message):
        make_machine().fit(x)


@pytest.mark.parametrize("name", ["y", "sample_weight"])
def test_whatever_comes_beside_images_is_refused(name):
    machine = make_machine()
    with pytest.raises(ValueError, match=f"{name} must not be given"):
        machine.fit(images(), **{name: np.zeros(2)})
    stream = tf.data.Dataset.from_tensors((images(), np.zeros(2)))
    with pytest.raises(ValueError, match="batches without targets"):
        machine.fit(stream)


def test_streams_are_checked_as_they_come():
    machine, good, bad = make_machine(), images(), wrong(2.0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="x must hold only pixels"):
        machine.fit(tf.data.Dataset.from_tensor_slices([good, bad]), verbose=0)
    for stream in (Batches(good, bad), (x for x in (good, bad))):
        with pytest.raises(ValueError, match="a batch of x must hold only pixels"):
            machine.fit(stream, verbose=0)
    with pytest.raises(ValueError, match=r"a batch of x must have shape \(B, T, 6\)"):
        machine.fit(tf.data.Dataset.from_tensors(good[..., :2]))


def test_validation_data_are_checked_and_may_be_an_array():
    machine = make_machine()
    with pytest.raises(ValueError, match="validation_data must hold only pixels"):
        machine.fit(images(), validation_data=wrong(-1.0))
    with pytest.raises(ValueError, match="validation_data must give batches without targets"):
        machine.fit(images(), validation_data=(images(), images()))
    for data in (images(seed=1), (images(seed=1),), tf.data.Dataset.from_tensors(images(seed=1))):
        history = machine.fit(images(), validation_data=data, verbose=0).history
        assert np.isfinite(history["val_bound"]).all()


def test_evaluation_draws_the_same_numbers_and_none_of_those_of_the_training():
    machine, again = make_machine(), make_machine()
    found = [machine.evaluate(images(), verbose=0) for _ in range(2)]
    assert found[0] == found[1]
    for each in (machine, again):
        each.train_on_batch(images())
    for a, b in zip(machine.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_that_is_saved_and_loaded_is_the_same_training(tmp_path):
    """Weights, momentum, random states, those of dropout too, and the logs of the epoch."""

    def train(machine, seeds):
        for seed in seeds:
            machine.train_on_batch(images(seed=seed))

    whole, first = make_machine(), make_machine()
    for machine in (whole, first):
        machine.compile(keras.optimizers.Adam(1e-2), run_eagerly=True)
    train(whole, range(2))
    train(first, range(1))
    checkpoints.save_model(first, tmp_path / "last.keras")
    loaded = checkpoints.load_latest(tmp_path / "last.keras", like=make_machine())
    assert loaded.trained_steps == 1
    for before, after in zip(first.metrics, loaded.metrics, strict=True):
        assert float(before.result()) == pytest.approx(float(after.result()))
    train(loaded, range(1, 2))
    for a, b in zip(whole.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
