"""Sequences of unequal length: padding makes no difference, and bad weights are refused."""

import keras
import numpy as np
import pytest

from mf_keras import MemoryForcing, SequenceDiscriminator, TeacherForcing, outputs
from mf_keras.models import SequenceGenerator
from tests.backends import tf
from tests.small import binary, small_cell, small_generator

LENGTHS = (5, 2, 3, 4)
WEIGHTS = (np.arange(5) < np.array(LENGTHS)[:, None]).astype("float32")  # (4, 5)


def padded(value):
    """Bits (4, 5, 1), with a value in the padding."""
    return np.where(WEIGHTS[..., None] > 0, binary(4, 5, 1), value).astype("float32")


def memory_forcing():
    small = {"gru_units": 3, "dense_units": (2,)}
    return MemoryForcing(
        small_generator(),
        hidden_discriminator=SequenceDiscriminator(**small),
        memory_discriminator=SequenceDiscriminator(**small, pooling="last"),
        gate=None,
        reverse_weight=0.5,
    )


def trained(make, x, **kwargs):
    """Logs of an epoch and of an evaluation, and all weights after it."""
    keras.utils.set_random_seed(1)
    model = make()
    model.compile(keras.optimizers.SGD(0.5), run_eagerly=True)
    history = model.fit(x, verbose=0, **kwargs).history
    logs = {name: values[0] for name, values in history.items()}
    return logs, [np.array(v) for v in model.trainable_variables], model


