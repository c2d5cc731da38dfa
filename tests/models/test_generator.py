import keras
import numpy as np
import pytest

from mf_keras import SequenceGenerator, TeacherForcing, backend
from tests.backends import tf
from tests.small import binary, small_cell, small_generator

# Samples of one shape are drawn by one program: it is compiled once for all tests of it.
ROWS, STEPS = 4, 12


def test_logit_t_depends_on_the_steps_before_t_alone(generator):
    x = binary(4, 9, 1)
    logits = backend.compiled(generator)
    expected = logits(x).numpy()
    for t in range(9):
        changed = x.copy()
        changed[:, t] = 1.0 - changed[:, t]
        actual = logits(changed).numpy()
        np.testing.assert_array_equal(actual[:, : t + 1], expected[:, : t + 1])
        assert t == 8 or (actual[:, t + 1 :] != expected[:, t + 1 :]).any()


def test_nll_is_the_sum_of_minus_log_probabilities(generator):
    x = binary(3, 6, 1)
    p = 1.0 / (1.0 + np.exp(-generator(x).numpy().astype("float64")))
    expected = -np.log(np.where(x == 1.0, p, 1.0 - p)).sum(axis=(1, 2))
    np.testing.assert_allclose(generator.nll(x), expected, rtol=1e-5)


def test_probabilities_of_all_sequences_sum_to_one(generator):
    every = np.array([[int(b) for b in f"{i:06b}"] for i in range(64)], "float32")[..., None]
    assert np.exp(-generator.nll(every).numpy()).sum() == pytest.approx(1.0, abs=1e-5)


def test_samples_depend_on_the_seed_alone(generator):
    first = generator.sample(ROWS, STEPS, seed=1).numpy()
    assert first.shape == (ROWS, STEPS, 1)
    assert set(np.unique(first)) == {0.0, 1.0}
    np.testing.assert_array_equal(first, generator.sample(ROWS, STEPS, seed=1))
    assert (first != generator.sample(ROWS, STEPS, seed=2).numpy()).any()


def test_samples_have_the_model_s_distribution(generator):
    """Frequencies of all sequences of three steps against their probabilities, chi-squared."""
    every = np.array([[int(b) for b in f"{i:03b}"] for i in range(8)], "float32")[..., None]
    expected = 4000 * np.exp(-generator.nll(every).numpy())
    samples = generator.sample(4000, 3, seed=0).numpy()[..., 0]
    counts = np.bincount((samples @ [4, 2, 1]).astype(int), minlength=8)
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # p = 0.001 at 7 degrees of freedom


def test_temperature_zero_and_small_give_the_mode(generator):
    mode = generator.sample(ROWS, STEPS, seed=0, temperature=0.0).numpy()
    x = np.zeros((1, STEPS, 1), "float32")
    for t in range(STEPS):  # the likelier value at every step, one by one
        x[:, t] = generator(x).numpy()[:, t] > 0
    np.testing.assert_array_equal(mode, np.broadcast_to(x, mode.shape))
    np.testing.assert_array_equal(generator.sample(ROWS, STEPS, seed=5, temperature=1e-6), mode)


def test_high_temperature_gives_fair_coins(generator):
    coins = generator.sample(4000, 3, seed=0, temperature=1e6).numpy()  # compiled above
    assert coins.mean() == pytest.approx(0.5, abs=0.03)


def test_free_running_agrees_with_teacher_forcing_on_its_samples(generator):
    samples, logits, trace = generator.free_run(ROWS, STEPS, seed=7)
    expected, expected_trace = generator.teacher_force(samples)
    np.testing.assert_allclose(logits, expected, atol=1e-5)
    for part in ("hidden", "memory", "read_weights", "write_weights"):
        actual = getattr(trace, part)
        np.testing.assert_allclose(actual, getattr(expected_trace, part), atol=1e-5)
    np.testing.assert_array_equal(generator.sample(ROWS, STEPS, seed=7), samples)


def test_complete_keeps_the_prefix(generator):
    prefix = binary(ROWS, 4, 1)
    whole = generator.complete(prefix, STEPS, seed=0).numpy()
    assert whole.shape == (ROWS, STEPS, 1)
    np.testing.assert_array_equal(whole[:, :4], prefix)
    np.testing.assert_array_equal(generator.complete(prefix, 4, seed=0), prefix)


def test_complete_continues_as_the_model_would(generator):
    """At temperature 0 the continuation of a mode's beginning is the mode."""
    mode = generator.sample(ROWS, STEPS, seed=0, temperature=0.0)
    whole = generator.complete(mode[:, :4], STEPS, seed=4, temperature=0.0)
    np.testing.assert_array_equal(whole, mode)


def test_several_units_a_step():
    generator = small_generator(units=3)
    assert generator(binary(2, 5, 3)).shape == (2, 5, 3)
    assert generator.sample(2, 5, seed=0).shape == (2, 5, 3)


