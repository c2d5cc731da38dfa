import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import NTMCell, SequenceGenerator, outputs
from mf_keras.export.signatures import CHUNK, endpoints, served_fields
from tests.export.helpers import LENGTH, draw, warmup_requests
from tests.small import binary, small_cell


@pytest.fixture(scope="module")
def generator(exported):
    return exported[0]


def test_a_row_depends_on_its_own_seed_and_temperature_alone(ask):
    random = np.random.default_rng(0)
    seeds = np.arange(40)
    whole = {"seed": seeds, "temperature": random.uniform(0.5, 2.0, 40).astype("float32")}
    expected = ask("sample", **whole)
    for rows in ([3], [39, 0], random.permutation(40)[:17], random.permutation(40)):
        answer = ask("sample", **{name: x[rows] for name, x in whole.items()})
        for name, x in answer.items():
            np.testing.assert_array_equal(x, expected[name][rows])


def test_score_and_trace_of_a_row_do_not_see_its_neighbours(ask):
    x = binary(21, LENGTH, 1)
    for name in ("score", "trace"):
        expected = ask(name, sequences=x)
        for output, alone in ask(name, sequences=x[4:5]).items():
            np.testing.assert_array_equal(alone, expected[output][4:5])


def test_other_seeds_give_other_rows_and_equal_ones_equal_rows(ask):
    samples = ask("sample", **draw([1, 2, 3, 4, 5, 6, 7, 8, 1, -1, 2**62]))["samples"]
    np.testing.assert_array_equal(samples[0], samples[8])
    assert len(np.unique(samples[..., 0], axis=0)) > 5


def test_samples_have_the_model_s_distribution(ask, generator):
    """Frequencies of the first three steps against their probabilities, chi-squared."""
    every = np.array([[int(b) for b in f"{i:03b}"] for i in range(8)], "float32")[..., None]
    expected = 2000 * np.exp(-generator.nll(every).numpy())
    samples = ask("sample", **draw(np.arange(2000)))["samples"][:, :3, 0]
    counts = np.bincount((samples @ [4, 2, 1]).astype(int), minlength=8)
    assert ((counts - expected) ** 2 / expected).sum() < 24.3  # p = 0.001 at 7 degrees of freedom


def test_small_temperatures_give_the_mode_and_high_ones_fair_coins(ask, generator):
    samples = ask("sample", **draw([1, 2], 1e-6))["samples"]
    mode, _, _ = generator.free_run(2, LENGTH, seed=0, temperature=0.0)  # without compiling
    np.testing.assert_array_equal(samples, mode)
    coins = ask("sample", **draw(np.arange(300), 1e6))["samples"]
    assert coins.mean() == pytest.approx(0.5, abs=0.05)


def test_nll_is_the_model_s(ask, generator):
    answer = ask("sample", **draw([1, 2, 3], 2.0))
    np.testing.assert_allclose(answer["nll"], generator.nll(answer["samples"]), atol=1e-4)
    x = binary(5, LENGTH, 1)
    np.testing.assert_allclose(ask("score", sequences=x)["nll"], generator.nll(x), atol=1e-4)
    scores = ask("score", sequences=answer["samples"])
    np.testing.assert_array_equal(scores["nll"], answer["nll"])


@pytest.mark.parametrize("t0", range(LENGTH + 1))
def test_completion_begins_with_the_prefix(ask, t0):
    prefix = binary(8, t0, 1)
    samples = ask("complete", prefix=prefix, **draw(np.arange(8)))["samples"]
    assert samples.shape == (8, LENGTH, 1)
    assert set(np.unique(samples)) <= {0.0, 1.0}
    np.testing.assert_array_equal(samples[:, :t0], prefix)


@pytest.mark.parametrize("t0", [0, 2, LENGTH])
def test_a_sample_s_own_beginning_is_continued_as_the_sample_was(ask, t0):
    request = draw(np.arange(16), 1.5)
    samples = ask("sample", **request)["samples"]
    completed = ask("complete", prefix=samples[:, :t0], **request)["samples"]
    np.testing.assert_array_equal(completed, samples)


