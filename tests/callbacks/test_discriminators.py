import keras
import numpy as np
import pytest

from mf_keras import MemoryForcing, SequenceGenerator, TeacherForcing, callbacks
from mf_keras.callbacks.discriminators import area_under_curve
from mf_keras.outputs import Categorical
from tests.small import binary, small_cell, small_generator


def test_the_area_counts_pairs():
    rng = np.random.default_rng(0)
    positive, negative = rng.integers(0, 5, 7), rng.integers(0, 5, 9)  # with ties
    pairs = np.sign(positive[:, None] - negative[None]) / 2 + 0.5
    np.testing.assert_allclose(area_under_curve(positive, negative), pairs.mean())
    assert area_under_curve([2.0, 3.0], [0.0, 1.0]) == 1.0
    assert area_under_curve([0.0, 1.0], [2.0, 3.0]) == 0.0


def test_scores_of_held_out_behaviours_are_logs():
    keras.utils.set_random_seed(0)
    model = MemoryForcing(small_generator())
    model.compile("sgd", run_eagerly=True)
    scores = callbacks.DiscriminatorScores(model, binary(5, 6, 1, seed=7), batch_size=3)
    history = model.fit(binary(4, 6, 1), epochs=2, callbacks=[scores], verbose=0).history
    for field in ("hidden", "memory"):
        for name in ("auc", "accuracy"):
            values = history[f"val_{field}_discriminator_{name}"]
            assert len(values) == 2
            assert all(0.0 <= value <= 1.0 for value in values)
    real, fake = scores.logits(1)["hidden"]
    accuracy = np.concatenate([real > 0, fake <= 0]).mean()
    assert history["val_hidden_discriminator_accuracy"][-1] == pytest.approx(accuracy)
    _, real_trace = None, model.generator.teacher_force(binary(5, 6, 1, seed=7))[1]
    wanted = model.hidden_discriminator(real_trace.hidden)[:, 0]
    np.testing.assert_allclose(real, wanted, rtol=1e-4, atol=1e-5)
    assert not np.allclose(fake, scores.logits(0)["hidden"][1])  # noise of its own
    np.testing.assert_array_equal(fake, scores.logits(1)["hidden"][1])


def test_padding_and_contexts():
    keras.utils.set_random_seed(0)
    cell = small_cell(units=3)
    model = MemoryForcing(SequenceGenerator(cell, Categorical(3), context_size=2))
    model.compile("sgd", run_eagerly=True)
    tokens = np.random.default_rng(0).integers(0, 3, (4, 6)).astype("int32")
    weight = np.ones((4, 6), "float32")
    weight[0, 3:] = 0
    found = []
    for padding in (0, -7):
        tokens[0, 3:] = padding
        x = {"sequence": tokens.copy(), "context": np.ones((4, 2), "float32")}
        scores = callbacks.DiscriminatorScores(model, x, sample_weight=weight)
        found.append(scores.logits())
    for field in found[0]:
        np.testing.assert_array_equal(found[0][field], found[1][field])


def test_refused_at_the_door():
    model = MemoryForcing(small_generator())
    with pytest.raises(TypeError, match="model must be MemoryForcing or ProfessorForcing"):
        callbacks.DiscriminatorScores(TeacherForcing(small_generator()), binary(2, 3, 1))
    with pytest.raises(ValueError, match="every"):
        callbacks.DiscriminatorScores(model, binary(2, 3, 1), every=0)
    with pytest.raises(ValueError, match="sample_weight"):
        callbacks.DiscriminatorScores(model, binary(2, 3, 1), sample_weight=np.ones((2, 4)))
    for x in (binary(2, 3, 2), 0.5 * binary(2, 3, 1), np.zeros(3)):
        with pytest.raises(ValueError, match="x must"):
            callbacks.DiscriminatorScores(model, x)
    x = {"sequence": binary(2, 3, 1), "context": np.ones((2, 3))}
    with pytest.raises(ValueError, match="context"):
        callbacks.DiscriminatorScores(model, x)
