"""`score_function=True`: the expected gradient of a step is the derivative of its expected loss."""

import itertools

import keras
import numpy as np
import pytest

from mf_keras import (
    MemoryForcing,
    NTMCell,
    ProfessorForcing,
    SequenceDiscriminator,
    SequenceGenerator,
)
from mf_keras.forcing import memory
from mf_keras.models import free_running
from tests.small import binary, small_generator

WEIGHTS = {"hidden": 2.0, "memory": 3.0}


def exact(score_function=True, watch=("hidden", "memory")):
    """A small model in float64 whose discriminators stay as they are."""
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    cell = NTMCell(keras.layers.Dense(3, "tanh"), 1, 3, 2, 1)
    model = MemoryForcing(
        SequenceGenerator(cell),
        *(SequenceDiscriminator(3, (2,)) if field in watch else None for field in WEIGHTS),
        gate=None,
        watch=watch,
        hidden_weight=WEIGHTS["hidden"],
        memory_weight=WEIGHTS["memory"],
        score_function=score_function,
    )
    random = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(random.normal(scale=0.8, size=variable.shape))
    model.compile(keras.optimizers.SGD(1.0), keras.optimizers.SGD(0.0), run_eagerly=True)
    return model


def all_sequences(steps):
    return np.array(list(itertools.product([0.0, 1.0], repeat=steps)))[..., None]


def probabilities(model, sequences):
    """(n,), p of each sequence."""
    return np.exp(-np.asarray(model.generator.nll(sequences)))


def costs(model, sequences, weights):
    """(n,): the weighted -log D of what the generator does while it draws these sequences."""
    generator = model.generator
    forced = generator.output.forced(sequences, "float64")
    _, _, trace = free_running.free_run(generator.cell, generator.output, forced)
    mask = np.broadcast_to(weights, sequences.shape[:2]) > 0
    total = 0.0
    for field, adversary in model.adversaries.items():
        logits = np.asarray(adversary.discriminator(getattr(trace, field), mask=mask))[:, 0]
        total = total + WEIGHTS[field] * np.log1p(np.exp(-logits))
    return total


def expected_loss(model, x, weights):
    """The NLL of the data, and the expected costs of what is drawn beside each of them."""
    sequences = all_sequences(x.shape[1])
    p = probabilities(model, sequences)
    of_rows = [np.sum(p * costs(model, sequences, row)) for row in weights]
    return np.mean(np.asarray(model.generator.nll(x, weights)) + of_rows)


def step(model, x, weights, drawn):
    """The gradient of one `train_step` beside which the generator draws these sequences."""
    variables = model.generator.trainable_variables
    before = [np.array(variable) for variable in variables]
    noise = 1.0 - drawn.astype("float32")  # low noise draws a 1
    model._noise = lambda x: noise
    model.train_on_batch(x, sample_weight=weights)
    gradient = [start - np.array(v) for v, start in zip(variables, before, strict=True)]
    for variable, start in zip(variables, before, strict=True):
        variable.assign(start)
    return gradient


def of_all_at_once(model, x, weights, monkeypatch):
    """The expected gradient beside one sequence of data, without a baseline.

    One step draws every sequence once, each weighed by its probability times their number, which
    the step divides by.
    """
    sequences = all_sequences(x.shape[1])
    factors = len(sequences) * probabilities(model, sequences)

    def weighed(play):
        def run(*args, **kwargs):
            outcome = play(*args, **kwargs)
            fake = outcome.gradients["fake"]
            rows = factors.reshape(-1, *(1 for _ in fake.shape[1:]))
            return outcome._replace(gradients={"fake": fake * rows}, costs=outcome.costs * factors)

        return run

    monkeypatch.setattr(memory, "baseline", lambda gains, kind: 0.0 * gains)
    for adversary in model.adversaries.values():
        adversary.play = weighed(adversary.play)
    data = [np.repeat(each, len(sequences), axis=0) for each in (x, weights)]
    return step(model, *data, sequences)


def of_all_pairs(model, x, weights):
    """The expected gradient beside two sequences of data."""
    sequences = all_sequences(x.shape[1])
    p = probabilities(model, sequences)
    total = [np.zeros(v.shape) for v in model.generator.trainable_variables]
    for pair in itertools.product(range(len(p)), repeat=2):
        gradient = step(model, x, weights, sequences[list(pair)])
        total = [a + np.prod(p[list(pair)]) * b for a, b in zip(total, gradient, strict=True)]
    return total


