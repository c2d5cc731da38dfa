import unittest.mock

import numpy as np
import pytest

from mf_keras import SequenceGenerator, backend, outputs
from mf_keras.page import LocalModel, RemoteModel
from mf_keras.serving import Client, ServerError
from tests.small import small_cell, small_generator

LENGTH = 6


@pytest.fixture
def local(monkeypatch):
    """A generator and its model, which runs step by step: compilation is not the point."""
    monkeypatch.setattr(backend, "CompiledFor", lambda layer, function: function)
    generator = small_generator()
    return generator, LocalModel(generator, LENGTH)


def assert_is_what_the_generator_does(generator, run):
    x = np.asarray(run.sequence)[np.newaxis]
    _, trace = generator.teacher_force(x)
    for field in ("memory", "read_weights", "write_weights"):
        expected = np.asarray(getattr(trace, field)[0])
        np.testing.assert_allclose(getattr(run, field), expected, atol=1e-5)
    assert run.nll == pytest.approx(float(generator.nll(x)[0]), rel=1e-5)


def test_a_sample_is_that_of_the_seed(local):
    generator, model = local
    run = model.complete([], seed=5, temperature=0.7)
    samples, _, _ = generator.free_run(1, LENGTH, seed=5, temperature=0.7)
    np.testing.assert_array_equal(run.sequence, samples[0])
    assert run.given == 0
    assert_is_what_the_generator_does(generator, run)


def test_a_completion_begins_with_what_is_given(local):
    generator, model = local
    sample = np.asarray(model.complete([], 3, 1.0).sequence)[:, 0]
    run = model.complete([1, 0, 1], 3, 1.0)
    np.testing.assert_array_equal(run.sequence[:3, 0], [1, 0, 1])
    assert run.given == 3
    assert_is_what_the_generator_does(generator, run)
    # A seed's own beginning is completed as its sample was.
    np.testing.assert_array_equal(model.complete(sample[:4], 3, 1.0).sequence[:, 0], sample)


def test_teacher_forcing_is_on_the_data(local):
    generator, model = local
    data = [1, 1, 0, 1, 0, 0]
    run = model.force(data)
    np.testing.assert_array_equal(run.sequence[:, 0], data)
    assert run.given == LENGTH
    assert_is_what_the_generator_does(generator, run)


def test_tokens(monkeypatch):
    monkeypatch.setattr(backend, "CompiledFor", lambda layer, function: function)
    generator = SequenceGenerator(small_cell(units=4), outputs.Categorical(4))
    model = LocalModel(generator, LENGTH)
    assert model.classes == 4
    run = model.complete([3, 2], 0, 1.0)
    assert run.sequence.shape == (LENGTH,)
    np.testing.assert_array_equal(run.sequence[:2], [3, 2])
    assert_is_what_the_generator_does(generator, run)


def test_generators_that_the_page_cannot_show_are_refused():
    with pytest.raises(TypeError, match="generator must be a SequenceGenerator"):
        LocalModel("digits", LENGTH)
    with pytest.raises(ValueError, match="length must be"):
        LocalModel(small_generator(), 0)
    with pytest.raises(ValueError, match="generator must have steps of one bit or one token"):
        LocalModel(small_generator(2), LENGTH)
    with pytest.raises(ValueError, match="generator must have no context"):
        LocalModel(SequenceGenerator(small_cell(), context_size=2), LENGTH)


class StubTransport:
    """Answers as a server of a model of 6 bits would."""

    def __init__(self, **inputs):
        self.inputs = {"sequences": ("float32", (None, LENGTH, 1)), **inputs}
        self.asked = []

    def predict(self, signature, inputs, timeout):
        self.asked.append((signature, {name: x.tolist() for name, x in inputs.items()}))
        sequences = np.ones((1, LENGTH, 1), "float32")
        prefix = inputs.get("prefix", np.zeros((1, 0, 1)))
        sequences[:, : prefix.shape[1]] = prefix
        return {
            "sample": {"samples": sequences, "nll": np.array([2.0])},
            "complete": {None: sequences},
            "score": {None: np.array([4.5])},
            "trace": {"hidden": np.zeros((1, LENGTH, 3)), "memory": np.ones((1, LENGTH, 2, 2))},
        }[signature]

    def signatures(self, timeout):
        names = ("sample", "complete", "score", "trace")
        return {name: {"inputs": self.inputs, "outputs": {}} for name in names}


def remote(transport, **options):
    client = Client("http://localhost:1")
    client._transport = transport
    return RemoteModel(client, **options)


def test_a_remote_model_asks_for_completion_trace_and_score():
    transport = StubTransport()
    model = remote(transport)
    assert (model.length, model.classes) == (LENGTH, None)
    run = model.complete([0, 1], 7, 0.5)
    whole = [[0.0], *[[1.0]] * 5]
    assert transport.asked == [
        ("complete", {"prefix": [[[0.0], [1.0]]], "seed": [7], "temperature": [0.5]}),
        ("trace", {"sequences": [whole]}),
        ("score", {"sequences": [whole]}),
    ]
    assert (run.given, run.nll) == (2, 4.5)
    assert run.memory.shape == (LENGTH, 2, 2)
    assert (run.read_weights, run.write_weights) == (None, None)
    assert model.complete([], 7, 0.5).given == 0
    assert transport.asked[3][0] == "sample"
    assert model.force([1] * LENGTH).given == LENGTH


def test_a_remote_model_of_unequal_lengths_gets_whole_ones():
    transport = StubTransport(lengths=("int64", (None,)))
    remote(transport).complete([], 0, 1.0)
    assert transport.asked[-1][1]["lengths"] == [LENGTH]
    remote(transport, length=LENGTH).complete([], 0, 1.0)
    assert transport.asked[-1][1]["lengths"] == [LENGTH]
    with pytest.raises(ValueError, match=f"length must be that of the server's model, {LENGTH}"):
        remote(transport, length=LENGTH + 1)


def test_a_server_that_does_not_describe_its_model_is_told_the_length():
    transport = StubTransport()
    transport.signatures = unittest.mock.Mock(side_effect=ServerError("NOT_FOUND", "no metadata"))
    assert remote(transport, length=3).length == 3
    with pytest.raises(ServerError, match="no metadata"):
        remote(transport)


def test_remote_models_that_the_page_cannot_show_are_refused():
    with pytest.raises(TypeError, match=r"client must be a serving\.Client"):
        RemoteModel("http://localhost:1")
    with pytest.raises(ValueError, match="client must have a model without a context"):
        remote(StubTransport(context=("float32", (None, 2))))
    with pytest.raises(ValueError, match="one bit a step"):
        remote(StubTransport(sequences=("int32", (None, LENGTH))))
    with pytest.raises(ValueError, match="client must have a model of tokens"):
        remote(StubTransport(), classes=4)