def test_keras_file_brings_back_the_same_numbers(generator, tmp_path):
    generator.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    x = binary(3, 6, 1)
    np.testing.assert_array_equal(loaded(x), generator(x))
    expected = generator.sample(ROWS, STEPS, seed=1)
    np.testing.assert_array_equal(loaded.sample(ROWS, STEPS, seed=1), expected)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda g: g(np.full((2, 3, 1), 0.5)), ValueError, "x must hold only 0 and 1"),
        (lambda g: g.nll(np.full((2, 3, 1), np.nan)), ValueError, "x must hold only 0 and 1"),
        (lambda g: g.nll(np.zeros((2, 3))), ValueError, r"x must have shape \(B, T, 1\)"),
        (lambda g: g.nll(np.zeros((2, 3, 2))), ValueError, r"x must have shape \(B, T, 1\)"),
        (lambda g: g.nll("text"), TypeError, "x must be a tensor"),
        (
            lambda g: g.nll(np.zeros((1, 4, 1)), np.float32([[1, 0, 1, 0]])),
            ValueError,
            "sample_weight must be 0 from the end of a sequence on, got a gap in sequence 0",
        ),
        (
            lambda g: g.nll(np.zeros((1, 4, 1)), np.float32([[1, 1, 0.5, 0]])),
            ValueError,
            "sample_weight must be 1 for the steps of a sequence and 0 for its padding",
        ),
        (
            lambda g: tf.function(g.nll)(tf.zeros((1, 3, 1)), tf.constant([[0.0, 0.0, 0.0]])),
            tf.errors.InvalidArgumentError,
            "sample_weight must count the first step",
        ),
        (lambda g: g.sample(0, 5, seed=0), ValueError, "num_samples"),
        (lambda g: g.sample(2.0, 5, seed=0), TypeError, "num_samples"),
        (lambda g: g.sample(2, 0, seed=0), ValueError, "length"),
        (lambda g: g.sample(2, 5, seed=-1), ValueError, "seed"),
        (lambda g: g.sample(2, 5, seed=2**32), ValueError, "seed"),
        (lambda g: g.sample(2, 5, seed="a"), TypeError, "seed"),
        (lambda g: g.sample(2, 5, seed=0, temperature=-1.0), ValueError, "temperature"),
        (lambda g: g.sample(2, 5, seed=0, temperature=float("nan")), ValueError, "temperature"),
        (lambda g: g.nll(tf.ragged.constant([[[1.0]], []])), TypeError, "x must be a tensor"),
        (lambda g: g.free_run(-1, 5, seed=0), ValueError, "batch_size"),
        (lambda g: g.free_run("a", 5, seed=0), TypeError, "batch_size"),
        (lambda g: g.complete(np.zeros((2, 3, 1)), 2, seed=0), ValueError, "length"),
        (lambda g: g.complete(np.full((2, 3, 1), 2.0), 5, seed=0), ValueError, "prefix"),
        (lambda g: g.complete(np.zeros((2, 0, 1)), 5, seed=0), ValueError, "prefix"),
        (
            lambda g: g.sample(2, 5, seed=0, temperature=tf.constant(-1.0)),
            ValueError,
            "temperature",
        ),
        (lambda g: g.sample(2, 5, seed=0, temperature=tf.ones((2,))), TypeError, "temperature"),
        (lambda g: g.free_run(2, 5, seed=0, keep="memory"), TypeError, "keep"),
        (lambda g: g.free_run(2, 5, seed=0, keep=("cell",)), ValueError, "keep"),
        (lambda g: g.free_run(2, 5, seed=0, keep=("samples",)), ValueError, "keep"),
        (lambda g: SequenceGenerator(keras.layers.GRUCell(3)), TypeError, "cell"),
        (lambda g: SequenceGenerator(g.cell, dtype="float64"), ValueError, "dtype"),
    ],
)
def test_refuses_bad_input(generator, call, error, words):
    with pytest.raises(error, match=words):
        call(generator)


def test_takes_variables_as_tensors(generator):
    x = binary(2, 3, 1)
    np.testing.assert_array_equal(generator(tf.Variable(x)), generator(x))


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
@pytest.mark.parametrize("through", [lambda generator: generator, TeacherForcing])
def test_nothing_is_sampled_with_the_weights_of_before(through):
    generator = small_generator()
    before = generator.sample(8, 12, seed=0).numpy()
    through(generator).quantize("int8")
    kernel = generator.cell.readout.kernel
    kernel.assign(np.zeros(kernel.shape))
    expected = generator.free_run(8, 12, seed=0)[0].numpy()
    assert (expected != before).any()
    np.testing.assert_array_equal(generator.sample(8, 12, seed=0), expected)


def test_samples_with_adapters():
    generator = small_generator()
    generator.sample(8, 12, seed=0)
    generator.cell.readout.enable_lora(2)
    generator.cell.readout.lora_kernel_b.assign_add([[20.0]] * 2)
    expected = generator.free_run(8, 12, seed=0)[0]
    np.testing.assert_array_equal(generator.sample(8, 12, seed=0), expected)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method:UserWarning")
def test_samples_of_a_quantized_model_are_its_own():
    """Compiled for many rows, a cell reads the weights of its layers itself."""
    generator = small_generator()
    generator.sample(32, 6, seed=0)  # compiled with the weights of before
    generator.quantize("int8")
    expected, logits, _ = generator.free_run(32, 6, seed=0)
    np.testing.assert_array_equal(generator.sample(32, 6, seed=0), expected)
    np.testing.assert_allclose(backend.compiled(generator)(expected), logits, atol=1e-5)
    with pytest.raises(ValueError, match="MANNCell is quantized"):
        generator.get_config()


def test_refuses_a_cell_built_for_other_inputs():
    cell = small_cell(units=1)
    cell.build((None, 4))
    with pytest.raises(ValueError, match="cell is built for inputs of size 4"):
        SequenceGenerator(cell)
