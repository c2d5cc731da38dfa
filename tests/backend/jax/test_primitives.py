import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from mf_keras import NTMCell, SequenceGenerator, TeacherForcing, backend, data
from mf_keras.backend.jax.primitives import Scope
from mf_keras.outputs import Categorical
from tests.small import binary, small_generator, small_transducer


def test_a_pullback_gives_gradients_and_hands_on_what_is_assigned():
    weight, count = keras.Variable(3.0), keras.Variable(0.0)

    def square(x):
        count.assign_add(1.0)
        return [weight * x, x * x], count + 1.0

    targets, aux, pull = backend.pullback(square, [weight], [jnp.asarray(2.0)])
    assert [float(x) for x in (*targets, aux)] == [6.0, 4.0, 2.0]
    assert float(count) == 1.0
    (to_weight,), (to_x,) = pull([jnp.asarray(10.0), jnp.asarray(1.0)])
    assert (float(to_weight), float(to_x)) == (20.0, 34.0)


def test_branches_of_a_traced_condition_assign():
    first, second = keras.Variable(1.0), keras.Variable(2.0)

    def swap():
        before = first.value
        first.assign(second.value)
        second.assign(before)
        return before

    def double():
        first.assign(2.0 * first)
        return first.value

    def choose(predicate, values):
        with Scope((first, second), values):
            result = backend.cond(predicate, swap, double)
            return result, [first.value, second.value]

    values = [jnp.asarray(1.0), jnp.asarray(2.0)]
    for predicate, expected in ((True, [1.0, 2.0, 1.0]), (False, [2.0, 2.0, 2.0])):
        for run in (choose, jax.jit(choose)):
            result, after = run(jnp.asarray(predicate), values)
            assert [float(x) for x in (result, *after)] == expected
    assert (float(first), float(second)) == (1.0, 2.0)  # within a scope only


def test_an_inner_scope_knows_what_the_outer_one_does():
    variable = keras.Variable(1.0)
    with Scope([variable], [jnp.asarray(5.0)]):
        with Scope() as inner:
            assert float(variable) == 5.0
            variable.assign(6.0)
        assert float(variable) == 5.0
    assert list(inner.assigned.values()) == [variable]


def test_rows_are_read_and_written():
    table = keras.Variable(np.arange(6.0).reshape(3, 2))
    backend.write_rows(table, jnp.asarray([2, 0]), jnp.asarray([[7.0, 8.0], [9.0, 9.0]]), True)
    np.testing.assert_array_equal(table, [[9.0, 9.0], [2.0, 3.0], [7.0, 8.0]])
    np.testing.assert_array_equal(backend.read_rows(table, jnp.asarray([1])), [[2.0, 3.0]])


@pytest.mark.parametrize("value", ["word", [[1], [1, 2]], 1j, object()])
def test_what_is_no_tensor_of_numbers_is_refused(value):
    with pytest.raises(TypeError, match="x must be a tensor of numbers"):
        backend.to_tensor("x", value)


def test_a_condition_is_checked_where_values_are_known():
    x = jnp.asarray([1.0])
    assert backend.required({"x": x}, x > 0, "x must be positive, got", x)["x"] is x
    with pytest.raises(ValueError, match="x must be positive, got"):
        backend.required(x, x > 1, "x must be positive, got", x)
    jax.jit(lambda x: backend.required(x, x > 1, "x must be positive, got", x))(x)


def test_what_is_tensorflows_says_what_to_do(tmp_path):
    for export in (
        lambda: small_generator().export(tmp_path / "small" / "1", length=4),
        lambda: small_transducer().export(tmp_path / "model"),
    ):
        with pytest.raises(ImportError, match="export of a SavedModel needs Keras to run on Tens"):
            export()
    with pytest.raises(ImportError, match=r"mf_keras.data.babi needs TensorFlow"):
        _ = data.babi
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = data.nothing
    assert not list(tmp_path.iterdir())


def test_a_generator_samples_and_completes():
    generator = small_generator()
    samples = np.asarray(generator.sample(3, 6, seed=0))
    assert samples.shape == (3, 6, 1)
    assert set(np.unique(samples)) <= {0.0, 1.0}
    np.testing.assert_array_equal(samples, generator.sample(3, 6, seed=0))
    prefix = binary(3, 2, 1)
    completed = generator.complete(prefix, 6, seed=0)
    np.testing.assert_array_equal(completed[:, :2], prefix)


def test_samples_are_of_the_embedding_as_it_is_now():
    def new():
        keras.utils.set_random_seed(0)
        cell = NTMCell(keras.layers.Dense(3, "tanh"), 4, 3, 2, 1)
        return SequenceGenerator(cell, Categorical(4, embedding=2))

    generator, other = new(), new()
    before = np.asarray(generator.sample(8, 5, seed=0))
    for each in (generator, other):
        for weight in each.trainable_variables:
            weight.assign(3.0 * weight + 1.0)
        table = each.output.layers[0].trainable_variables[0]
        table.assign(-9.0 * table)
    found = np.asarray(generator.sample(8, 5, seed=0))
    assert (found != before).any()
    np.testing.assert_array_equal(found, other.sample(8, 5, seed=0))
    prefix = before[:, :2]
    completed = generator.complete(prefix, 5, seed=0)
    np.testing.assert_array_equal(completed, other.complete(prefix, 5, seed=0))


@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_a_later_batch_that_is_refused_costs_no_weights(method):
    model = TeacherForcing(small_generator())
    model.compile("adam")
    good, bad = binary(2, 3, 1), np.full((2, 3, 1), 0.5, "float32")
    model.evaluate(good, verbose=0)
    before = [np.array(weight) for weight in model.weights]
    steps = {"steps_per_epoch" if method == "fit" else "steps": 3}
    with pytest.raises(ValueError, match="must hold only 0 and 1"):
        getattr(model, method)(iter_of(good, good, bad), verbose=0, **steps)
    for a, b in zip(before, model.weights, strict=True):
        assert np.isfinite(b).all()
        if method != "fit":
            np.testing.assert_array_equal(a, b)


def iter_of(*batches):
    yield from ((batch,) for batch in batches)


@pytest.mark.parametrize("value", [[2**31], np.array([[1, -(2**40)]]), 2**63])
def test_integers_that_jax_would_wrap_are_refused(value):
    with pytest.raises(ValueError, match="x must hold integers of 32 bits"):
        backend.to_tensor("x", value)
    np.testing.assert_array_equal(backend.to_tensor("x", [2**31 - 1, -(2**31)])[1], -(2**31))