def test_trace_is_the_teacher_forced_one(ask, generator):
    x = binary(3, LENGTH, 1)
    answer = ask("trace", sequences=x)
    _, trace = generator.teacher_force(x)
    assert set(answer) == {"hidden", "memory", "read_weights", "write_weights"}
    for name, value in answer.items():
        np.testing.assert_allclose(value, getattr(trace, name), atol=1e-4)


def test_rows_are_computed_in_chunks(ask):
    """More rows than a chunk, of which the last is shorter than 16 rows."""
    x = binary(2 * CHUNK + 3, LENGTH, 1)
    expected = ask("trace", sequences=x[:-4:-1])
    for name, value in ask("trace", sequences=x).items():
        np.testing.assert_array_equal(value[:-4:-1], expected[name])


def test_score_and_trace_have_no_operation_that_onnx_lacks(signatures):
    """Of those that stood in the way of tf2onnx; see docs/guides/converting.md."""
    for name in ("score", "trace"):
        graph = signatures[name].graph.as_graph_def()
        nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
        operations = {node.op for node in nodes}
        assert {"StatelessWhile", "Softplus"} & operations
        assert not {"Log1p", "TensorListConcatV2"} & operations


def test_no_rows_give_no_rows(ask):
    assert ask("sample", **draw([]))["samples"].shape == (0, LENGTH, 1)


@pytest.mark.long
def test_ntm_and_several_units():
    cell = NTMCell(keras.layers.GRUCell(4), 3, memory_size=4, word_size=2, num_reads=1)
    functions = endpoints(SequenceGenerator(cell), 4)
    answer = functions["sample"](**draw([1, 2]))
    assert answer["samples"].shape == (2, 4, 3)
    np.testing.assert_array_equal(functions["score"](answer["samples"])["nll"], answer["nll"])
    assert functions["trace"](answer["samples"])["memory"].shape == (2, 4, 4, 2)


def test_compiled_by_xla_it_answers_the_same():
    generator = SequenceGenerator(small_cell())
    request = draw(np.arange(8))
    expected = endpoints(generator, 3)["sample"](**request)
    function = endpoints(generator, 3, jit_compile=True)["sample"]
    answer = function(**request)
    np.testing.assert_array_equal(answer["samples"], expected["samples"])
    np.testing.assert_allclose(answer["nll"], expected["nll"], atol=1e-4)
    with pytest.raises(tf.errors.InvalidArgumentError, match="temperature must be finite"):
        function(**draw([1], 0.0))


def test_served_fields_are_tensors_of_the_state():
    cell = small_cell()
    cell.served_fields = ("memory", "write_weights", "no_field")
    assert served_fields(cell) == ("memory", "write_weights")
    cell.served_fields = ("controller",)
    with pytest.raises(
        TypeError, match=r"served_fields of MANNCell must name tensors .* controller"
    ):
        endpoints(SequenceGenerator(cell), 3)


def known_weights(generator):
    """Weights that no random generator draws: sines."""
    generator.build((None, None, *generator.output.step))
    for i, variable in enumerate(generator.trainable_variables):
        size = int(np.prod(variable.shape))
        variable.assign(np.reshape(np.sin(np.arange(size) + i), variable.shape))


