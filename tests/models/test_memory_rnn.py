import keras
import numpy as np
import pytest

from mf_keras import DNCCell, MemoryRNN, NTMCell, backend, unroll
from mf_keras.models import memory_rnn
from tests.backends import tf
from tests.small import binary

B, T, D = 3, 5, 2
SIZES = {"units": 2, "memory_size": 4, "word_size": 3, "num_reads": 2}
MASK = np.array([[0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], bool)  # (B, T)


def make_cell(kind=NTMCell, **options):
    keras.utils.set_random_seed(1)
    cell = kind(keras.layers.GRUCell(4, dtype=options.get("dtype")), **SIZES, **options)
    cell.build((None, D))
    for variable in cell.trainable_variables:  # far from the tame initial weights
        variable.assign(2.0 * variable)
    return cell


def sequences(batch=B, time=T, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, D)).astype("float32")


def close_all(actual, expected, tolerance=1e-5):
    for a, b in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        a, b = np.asarray(a, "float32"), np.asarray(b, "float32")
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


def results(layer, x, **call):
    """What the layer gives, and the gradients of all of it."""
    x = tf.constant(x)
    variables = [v.value for v in layer.trainable_variables]
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = layer(x, **call)
        loss = sum(tf.reduce_sum(tf.sin(part)) for part in tf.nest.flatten(outputs))
    return outputs, tape.gradient(loss, [x, *variables], unconnected_gradients="zero")


@pytest.mark.parametrize(
    ("sequence", "backwards", "zeros"),
    [(False, False, False), (True, True, False), (True, False, True), (False, True, True)],
)
def test_equals_keras_rnn_with_masks_states_and_gradients(sequence, backwards, zeros):
    cell, x = make_cell(), sequences()
    options = {
        "return_sequences": sequence,
        "return_state": True,
        "go_backwards": backwards,
        "zero_output_for_mask": zeros,
    }
    start = cell.unpack(
        [
            tf.constant(np.float32(s))
            for s in np.split(
                np.random.default_rng(1).normal(size=(B, sum(cell.state_size))),
                np.cumsum(cell.state_size)[:-1],
                axis=1,
            )
        ]
    )
    call = {"initial_state": cell.pack(start), "mask": MASK}
    expected = results(keras.layers.RNN(cell, **options), x, **call)
    layer = MemoryRNN(cell, **options)
    close_all(results(layer, x, **call), expected)
    if not zeros:
        close_all(results(layer, x, mask=MASK, initial_state=start), expected)
    spec = layer.compute_output_spec(x)
    for given, tensor in zip(spec, expected[0], strict=True):
        assert (given.shape, given.dtype) == (tensor.shape, tensor.dtype.name)
    assert layer.compute_output_shape(x.shape) == tuple(tuple(y.shape) for y in expected[0])


def test_returns_the_trace_or_fields_of_it():
    cell, x = make_cell(DNCCell), sequences()
    expected = unroll(cell, x, mask=MASK)
    layer = MemoryRNN(cell, return_sequences=True, return_state=True, return_trace=True)
    outputs, trace, *states = layer(x, mask=MASK)
    assert tuple(trace) == expected[1]._fields
    close_all((outputs, type(expected[1])(**trace), cell.unpack(states)), expected, 1e-6)
    layer = MemoryRNN(cell, return_trace=("memory",), chunk=2)
    last, trace = layer(x, mask=MASK)
    assert list(trace) == ["memory"]
    close_all((last, trace["memory"]), (expected[0][:, -1], expected[1].memory), 1e-6)
    entry = keras.Input((None, D))
    outputs = layer(entry)
    assert outputs[1]["memory"].shape == (None, None, 4, 3)
    last, trace = keras.Model(entry, outputs)(x)
    expected = unroll(cell, x)
    close_all((last, trace["memory"]), (expected[0][:, -1], expected[1].memory), 1e-6)


def test_a_stateful_layer_goes_on_and_begins_anew_with_the_state_of_the_cell():
    """Keras' own begins anew with zeros, where an NTM reads nothing."""
    cell, x = make_cell(), sequences(time=6)
    expected, _, _ = unroll(cell, x)
    layer = MemoryRNN(cell, return_sequences=True, stateful=True)
    for _ in range(2):
        parts = [layer(x[:, :2]), layer(x[:, 2:])]
        close_all(np.concatenate(parts, axis=1), expected.numpy())
        layer.reset_state()
    with pytest.raises(ValueError, match="sequences must have 3 rows"):
        layer(x[:2])


