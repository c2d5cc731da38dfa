"""What every output must do; a new one is a line in OUTPUTS."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from mf_keras import DNCCell, MemoryForcing, SequenceGenerator, TeacherForcing, backend
from mf_keras.models import free_running
from mf_keras.outputs import (
    Bernoulli,
    Categorical,
    GaussianMixture,
    Joint,
    Output,
    check_output,
    counted_steps,
)
from tests.outputs.ternary import Ternary

OUTPUTS = {
    "bits": Bernoulli(2),
    "tokens": Categorical(3),
    "embedded": Categorical(3, embedding=2),
    "ternary": Ternary(2),
    "pair": Joint((Categorical(3, embedding=2), Bernoulli(1))),
    "reals": GaussianMixture(2, 3),
    "strokes": Joint({"pen": Categorical(3, embedding=2), "move": GaussianMixture(2, 3)}),
}
# All steps that there are, of the outputs that have finitely many.
STEPS = {
    "bits": list(itertools.product([0.0, 1.0], repeat=2)),
    "tokens": [0, 1, 2],
    "embedded": [0, 1, 2],
    "ternary": list(itertools.product([-1.0, 0.0, 1.0], repeat=2)),
    "pair": list(itertools.product([0.0, 1.0, 2.0], [0.0, 1.0])),
}
ALL = pytest.mark.parametrize("name", OUTPUTS)
FINITE = pytest.mark.parametrize("name", STEPS)
# Compilation takes seconds; strokes have tokens, reals and an embedding.
ONE = pytest.mark.parametrize("name", ["strokes"])


def generator(output):
    """A generator whose parameters vary."""
    cell = DNCCell(
        keras.layers.SimpleRNNCell(4), output.size, memory_size=3, word_size=2, linkage=None
    )
    made = SequenceGenerator(cell, output)
    random = np.random.default_rng(0)
    for variable in made.trainable_variables:
        variable.assign(random.normal(scale=0.7, size=variable.shape))
    return made


def sequences(name, *shape, seed=0):
    random, output = np.random.default_rng(seed), OUTPUTS[name]
    if name not in STEPS:
        x = random.normal(size=(*shape, *output.step)).astype("float32")
        if name == "strokes":
            x[..., 0] = random.integers(3, size=shape)
        return x
    steps = np.asarray(STEPS[name], output.dtype)
    return steps[random.integers(len(steps), size=shape)]


def parameters(output, *shape):
    values = np.random.default_rng(1).normal(size=(*shape, output.size))
    return ops.convert_to_tensor(values.astype("float32"))


def noise(output, *shape):
    return keras.random.uniform((*shape, output.noise_size), seed=2)


@FINITE
def test_probabilities_of_all_sequences_sum_to_one(name):
    """Of two steps, by the generator, so that the second depends on the first."""
    pairs = np.asarray(list(itertools.product(STEPS[name], repeat=2)), OUTPUTS[name].dtype)
    nll = generator(OUTPUTS[name]).nll(pairs)
    assert float(ops.sum(ops.exp(-nll))) == pytest.approx(1.0, abs=1e-5)


@FINITE
def test_the_entropy_is_that_of_all_steps(name):
    output = OUTPUTS[name]
    if name == "ternary":  # which has none
        with pytest.raises(ValueError, match="has no formula"):
            output.step_entropy(parameters(output, 2, 3))
        return
    given, expected = parameters(output, 2, 3), 0.0
    for step in STEPS[name]:
        x = np.full((2, 3, *output.step), step, output.dtype)
        nll = np.asarray(output.step_nll(x, given))
        expected = expected + np.exp(-nll) * nll
    np.testing.assert_allclose(output.step_entropy(given), expected, rtol=1e-5)


@FINITE
def test_frequencies_of_samples_are_the_probabilities(name):
    output, count = OUTPUTS[name], 20000
    given = ops.broadcast_to(parameters(output, 1), (count, output.size))
    drawn = np.asarray(output.draw(given, output.thresholds(noise(output, count), 1.0)))
    for step in STEPS[name]:
        x = np.full((1, 1, *output.step), step, output.dtype)
        probability = float(ops.exp(-output.step_nll(x, given[:1, None]))[0, 0])
        same = drawn == np.asarray(step)
        frequency = same.reshape(count, -1).all(axis=1).mean()
        assert frequency == pytest.approx(probability, abs=4 * np.sqrt(0.25 / count))


@ALL
def test_temperature_zero_is_the_likeliest_step(name):
    output = OUTPUTS[name]
    given = parameters(output, 16)
    drawn = output.draw(given, output.thresholds(noise(output, 16), 0.0))
    assert not np.any(output.step_errors(ops.expand_dims(drawn, 1), given[:, None]))
    if name not in STEPS:
        return
    nlls = [
        output.step_nll(np.full((16, 1, *output.step), step, output.dtype), given[:, None])[:, 0]
        for step in STEPS[name]
    ]
    found = output.step_nll(ops.expand_dims(drawn, 1), given[:, None])[:, 0]
    np.testing.assert_allclose(found, np.min(nlls, axis=0), rtol=1e-5)


@ALL
def test_forced_thresholds_give_the_data_and_teacher_forcing(name):
    made, output, x = generator(OUTPUTS[name]), OUTPUTS[name], sequences(name, 3, 4)
    drawn, given, _ = free_running.free_run(made.cell, output, output.forced(x))
    np.testing.assert_array_equal(drawn, x)
    np.testing.assert_allclose(given, made(x), atol=1e-6)


@ALL
def test_free_running_is_teacher_forcing_on_its_own_samples(name):
    made, output = generator(OUTPUTS[name]), OUTPUTS[name]
    samples, logits, trace = made.free_run(3, 4, seed=0)
    assert tuple(samples.shape) == (3, 4, *output.step)
    assert output.valid(np.asarray(samples)).all()
    forced, again = made.teacher_force(samples)
    np.testing.assert_allclose(logits, forced, atol=1e-6)
    np.testing.assert_allclose(trace.memory, again.memory, atol=1e-6)


@ALL
def test_a_row_does_not_depend_on_its_batch(name):
    output, x = OUTPUTS[name], sequences(name, 5, 3)
    made, given, drawn = generator(output), parameters(output, 5), noise(output, 5)
    np.testing.assert_allclose(made.nll(x)[:2], made.nll(x[:2]), rtol=1e-5)
    whole = np.asarray(output.draw(given, output.thresholds(drawn, 0.7)))
    for start, stop in ((0, 2), (2, 3), (3, 5)):
        part = output.draw(given[start:stop], output.thresholds(drawn[start:stop], 0.7))
        np.testing.assert_allclose(part, whole[start:stop], rtol=1e-6)


@ALL
def test_forced_data_are_exact_whatever_the_parameters_are(name):
    output, x = OUTPUTS[name], sequences(name, 40)
    for scale in (0.0, 1e4, -1e4):
        for dtype in ("float32", "bfloat16"):
            given = ops.cast(scale * parameters(output, 40), dtype)
            drawn = output.draw(given, output.forced(ops.convert_to_tensor(x)))
            np.testing.assert_array_equal(ops.cast(drawn, "float32"), x)


@pytest.mark.parametrize("name", ["bits", "pair", "strokes"])
def test_a_generator_of_half_floats(name):
    output, x = OUTPUTS[name], sequences(name, 3, 4)
    controller = keras.layers.SimpleRNNCell(4, dtype="mixed_bfloat16")
    sizes = {"memory_size": 3, "word_size": 2, "linkage": None}
    cell = DNCCell(controller, output.size, **sizes, dtype="mixed_bfloat16")
    made = SequenceGenerator(cell, output)
    nll = made.nll(x)
    assert nll.dtype == "float32"
    steps = output.to_steps("x", x, "bfloat16")
    assert steps.dtype == output.carried("bfloat16")
    drawn, _, _ = free_running.free_run(cell, output, output.forced(steps), keep=())
    assert drawn.dtype == output.carried("bfloat16")
    np.testing.assert_array_equal(ops.cast(drawn, "float32"), x)
    assert output.valid(np.asarray(ops.cast(made.free_run(2, 3, seed=0)[0], "float32"))).all()


@ALL
def test_samples_pass_no_gradient_on(name):
    output = OUTPUTS[name]
    given = parameters(output, 3)

    def drawn(given):
        thresholds = output.thresholds(noise(output, 3), 1.0)
        return [ops.cast(output.draw(given, thresholds), "float32")], None

    (step,), _, pull = backend.pullback(drawn, [], [given])
    _, (gradient,) = pull([ops.ones_like(step)])
    assert gradient is None or not np.any(gradient)


@ONE
def test_completions_are_samples_that_begin_with_the_prefix(name):
    made, output = generator(OUTPUTS[name]), OUTPUTS[name]
    prefix = sequences(name, 3, 2)
    whole = made.complete(prefix, 5, seed=0)
    assert tuple(whole.shape) == (3, 5, *output.step)
    assert output.valid(np.asarray(whole)).all()
    np.testing.assert_array_equal(whole[:, :2], prefix)


@ALL
def test_the_cell_reads_zeros_before_the_first_step(name):
    output = OUTPUTS[name]
    encoded = output.encode(output.start(2, "float32"), "float32")
    np.testing.assert_array_equal(encoded, np.zeros((2, output.input_size)))


@ALL
def test_weights_say_which_steps_count(name):
    output, x = OUTPUTS[name], sequences(name, 2, 3)
    given = parameters(output, 2, 3)
    steps = np.asarray(output.step_nll(x, given))
    weights = np.float32([[1.0, 0.5, 0.0]] * 2)
    np.testing.assert_allclose(output.nll(x, given, weights), (steps * weights).sum(1), rtol=1e-5)
    wrong = np.asarray(output.step_errors(x, given))
    np.testing.assert_array_equal(output.errors(x, given, weights), wrong[:, :2].sum(1))
    right = wrong[:, :2].sum(1) == 0
    np.testing.assert_array_equal(output.correct(x, given, weights), right)


@ALL
def test_wrong_values_are_refused_by_name(name):
    output = OUTPUTS[name]
    x = sequences(name, 2, 3).astype("float64")
    for wrong in (np.nan, np.inf, -1e7, *((0.5, 1e6, -5.0) if name in STEPS else ())):
        x.flat[1] = wrong
        with pytest.raises(ValueError, match=rf"sequences must hold only {output.values}, got 1"):
            output.to_steps("sequences", x, "float32")
    with pytest.raises(ValueError, match="sequences must have shape"):
        output.to_steps("sequences", np.zeros((2, 3, 4, 5)), "float32")


@ALL
def test_a_generator_file_brings_the_output_back(name, tmp_path):
    made, x = generator(OUTPUTS[name]), sequences(name, 3, 4)
    made.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    assert loaded.output == OUTPUTS[name]
    np.testing.assert_array_equal(loaded.nll(x), made.nll(x))
    drawn = [each.free_run(2, 3, seed=0, keep=())[0] for each in (loaded, made)]
    np.testing.assert_array_equal(*drawn)


@ONE
@pytest.mark.parametrize("algorithm", [TeacherForcing, MemoryForcing])
def test_every_weight_learns(name, algorithm):
    made, x = generator(OUTPUTS[name]), sequences(name, 6, 4)
    model = algorithm(made)
    model.compile(keras.optimizers.SGD(0.01), run_eagerly=True)
    before = [np.array(v) for v in made.trainable_variables]
    losses = [model.fit(x, epochs=1, verbose=0).history["nll"][0] for _ in range(2)]
    assert losses[1] < losses[0]
    for old, new in zip(before, made.trainable_variables, strict=True):
        assert np.any(old != np.array(new)), new.path


def test_outputs_are_equal_by_their_configuration():
    assert Bernoulli(2) == Bernoulli(2)
    assert hash(Bernoulli(2)) == hash(Bernoulli(2))
    assert Bernoulli(2) != Bernoulli(3)
    assert Bernoulli(2) != Categorical(2)
    assert repr(Categorical(5)) == "Categorical(classes=5, embedding=None)"


def test_no_output_is_bits():
    assert check_output(None, 3) == Bernoulli(3)


def test_an_output_must_fit_the_cell():
    with pytest.raises(ValueError, match="output must have the size of the cell's units, 3"):
        check_output(Categorical(4), 3)
    with pytest.raises(TypeError, match=r"output must be an mf_keras\.outputs\.Output"):
        check_output("bits", 3)


def test_what_a_subclass_lacks_is_named():
    with pytest.raises(NotImplementedError, match=r"Empty must define valid"):
        type("Empty", (Output,), {})().valid(np.zeros(1))


def test_counted_steps_end_with_the_last_one_that_counts():
    weights = np.float32([[0, 1, 0], [1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(counted_steps(weights), [2, 3, 1])