@pytest.mark.parametrize("make", [lambda: TeacherForcing(small_generator()), memory_forcing])
def test_what_padding_holds_makes_no_difference(make):
    """Neither to a log nor to a weight; the same from an array and from a stream."""
    logs, weights, _ = trained(make, padded(0.0), sample_weight=WEIGHTS, batch_size=4)
    assert all(np.isfinite(value) for value in logs.values())
    stream = tf.data.Dataset.from_tensors((padded(np.nan), None, WEIGHTS))
    for others, more in ((padded(7.0), {"sample_weight": WEIGHTS, "batch_size": 4}), (stream, {})):
        found, moved, _ = trained(make, others, **more)
        assert found == logs
        for a, b in zip(moved, weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_counts_the_steps_of_each_sequence():
    """As sequences one by one, without padding."""
    x = padded(1.0)
    logs, _, _ = trained(lambda: TeacherForcing(small_generator()), x, sample_weight=WEIGHTS)
    keras.utils.set_random_seed(1)
    generator = small_generator()  # as before the step
    alone = [generator.nll(x[i : i + 1, :n])[0] for i, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(generator.nll(x, WEIGHTS), alone, rtol=1e-5)
    assert logs["nll"] == pytest.approx(np.mean(alone), rel=1e-5)
    assert logs["nll_per_step"] == pytest.approx(np.sum(alone) / sum(LENGTHS), rel=1e-5)
    assert logs["bits_per_step"] == pytest.approx(logs["nll_per_step"] / np.log(2.0), rel=1e-5)


def test_evaluates_padded_sequences():
    model = TeacherForcing(small_generator())
    model.compile("sgd", run_eagerly=True)
    found = model.evaluate(padded(3.0), sample_weight=WEIGHTS, return_dict=True, verbose=0)
    whole = float(np.sum(model.generator.nll(padded(0.0), WEIGHTS)))
    assert found["nll"] == pytest.approx(whole / 4, rel=1e-5)
    assert found["nll_per_step"] == pytest.approx(whole / sum(LENGTHS), rel=1e-5)
    validated = model.fit(
        padded(0.0),
        sample_weight=WEIGHTS,
        validation_data=(padded(2.0), None, WEIGHTS),
        verbose=0,
    )
    assert np.isfinite(validated.history["val_nll_per_step"]).all()


def test_discriminators_see_the_steps_that_count():
    """Their gradient by a behaviour is zero on the padding."""
    model = memory_forcing()
    model.compile("sgd", run_eagerly=True)
    random = np.random.default_rng(0)
    real, free = (random.normal(size=(4, 5, 8)).astype("float32") for _ in range(2))
    mask = WEIGHTS.astype(bool)
    play = model.adversaries["hidden"].play
    outcome = play(real, free, reverse_scale=1.0, mask=tf.constant(mask))
    for gradient in outcome.gradients.values():
        size = np.abs(gradient).sum(axis=-1)
        assert (size[mask] > 0.0).all()
        assert (size[~mask] == 0.0).all()


def test_padded_tokens():
    """-1 and other numbers that are no tokens may stand in the padding."""
    generator = SequenceGenerator(small_cell(3), outputs.Categorical(3))
    x = np.where(WEIGHTS > 0, 1, -1)
    np.testing.assert_array_equal(
        generator.nll(x, WEIGHTS), generator.nll(np.where(WEIGHTS > 0, 1, 9), WEIGHTS)
    )
    model = TeacherForcing(generator)
    model.compile("sgd", run_eagerly=True)
    assert np.isfinite(model.train_on_batch(x, sample_weight=WEIGHTS)).all()


@pytest.mark.long
def test_a_context_is_read_at_every_step():
    """In training, scoring, sampling and completion; what it is changes what comes out."""
    generator = SequenceGenerator(small_cell(), context_size=2)
    random = np.random.default_rng(0)
    for variable in generator.trainable_variables:
        variable.assign(3.0 * variable + random.normal(scale=0.5, size=variable.shape))
    sequence, context = binary(4, 5, 1), np.eye(2, dtype="float32")[[0, 1, 0, 1]]
    x = {"sequence": sequence, "context": context}
    other = {"sequence": sequence, "context": context[::-1].copy()}
    nll = np.array(generator.nll(x))
    assert (np.abs(nll - np.array(generator.nll(other))) > 1e-4).all()
    samples, logits, _ = generator.free_run(4, 5, seed=0, context=context)
    forced = generator({"sequence": samples, "context": context})
    np.testing.assert_allclose(logits, forced, atol=1e-5)  # both modes read it alike
    np.testing.assert_array_equal(generator.sample(4, 5, seed=0, context=context), samples)
    whole = generator.complete(samples[:, :2], 5, seed=1, temperature=0.0, context=context)
    again = generator({"sequence": whole, "context": context})
    np.testing.assert_array_equal(whole[:, 2:], np.array(again)[:, 2:] > 0.0)

    model = MemoryForcing(generator, gate=None)
    model.compile("sgd", run_eagerly=True)
    stream = tf.data.Dataset.from_tensors(x)
    assert np.isfinite(model.fit(stream, verbose=0).history["nll"]).all()
    found = model.evaluate(x, sample_weight=WEIGHTS, return_dict=True, verbose=0)
    assert found["nll"] == pytest.approx(float(np.mean(generator.nll(x, WEIGHTS))), rel=1e-5)
    copy = SequenceGenerator.from_config(generator.get_config())
    assert copy.context_size == 2


def test_refuses_other_contexts():
    model = TeacherForcing(SequenceGenerator(small_cell(), context_size=2))
    model.compile("sgd", run_eagerly=True)
    x, context = binary(4, 5, 1), np.zeros((4, 2), "float32")
    with pytest.raises(ValueError, match=r"context of x must be of shape \(B, 2\), got None"):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match=r"context of x must have shape \(4, 2\)"):
        model.fit({"sequence": x, "context": context[:, :1]}, verbose=0)
    with pytest.raises(ValueError, match="context of x must be finite"):
        model.fit({"sequence": x, "context": np.inf + context}, verbose=0)
    with pytest.raises(
        ValueError, match='x must be an array, or a dict of "sequence" and "context"'
    ):
        model.fit({"sequence": x, "contexts": context}, verbose=0)
    with pytest.raises(ValueError, match="context must be of shape"):
        model.generator.sample(2, 3, seed=0)
    plain = TeacherForcing(small_generator())
    plain.compile("sgd", run_eagerly=True)
    with pytest.raises(ValueError, match="must be None, as the generator has context_size=0"):
        plain.fit({"sequence": x, "context": context}, verbose=0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w[:, :4], r"sample_weight must have shape \(4, 5\)"),
        (lambda w: 0.5 * w, "must be 1 for the steps of a sequence and 0 for its padding"),
        (lambda w: w[:, ::-1], "must count the first step of every sequence"),
        (lambda w: np.where(np.arange(5) == 1, 0.0, w), "must be 0 from the end"),
        (lambda w: 0.0 * w, "must count the first step of every sequence"),
    ],
)
def test_refuses_other_weights(change, words):
    model = TeacherForcing(small_generator())
    model.compile("sgd", run_eagerly=True)
    weights = np.ascontiguousarray(change(WEIGHTS)).astype("float32")
    with pytest.raises(ValueError, match=words):
        model.fit(padded(0.0), sample_weight=weights, verbose=0)
    if weights.shape == WEIGHTS.shape:
        stream = tf.data.Dataset.from_tensors((padded(0.0), None, weights))
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            model.fit(stream, verbose=0)


def test_refuses_values_that_count():
    model = TeacherForcing(small_generator())
    model.compile("sgd", run_eagerly=True)
    x = padded(0.0)
    x[1, 1] = 2.0
    with pytest.raises(ValueError, match="x must hold only 0 and 1"):
        model.fit(x, sample_weight=WEIGHTS, verbose=0)


def test_refuses_a_discriminator_without_a_mask():
    model = MemoryForcing(small_generator(), hidden_discriminator=maskless(), watch=("hidden",))
    model.compile("sgd", run_eagerly=True)
    with pytest.raises(TypeError, match="discriminators must take a mask"):
        model.train_on_batch(padded(0.0), sample_weight=WEIGHTS)


def maskless():
    """A discriminator that takes no mask."""

    class Mean(keras.Model):
        def __init__(self):
            super().__init__()
            self.logit = keras.layers.Dense(1)

        def build(self, input_shape):
            self.logit.build((None, input_shape[-1]))

        def call(self, x):
            return self.logit(keras.ops.mean(x, axis=1))

    return Mean()
