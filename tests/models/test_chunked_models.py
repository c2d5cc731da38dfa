"""Models that keep the states of chunks alone train as those that keep all of them."""

import keras
import numpy as np
import pytest

from mf_keras import (
    MemoryForcing,
    SequenceDiscriminator,
    SequenceTransducer,
    backend,
)
from tests.backends import tf
from tests.small import binary, small_cell, small_generator

X = binary(3, 7, 1)


def with_chunk(model, chunk):
    copy = type(model).from_config({**model.get_config(), "chunk": chunk})
    copy.build(X.shape)
    copy.set_weights(model.get_weights())
    return copy


def transducer():
    keras.utils.set_random_seed(0)
    model = SequenceTransducer(small_cell(units=1))
    model.build(X.shape)
    return model


def gradients(model, *data):
    with tf.GradientTape() as tape:
        nll = model.nll(*data)
    return [nll, *tape.gradient(nll, model.trainable_variables)]


@pytest.mark.parametrize(
    ("make", "data", "chunk"),
    [
        (small_generator, (X,), 1),
        (small_generator, (X,), "sqrt"),
        (transducer, (X, 1.0 - X), 3),
    ],
)
def test_gradients_are_the_same(make, data, chunk):
    model = make()
    chunked = with_chunk(model, chunk)
    for actual, expected in zip(gradients(chunked, *data), gradients(model, *data), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [small_generator, transducer])
def test_the_chunk_reaches_the_scan(make, monkeypatch):
    model, chunks, scan = with_chunk(make(), 3), [], backend.scan

    def watched(*args, **kwargs):
        chunks.append(kwargs["chunk"])
        return scan(*args, **kwargs)

    monkeypatch.setattr(backend, "scan", watched)
    model(X)
    if make is small_generator:
        model.free_run(3, 7, seed=0)
    assert chunks == [3, 3] if make is small_generator else [3]


def test_the_chunk_reaches_both_runs_of_a_forcing_step(monkeypatch):
    """Teacher-forced and free-running: what is trained long needs both in little memory."""
    chunks, scan = [], backend.scan

    def watched(*args, chunk=None, **kwargs):
        chunks.append(chunk)
        return scan(*args, chunk=chunk, **kwargs)

    plain = small_generator()
    generators = [plain, with_chunk(plain, 3)]
    for generator in generators:
        keras.utils.set_random_seed(1)
        model = MemoryForcing(
            generator, SequenceDiscriminator(4, (3,)), SequenceDiscriminator(4, (3,)), gate=None
        )
        model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        if generator.chunk:
            monkeypatch.setattr(backend, "scan", watched)
        model.fit(X, verbose=0)
    assert chunks.count(3) == 2
    for actual, expected in zip(*(g.get_weights() for g in generators[::-1]), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.long
def test_free_running_is_the_same():
    plain = small_generator()
    chunked = with_chunk(plain, "sqrt")
    for draw in (
        lambda model: model.sample(3, 7, seed=1),
        lambda model: model.complete(X[:, :2], 7, seed=1),
        lambda model: model.free_run(3, 7, seed=1)[0],
    ):
        np.testing.assert_array_equal(draw(chunked), draw(plain))


@pytest.mark.parametrize("make", [small_generator, transducer])
def test_files_keep_the_chunk(make, tmp_path):
    with_chunk(make(), "sqrt").save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").chunk == "sqrt"
