import keras
import numpy as np
import pytest

from mf_keras import SequenceTransducer
from mf_keras.outputs import Bernoulli
from tests.backends import tf
from tests.small import binary, small_cell, small_transducer


def data(batch=3, time=5):
    weights = np.zeros((batch, time), "float32")
    weights[:, 2:] = 1.0
    return binary(batch, time, 3), binary(batch, time, 2, seed=1), weights


def test_nll_counts_the_weighted_steps_alone():
    transducer = small_transducer()
    x, y, weights = data()
    expected = transducer.nll(x, y, weights).numpy()
    y[:, :2] = 1.0 - y[:, :2]
    np.testing.assert_array_equal(transducer.nll(x, y, weights), expected)
    p = 1.0 / (1.0 + np.exp(-transducer(x).numpy().astype("float64")))
    steps = -np.log(np.where(y == 1.0, p, 1.0 - p)).sum(axis=-1)
    np.testing.assert_allclose(expected, (steps * weights).sum(axis=-1), rtol=1e-5)


def test_weights_scale_the_nll_and_only_choose_the_bits():
    targets, weights = np.zeros((2, 3, 2), "float32"), np.float32([[0.0, 0.5, 3.0]] * 2)
    logits = targets - 1.0
    logits[0] = 1.0
    np.testing.assert_array_equal(Bernoulli(2).errors(targets, logits), [6.0, 0.0])
    np.testing.assert_array_equal(Bernoulli(2).errors(targets, logits, weights), [4.0, 0.0])
    transducer, x, y = small_transducer(), binary(2, 3, 3), binary(2, 3, 2, seed=1)
    steps = [transducer.nll(x, y, np.eye(3, dtype="float32")[[t, t]]) for t in range(3)]
    expected = weights[0] @ np.stack(steps)
    np.testing.assert_allclose(transducer.nll(x, y, weights), expected, rtol=1e-5)


def test_trains_with_a_plain_keras_loss():
    transducer = small_transducer()
    x, y, weights = data()
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    transducer.compile("adam", loss, run_eagerly=True)
    history = transducer.fit(x, y, sample_weight=weights, epochs=2, verbose=0)
    assert history.history["loss"][1] < history.history["loss"][0]


def test_keras_file_brings_back_the_same_numbers(tmp_path):
    transducer = small_transducer()
    transducer.save(tmp_path / "transducer.keras")
    loaded = keras.models.load_model(tmp_path / "transducer.keras")
    x, _, _ = data()
    np.testing.assert_array_equal(loaded(x), transducer(x))


def test_masks_of_an_embedding_are_those_of_keras_rnn():
    """Tokens with 0 as padding, in front and at the end; the loss, too, does not count it."""
    tokens = np.array([[0, 0, 3, 1], [2, 3, 0, 0], [1, 2, 3, 1]])
    embedding = keras.layers.Embedding(4, 3, mask_zero=True)
    transducer = small_transducer()
    model = keras.Sequential([embedding, transducer])
    layer = keras.Sequential([embedding, keras.layers.RNN(transducer.cell, return_sequences=True)])
    np.testing.assert_allclose(model(tokens), layer(tokens), atol=1e-6)
    targets, losses = binary(3, 4, 2, seed=1), []
    for one in (model, layer):
        one.compile(loss=keras.losses.BinaryCrossentropy(from_logits=True), run_eagerly=True)
        losses.append(one.evaluate(tokens, targets, verbose=0))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    x, mask = embedding(tokens), tokens != 0
    logits, trace = transducer.trace(x, mask=mask)
    np.testing.assert_allclose(logits, layer(tokens), atol=1e-6)
    np.testing.assert_array_equal(trace.memory[1, 1], trace.memory[1, 3])
    weights = binary(3, 4, seed=2) + 0.5
    expected = transducer.output.nll(targets, logits, weights * mask)
    np.testing.assert_allclose(transducer.nll(x, targets, weights, mask=mask), expected, rtol=1e-6)
    expected = transducer.output.nll(targets, logits, mask)
    np.testing.assert_allclose(transducer.nll(x, targets, mask=mask), expected, rtol=1e-6)


def test_refuses_bad_input():
    with pytest.raises(TypeError, match="cell must be a memory cell"):
        SequenceTransducer(keras.layers.GRUCell(3))
    x, y, weights = data()
    with pytest.raises(ValueError, match="targets must have shape"):
        small_transducer().nll(x, y[..., :1], weights)
    with pytest.raises(ValueError, match="targets must hold only 0 and 1"):
        small_transducer().nll(x, 5.0 * y, weights)
    with pytest.raises(ValueError, match=r"sample_weight must have shape \(3, 5\)"):
        small_transducer().nll(x, y, weights[:, 0])


def test_exports_for_any_length_after_a_call(tmp_path):
    transducer = small_transducer()
    transducer(binary(2, 9, 3))  # of one length, which Keras would take for the only one
    transducer.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    for batch, time in ((2, 9), (3, 4)):
        x = binary(batch, time, 3)
        np.testing.assert_allclose(loaded.serve(x), transducer(x), atol=1e-5)
    with pytest.raises(ValueError, match="must be built before it is exported"):
        SequenceTransducer(small_cell()).export(tmp_path / "other")
