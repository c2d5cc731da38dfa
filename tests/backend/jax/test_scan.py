import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from mf_keras import backend


def problem(time, batch=2, size=3):
    """A step with weights, two carries and two inputs, one of them a mask."""
    rng = np.random.default_rng(0)
    weights = keras.Variable(rng.normal(size=(size, size)), dtype="float32")
    start = {"h": rng.normal(size=(batch, size)), "sum": rng.normal(size=(batch, size))}
    inputs = (rng.normal(size=(time, batch, size)), rng.uniform(size=(time, batch, 1)) > 0.3)

    def step(carry, inputs_t):
        x, mask = inputs_t
        h = jnp.tanh(carry["h"] @ weights.value + x)
        new = {"h": h, "sum": carry["sum"] + h * h}
        return {name: jnp.where(mask, new[name], carry[name]) for name in new}

    return step, weights, *jax.tree.map(jnp.asarray, (start, inputs))


def results(scan, weights, start, inputs):
    """What a scan gives, and gradients of a function of everything that it gives."""

    @jax.jit
    def run(start, x):
        def outputs(start, x):
            stacked, last = scan(start, (x, inputs[1]))
            loss = sum(
                jnp.sum(jnp.sin((i + 2.0) * part))
                for i, part in enumerate((stacked["h"], last["h"], last["sum"]))
            )
            return [loss], (stacked, last)

        flat = [start["h"], start["sum"], x]
        _, seen, pull = backend.pullback(
            lambda h, total, x: outputs({"h": h, "sum": total}, x), [weights], flat
        )
        return seen, pull([jnp.ones(())])

    return run(start, inputs[0])


@pytest.mark.parametrize(("time", "chunk"), [(1, "sqrt"), (2, 1), (7, None), (7, 3), (9, "sqrt")])
def test_chunks_give_the_results_and_gradients_of_a_plain_loop(time, chunk):
    step, weights, start, inputs = problem(time)

    def by_loop(carry, inputs):
        states = []
        for t in range(time):
            carry = step(carry, jax.tree.map(lambda x: x[t], inputs))  # noqa: B023
            states.append(carry["h"])
        return {"h": jnp.stack(states), "sum": None}, carry

    def by_scan(start, inputs):
        keep = {"h": True, "sum": False}
        return backend.scan(step, [weights], start, inputs, keep, chunk)

    expected = results(by_loop, weights, start, inputs)
    found = results(by_scan, weights, start, inputs)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-5)


def test_gradients_of_half_float_weights_are_summed_in_float32():
    """In float16 a sum of 2048 ones stays there."""
    weights = keras.Variable(np.zeros(1), dtype="float16")
    start, inputs = [jnp.zeros((1, 1), "float16")], [jnp.zeros((4000, 1, 1), "float16")]

    def loss():
        step = lambda _, x: [x[0] + weights.value]  # noqa: E731
        stacked, _ = backend.scan(step, [weights], start, inputs)
        return [jnp.sum(stacked[0].astype("float32"))], None

    _, _, pull = backend.pullback(loss, [weights])
    (to_weights,), _ = pull([jnp.ones(())])
    assert to_weights.dtype == "float16"
    assert float(to_weights[0]) == 4000.0


def test_integers_are_carried_and_pass_no_gradient_on():
    weight = keras.Variable(np.float32(2.0))

    def step(carry, inputs_t):
        return {"h": carry["h"] * weight.value + inputs_t[0], "n": carry["n"] + 1}

    def loss(x):
        carry = {"h": jnp.zeros((1,)), "n": jnp.zeros((1,), "int32")}
        stacked, last = backend.scan(step, [weight], carry, [x])
        return [jnp.sum(stacked["h"])], last["n"]

    _, count, pull = backend.pullback(loss, [weight], [jnp.ones((3, 1))])
    (to_weight,), (to_x,) = pull([jnp.ones(())])
    assert int(count[0]) == 3
    # h = 1, 1 + w, 1 + w + w^2: the sum's derivative is 1 + 1 + 2 w.
    assert float(to_weight) == 6.0
    np.testing.assert_array_equal(to_x[:, 0], [7.0, 3.0, 1.0])


def test_a_step_that_assigns_is_refused():
    counter = keras.Variable(0.0, name="counter")

    def step(carry, inputs_t):
        counter.assign_add(1.0)
        return carry

    with pytest.raises(ValueError, match="must not assign counter in a step"):
        backend.scan(step, [], [jnp.zeros((1, 1))], [jnp.zeros((2, 1, 1))])