@pytest.mark.long
def test_tokens_are_integers_of_one_axis():
    cell = NTMCell(keras.layers.GRUCell(4), 3, memory_size=4, word_size=2, num_reads=1)
    generator = SequenceGenerator(cell, outputs.Categorical(3, embedding=2))
    known_weights(generator)
    functions = endpoints(generator, 4)
    answer = functions["sample"](**draw([1, 2]))
    # As on 2026-11-28: another version of the package must not answer otherwise.
    np.testing.assert_array_equal(answer["samples"], [[0, 2, 1, 0], [1, 2, 2, 1]])
    np.testing.assert_allclose(answer["nll"], [4.88156, 3.62663], rtol=1e-4)
    assert answer["samples"].dtype == tf.int32
    assert answer["samples"].shape == (2, 4)
    np.testing.assert_allclose(answer["nll"], generator.nll(answer["samples"]), rtol=1e-5)
    np.testing.assert_array_equal(functions["score"](answer["samples"])["nll"], answer["nll"])
    prefix = answer["samples"][:, :2]
    completed = functions["complete"](prefix, **draw([1, 2]))["samples"]
    np.testing.assert_array_equal(completed, answer["samples"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="must hold only integers from 0 to 2"):
        functions["score"](tf.constant([[0, 1, 2, 3]]))


@pytest.mark.long
def test_strokes_are_moves_and_states_of_the_pen():
    output = outputs.Joint({"move": outputs.GaussianMixture(2, 2), "pen": outputs.Categorical(3)})
    cell = NTMCell(keras.layers.GRUCell(4), output.size, memory_size=4, word_size=2, num_reads=1)
    generator = SequenceGenerator(cell, output)
    known_weights(generator)
    functions = endpoints(generator, 4)
    samples, nll = (functions["sample"](**draw([1, 2]))[name] for name in ("samples", "nll"))
    # As on 2026-11-28, the last step of each.
    last = [[-2.08567, -1.58292, 0.0], [2.82016, -1.46175, 1.0]]
    np.testing.assert_allclose(samples[:, -1], last, rtol=1e-3)
    np.testing.assert_allclose(nll, [25.3212, 19.0041], rtol=1e-3)
    assert samples.dtype == tf.float32
    assert samples.shape == (2, 4, 3)
    np.testing.assert_allclose(nll, generator.nll(samples), rtol=1e-4)
    completed = functions["complete"](samples[:, :2], **draw([1, 2]))["samples"]
    np.testing.assert_allclose(completed, samples, atol=1e-5)
    np.testing.assert_array_equal(completed[:, :2], samples[:, :2])
    wrong = tf.tensor_scatter_nd_update(samples, [[0, 0, 2]], [0.5])
    with pytest.raises(tf.errors.InvalidArgumentError, match="pen: integers from 0 to 2, got"):
        functions["score"](wrong)


@pytest.mark.long
def test_contexts_and_unequal_lengths(tmp_path):
    """Of tokens: as the generator itself, from the SavedModel, whose warm-up requests fit."""
    keras.utils.set_random_seed(2)
    generator = SequenceGenerator(small_cell(3), outputs.Categorical(3), context_size=2)
    random = np.random.default_rng(0)
    for variable in generator.trainable_variables:
        variable.assign(3.0 * variable + random.normal(scale=0.5, size=variable.shape))
    generator.export(tmp_path / "tokens" / "1", length=4, unequal_lengths=True)
    found = tf.saved_model.load(str(tmp_path / "tokens" / "1")).signatures

    def ask(name, **inputs):
        answers = found[name](**{k: tf.constant(x) for k, x in inputs.items()})
        return {name: x.numpy() for name, x in answers.items()}

    context = np.array([[1.0, 0.0], [0.0, 1.0]], "float32")
    drawn = ask("sample", context=context, **draw([5, 6]))
    samples = drawn["samples"]
    assert samples.dtype == "int32"
    x = {"sequence": samples, "context": context}
    np.testing.assert_allclose(drawn["nll"], generator.nll(x), rtol=1e-5)
    other = ask("sample", context=context[::-1].copy(), **draw([5, 6]))["nll"]
    assert (np.abs(other - drawn["nll"]) > 1e-3).all()  # the context is read

    lengths = np.array([2, 4], "int64")
    weights = (np.arange(4) < lengths[:, None]).astype("float32")
    padded = np.where(weights > 0, samples, -1).astype("int32")
    scored = ask("score", sequences=padded, lengths=lengths, context=context)["nll"]
    np.testing.assert_allclose(scored, generator.nll(x, weights), rtol=1e-5)
    whole = ask("complete", prefix=samples[:, :2], context=context, **draw([5, 6]))["samples"]
    np.testing.assert_array_equal(whole, samples)
    trace = ask("trace", sequences=samples, context=context)
    np.testing.assert_allclose(trace["memory"], generator.teacher_force(x)[1].memory, atol=1e-5)
    for wrong, words in (
        ({"lengths": lengths + 1}, "lengths must be from 1 to 4"),
        ({"context": context * np.nan}, "context must be finite"),
        ({"context": context[:1]}, "context must have one entry a row"),
    ):
        given = {"sequences": samples, "lengths": lengths, "context": context, **wrong}
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            ask("score", **given)
    for _, signature, inputs in warmup_requests(tmp_path / "tokens" / "1"):
        ask(signature, **inputs)
