"""Losses of a cell's own, which every algorithm adds to the NLL."""

import keras
import numpy as np
import pytest

from mf_keras import (
    KanervaCell,
    MemoryForcing,
    MemoryReplay,
    PositiveNegativeMemoryForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    SequenceTransducer,
    TeacherForcing,
    kanerva,
)
from tests.backends import tf
from tests.cells import helpers
from tests.small import binary

WEIGHT = 0.5


def make_cell(weight=WEIGHT):
    cell = KanervaCell(
        keras.layers.SimpleRNNCell(3), 1, 3, 2, num_reads=1, divergence_weight=weight
    )
    cell.build((None, 1))
    cell.built = True
    return helpers.randomize(cell, np.random.default_rng(0))


def discriminator():
    return SequenceDiscriminator(3, (2,))


def divergence(cell, trace, last=-1):
    """By hand: of the memory after step `last` from the first one, unweighted."""
    start = cell.initial_state(len(trace.memory))
    after = trace.memory[:, last], trace.covariance[:, last]
    return kanerva.divergence(*after, start.memory, start.covariance)


def test_teacher_forcing_descends_the_sum_and_logs_its_parts():
    generator, x = SequenceGenerator(make_cell()), binary(4, 3, 1)
    weights = generator.trainable_variables
    with tf.GradientTape() as tape:
        nll = tf.reduce_mean(generator.nll(x))
        trace = generator.teacher_force(x)[1]
        cost = WEIGHT * tf.reduce_mean(divergence(generator.cell, trace))
        loss = nll + cost
    gradients = tape.gradient(loss, [v.value for v in weights])
    expected = [v - 0.1 * g for v, g in zip(weights, gradients, strict=True)]
    model = TeacherForcing(generator)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    found = model.evaluate(x, verbose=0, return_dict=True)
    history = model.fit(x, verbose=0).history
    for logs in (found, {name: values[0] for name, values in history.items()}):
        np.testing.assert_allclose(logs["nll"], nll, rtol=1e-5)
        np.testing.assert_allclose(logs["divergence"], cost, rtol=1e-5)
        np.testing.assert_allclose(logs["loss"], loss, rtol=1e-5)
    assert cost > 0.0
    for v, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(v.value, wanted, rtol=1e-4, atol=1e-6, err_msg=v.path)


def test_memory_forcing_adds_it_to_its_costs():
    """Where its own costs weigh nothing, it makes the step of teacher forcing."""
    x, weights = binary(4, 3, 1), []
    free = {"gate": None, "hidden_weight": 0.0, "memory_weight": 0.0}
    for algorithm, options in ((TeacherForcing, {}), (MemoryForcing, free)):
        generator = SequenceGenerator(make_cell())
        parts = [discriminator(), discriminator()] if options else []
        model = algorithm(generator, *parts, **options)
        model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        logs = model.fit(x, verbose=0).history
        assert logs["divergence"][0] > 0.0
        np.testing.assert_allclose(
            logs["loss"][0], logs["nll"][0] + logs["divergence"][0], rtol=1e-5
        )
        weights.append([np.array(v) for v in generator.trainable_variables])
    for one, other in zip(*weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_a_cell_without_a_loss_has_no_log_of_it():
    model = TeacherForcing(SequenceGenerator(make_cell(0.0)))
    model.compile(run_eagerly=True)
    assert set(model.evaluate(binary(4, 3, 1), verbose=0, return_dict=True)) == {
        *("loss", "nll", "nll_per_step", "bits_per_step")
    }


def test_positive_negative_forcing_counts_the_steps_that_count():
    transducer = SequenceTransducer(make_cell())
    model = PositiveNegativeMemoryForcing(
        transducer, discriminator(), MemoryReplay(4), discriminator_batch=2
    )
    model.compile("sgd", run_eagerly=True)
    x, y, w = binary(2, 4, 1), binary(2, 4, 1), np.float32([[1, 1, 0, 0], [1, 1, 1, 0]])
    _, trace = transducer.trace(tf.constant(x))
    each = [divergence(transducer.cell, trace, last)[i] for i, last in enumerate((1, 2))]
    logs = model.evaluate(x, y, sample_weight=w, verbose=0, return_dict=True)
    np.testing.assert_allclose(logs["divergence"], WEIGHT * np.mean(each), rtol=1e-5)
    history = model.fit(x, y, sample_weight=w, verbose=0).history
    np.testing.assert_allclose(history["divergence"], WEIGHT * np.mean(each), rtol=1e-5)
    np.testing.assert_allclose(
        history["loss"][0], history["nll"][0] + history["divergence"][0], rtol=1e-5
    )


def test_losses_are_refused_that_are_none(monkeypatch):
    cases = [
        (["divergence"], TypeError, "trace_loss_fields must map names to fields"),
        ({"nll": ("memory",)}, ValueError, "must not use the name of a log, got 'nll'"),
        ({"bits_per_step": ("memory",)}, ValueError, "must not use the names of logs"),
        ({"size": ("nothing",)}, ValueError, "must name fields of"),
        ({"size": "memory"}, ValueError, "must name fields of"),
    ]
    generator = SequenceGenerator(make_cell())
    for fields, error, words in cases:
        with monkeypatch.context() as patch:
            patch.setattr(KanervaCell, "trace_loss_fields", fields)
            with pytest.raises(error, match=words):
                TeacherForcing(generator)


def test_a_weight_must_not_be_negative():
    with pytest.raises(ValueError, match="divergence_weight must be"):
        make_cell(-1.0)