def test_bidirectional_functional_and_nested_models_are_those_of_keras(tmp_path):
    """Masks come from an embedding; files bring all back."""
    tokens = np.array([[0, 3, 1, 0, 2], [1, 2, 0, 0, 0], [3, 3, 2, 1, 1]])

    def build(kind):
        keras.utils.set_random_seed(2)
        entry = keras.Input((None,), dtype="int32")
        x = keras.layers.Embedding(4, D, mask_zero=True)(entry)
        both = keras.layers.Bidirectional(kind(make_cell(), return_sequences=True))(x)
        inner = keras.Sequential([kind(make_cell(DNCCell), return_state=False)])
        inner.build((None, None, D))
        last, *states = kind(make_cell(DNCCell), return_state=True)(x)
        start = kind(make_cell(DNCCell))(x, initial_state=states)
        nested = inner(keras.layers.Embedding(4, D)(entry))
        return keras.Model(entry, [both, nested, last, start])

    model, reference = build(MemoryRNN), build(keras.layers.RNN)
    assert [v.shape for v in model.variables] == [v.shape for v in reference.variables]
    model.set_weights(reference.get_weights())
    close_all(model(tokens), reference(tokens))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    close_all(loaded(tokens), model(tokens), 0)


@pytest.mark.long
def test_fits_as_keras_rnn_does_with_compiled_loops():
    """One compiled `fit`: the same losses, in a graph with loops that XLA compiles."""
    cell, losses = make_cell(), []
    weights = cell.get_weights()
    x, y = sequences(batch=4), binary(4, T, 2)  # parts of one size on two cores: one program
    for layer, eager in (
        (keras.layers.RNN(cell, return_sequences=True), True),
        (MemoryRNN(cell, return_sequences=True), False),
    ):
        cell.set_weights(weights)
        model = keras.Sequential([keras.Input((T, D)), layer])
        model.compile(keras.optimizers.SGD(0.5), "mse", run_eagerly=eager)
        assert len(model.trainable_variables) == len(cell.trainable_variables)
        losses.append(model.fit(x, y, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert losses[0][1] < losses[0][0]


def test_compiles_loops_in_training_on_a_known_number_of_steps(monkeypatch):
    """XLA compiles anew for every length, and `predict` and exports can do without it."""
    cell, found = make_cell(), []

    def recorded(cell, inputs, state, *args, **kwargs):
        found.append(backend.loops_are_compiled())
        return inputs[:, 0], None, state

    def trace(training, length, **options):
        layer = MemoryRNN(cell, **options)
        run = tf.function(lambda x: layer(x, training=training), autograph=False)
        run.get_concrete_function(tf.TensorSpec((B, length, D), "float32"))

    monkeypatch.setattr(memory_rnn, "run", recorded)
    for training, length in ((True, T), (True, None), (False, T)):
        trace(training, length)
    trace(True, T, jit_compile=False)
    trace(False, None, jit_compile=True)
    assert found == [True, False, False, False, True]


def test_computes_in_half_floats_like_keras_rnn():
    cell, x = make_cell(dtype="mixed_bfloat16"), sequences()
    expected = results(keras.layers.RNN(cell, dtype="mixed_bfloat16"), x)
    actual = results(MemoryRNN(cell, dtype="mixed_bfloat16"), x)
    close_all(actual, expected, 0.05)


def test_configuration_brings_back_the_arguments():
    options = {
        "return_sequences": True,
        "return_state": True,
        "return_trace": ("memory", "hidden"),
        "chunk": "sqrt",
        "go_backwards": True,
        "stateful": True,
        "zero_output_for_mask": True,
        "jit_compile": False,
    }
    layer = MemoryRNN(make_cell(), **options)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert {name: getattr(again, name) for name in options} == options


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cell": keras.layers.GRUCell(3)}, TypeError, "cell must be a memory cell"),
        ({"return_state": 1}, TypeError, "return_state must be"),
        ({"return_trace": "memory"}, TypeError, "return_trace must be names of fields"),
        ({"return_trace": ("color",)}, ValueError, "return_trace must name fields"),
        ({"chunk": 0}, ValueError, "chunk must be"),
        ({"jit_compile": "loops"}, ValueError, "jit_compile must be"),
        ({"jit_compile": 1}, TypeError, "jit_compile must be"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        MemoryRNN(**{"cell": make_cell(), **options})


def test_refuses_bad_data():
    layer = MemoryRNN(make_cell())
    with pytest.raises(ValueError, match="sequences must have 2 features"):
        layer(np.zeros((B, T, 3), "float32"))
    with pytest.raises(ValueError, match="sequences must have 2 features"):
        layer(keras.Input((T, 3)))
    with pytest.raises(ValueError, match="sequences must have shape"):
        MemoryRNN(make_cell())(np.zeros((B, T), "float32"))
    with pytest.raises(TypeError, match="initial_state must be a list"):
        layer(sequences(), initial_state=3)
    with pytest.raises(ValueError, match="the states of NTMCell must be"):
        layer(sequences(), initial_state=[np.zeros((B, 4), "float32")])