def gaps(model, gradient, x, weights, size=1e-5):
    """Along two random directions: what the gradient lacks of the difference quotient."""
    variables = model.generator.trainable_variables
    before, random = [np.array(variable) for variable in variables], np.random.default_rng(2)
    found = []
    for _ in range(2):
        directions = [random.normal(size=variable.shape) for variable in variables]
        values = []
        for sign in (1.0, -1.0):
            for variable, start, direction in zip(variables, before, directions, strict=True):
                variable.assign(start + sign * size * direction)
            values.append(expected_loss(model, x, weights))
        own = sum(np.sum(g * d) for g, d in zip(gradient, directions, strict=True))
        found.append(own - (values[0] - values[1]) / (2.0 * size))
    for variable, start in zip(variables, before, strict=True):
        variable.assign(start)
    return found


@pytest.mark.parametrize("weights", [[[1, 1, 1, 1, 1, 1]], [[1, 1, 1, 0, 0]]])
def test_over_all_sequences_the_gradient_is_the_derivative(weights, monkeypatch):
    """Of six bits; and of three, with padding, which does not count."""
    weights = np.float32(weights)
    x, model = binary(*weights.shape, 1), exact()
    gradient = of_all_at_once(model, x, weights, monkeypatch)
    np.testing.assert_allclose(gaps(model, gradient, x, weights), 0.0, atol=1e-6)


def test_without_it_the_gradient_is_not_the_derivative(monkeypatch):
    x, weights, model = binary(1, 3, 1), np.ones((1, 3)), exact(score_function=False)
    gradient = of_all_at_once(model, x, weights, monkeypatch)
    assert np.abs(gaps(model, gradient, x, weights)).min() > 1e-3


@pytest.mark.long
def test_each_row_has_the_other_ones_as_its_baseline():
    x, weights, model = binary(2, 2, 1), np.ones((2, 2)), exact(watch=("memory",))
    gradient = of_all_pairs(model, x, weights)
    np.testing.assert_allclose(gaps(model, gradient, x, weights), 0.0, atol=1e-6)


def small(method=MemoryForcing, **options):
    keras.utils.set_random_seed(3)
    fields = ("hidden", "memory") if method is MemoryForcing else ("hidden",)
    given = {f"{field}_discriminator": SequenceDiscriminator(4, (3,)) for field in fields}
    generator = small_generator(learn_initial_memory=True)
    model = method(generator, **given, **options)
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.5), run_eagerly=True)
    return model


def weights_of(model):
    return [np.array(variable) for variable in model.generator.trainable_variables]


@pytest.mark.parametrize("method", [ProfessorForcing, MemoryForcing])
def test_logs_the_sizes_of_both_parts(method):
    x = binary(4, 3, 1)
    model = small(method, gate=None, score_function=True, reverse_weight=0.5)
    history = model.fit(x, verbose=0).history
    sizes = ("pathwise_gradient", "score_function_gradient")
    assert all(history[name][0] > 0.0 for name in sizes)
    assert not set(sizes) & set(model.logs.directions)
    other = small(method, gate=None, reverse_weight=0.5)
    found = other.fit(x, verbose=0).history
    assert not set(sizes) & set(found)
    for name in ("loss", "nll", "c_h"):  # of the same step
        assert found[name] == pytest.approx(history[name], rel=1e-6)
    pairs = zip(weights_of(model), weights_of(other), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_its_gate_and_weight_are_those_of_the_cost():
    x, moved = binary(4, 3, 1), {}
    for name, options in {
        "closed": {"gate": (1.0, 1.0)},
        "warm": {"gate": None, "warm_up_steps": 1},
    }.items():
        models = [small(ProfessorForcing, **options, score_function=s) for s in (True, False)]
        logs = [model.train_on_batch(x, return_dict=True) for model in models]
        assert logs[0]["score_function_gradient"] == logs[0]["pathwise_gradient"] == 0.0, name
        moved[name] = [weights_of(model) for model in models]
        for a, b in zip(*moved[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_its_update_is_skipped_where_it_is_not_finite():
    model = small(gate=None, score_function=True)
    model.generator.trainable_variables[0].assign(
        np.full(model.generator.trainable_variables[0].shape, np.nan)
    )
    before = weights_of(model)
    assert model.train_on_batch(binary(4, 3, 1), return_dict=True)["skipped_updates"] == 3.0
    for a, b in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_file_keeps_it(tmp_path):
    model = small(ProfessorForcing, score_function=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.score_function
    for each in (model, again):
        each.fit(binary(4, 3, 1), verbose=0)
    for a, b in zip(weights_of(model), weights_of(again), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match="score_function"):
        MemoryForcing(small_generator(), score_function=1)
