"""The policy gradient, weighed over all that a policy can do, is the derivative of what it gets."""

import itertools
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import ops

from mf_keras import KanervaCell, NTMCell, Policy, Reinforce, TeacherForcing, backend, kanerva
from mf_keras.environments import CopyEnvironment, Environment, MemoryChain, Tapes
from mf_keras.forcing import reinforce
from mf_keras.forcing.data import Batch
from mf_keras.models import Episodes
from mf_keras.outputs import Categorical, GaussianMixture
from tests.small import small_generator

STEPS = 3
SEQUENCES = np.array(list(itertools.product([0, 1], repeat=STEPS)))  # (8, T)


class GameState(NamedTuple):
    time: Any
    last: Any
    alive: Any


@keras.saving.register_keras_serializable(package="tests")
class Game(Environment):
    """Pays for pairs of actions, and by an answer; ends early after the action 1 is repeated."""

    observation_size, steps, answer_size = 2, STEPS, 1
    task, values = (1,), "numbers"
    actions = Categorical(2)

    def __init__(self, answers=True):
        self.answers = answers
        table = np.random.default_rng(5).normal(size=(STEPS, 2, 2))
        self.table = ops.convert_to_tensor(table)

    def tasks(self, count, seed):
        return np.zeros((count, 1))

    def valid(self, x):
        return x == x

    def initial(self, x):
        zeros = ops.zeros_like(ops.cast(x[:, 0], "int32"))
        return GameState(zeros, zeros, zeros + 1)

    def observe(self, state):
        return ops.cast(ops.stack([state.time, state.last], axis=-1), "float64")

    def running(self, state):
        return state.alive > 0

    def step(self, state, actions, answers):
        index = (state.time * 2 + actions) * 2 + state.last
        rewards = ops.take(ops.reshape(self.table, (-1,)), index)
        if self.answers:
            rewards = rewards - ops.square(answers[:, 0] - ops.cast(actions, "float64"))
        alive = state.alive
        ends = (state.time > 0) & (actions == 1) & (state.last == 1)
        after = ops.where(ends, 0, alive)
        return rewards * ops.cast(alive, "float64"), GameState(state.time + 1, actions, after)

    def get_config(self):
        return {"answers": self.answers}


def small_policy(environment, dtype=None):
    units = environment.actions.size + environment.answer_size
    cell = NTMCell(keras.layers.Dense(3, "tanh", dtype=dtype), units, 3, 2, 1, dtype=dtype)
    policy = Policy(cell, environment)
    random = np.random.default_rng(1)
    for variable in policy.trainable_variables:
        variable.assign(random.normal(scale=0.7, size=variable.shape))
    return policy


def game(answers=True, **options):
    """A `Reinforce` model of the game, in float64, with a critic that knows nothing."""
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    return Reinforce(small_policy(Game(answers), "float64"), **options)


def all_episodes(policy):
    """`(episodes, log_p)` of all sequences of actions: log_p (8, T), also after the end."""
    episodes = policy.act(np.zeros((len(SEQUENCES), 1)), Categorical(2).forced(SEQUENCES))
    np.testing.assert_array_equal(episodes.actions, SEQUENCES)
    return episodes, -policy.output.step_nll(episodes.actions, episodes.parameters)


def rows(episodes, chosen):
    """Some of the episodes."""

    def take(x):
        return None if x is None else ops.take(x, ops.convert_to_tensor(chosen), axis=0)

    return Episodes(*(keras.tree.map_structure(take, x) for x in episodes))


def probabilities(log_p):
    return np.exp(np.asarray(log_p).sum(axis=1))


def objective(model):
    """J: the expected return, and the weighted entropy."""
    episodes, log_p = all_episodes(model.policy)
    gained = ops.sum(episodes.rewards, axis=1)
    gained = gained + model.entropy * ops.sum(model._entropies(episodes), axis=1)
    return float(np.sum(probabilities(log_p) * np.asarray(gained)))


def gradient(model, pairs):
    """Minus the gradient of a step of J, weighed over all batches of one row or of two."""
    variables = model.policy.trainable_variables
    _, log_p = all_episodes(model.policy)
    p = probabilities(log_p)
    assert p.sum() == pytest.approx(1.0, abs=1e-12)
    count = len(SEQUENCES)
    batches = (
        list(itertools.product(range(count), repeat=2)) if pairs else [[i] for i in range(count)]
    )

    def behave():
        episodes, _ = all_episodes(model.policy)
        costs = -ops.sum(episodes.rewards, axis=1)
        costs = costs - model.entropy * ops.sum(model._entropies(episodes), axis=1)
        total = 0.0
        for batch in batches:
            own = rows(episodes, batch)
            losses = ops.take(costs, ops.convert_to_tensor(batch), axis=0)
            losses = losses + model._chosen(own, model._gains(own))
            total = total + np.prod(p[list(batch)]) * ops.mean(losses)
        return [total], None

    (total,), _, pull = backend.pullback(behave, variables)
    found, _ = pull([ops.ones_like(total)])
    return [
        0.0 * np.asarray(v) if g is None else -np.asarray(g)
        for g, v in zip(found, variables, strict=True)
    ]


def assert_is_derivative(found, variables, function, tolerance=1e-6, size=1e-5):
    """By difference quotients along two random directions of all variables together."""
    random = np.random.default_rng(2)
    before = [np.array(variable) for variable in variables]
    for _ in range(2):
        directions = [random.normal(size=variable.shape) for variable in variables]
        values = []
        for sign in (1.0, -1.0):
            for variable, start, direction in zip(variables, before, directions, strict=True):
                variable.assign(start + sign * size * direction)
            values.append(function())
        quotient = (values[0] - values[1]) / (2.0 * size)
        own = sum(np.sum(g * d) for g, d in zip(found, directions, strict=True))
        assert own == pytest.approx(quotient, abs=tolerance)
    for variable, start in zip(variables, before, strict=True):
        variable.assign(start)


@pytest.mark.parametrize(
    ("pairs", "options"),
    [
        (False, {"baseline": None}),
        (False, {"baseline": "critic"}),
        (False, {"baseline": "critic", "entropy": 0.3}),
        (True, {"baseline": "leave_one_out", "entropy": 0.3}),
        (True, {"baseline": "critic", "clip": 100.0}),
    ],
)
def test_over_all_sequences_the_gradient_is_the_derivative_of_the_objective(pairs, options):
    model = game(**options)
    if model.critic:
        for weight in model.critic.discriminator.trainable_variables:
            weight.assign(np.random.default_rng(3).normal(size=weight.shape))
    found = gradient(model, pairs)
    assert sum(np.abs(g).sum() for g in found) > 0.1
    assert_is_derivative(found, model.policy.trainable_variables, lambda: objective(model))


def test_the_mean_of_the_batch_as_baseline_makes_the_gradient_smaller():
    """By the factor (B - 1) / B, a half."""
    model = game(answers=False, baseline="mean")
    found = [2.0 * g for g in gradient(model, pairs=True)]
    assert_is_derivative(found, model.policy.trainable_variables, lambda: objective(model))


def weighted(model, weigh, pairs):
    """A function of the weights: the expected sum of log p of the actions, each weighed once.

    `weigh(rewards, running)` gives the weights of a batch, by NumPy.
    """
    episodes, log_p = all_episodes(model.policy)
    p, rewards = probabilities(log_p), np.asarray(episodes.rewards)
    running = np.asarray(episodes.running)
    repeat = 2 if pairs else 1
    weights = np.zeros_like(rewards)
    for batch in itertools.product(range(len(p)), repeat=repeat):
        batch = list(batch)
        own = weigh(rewards[batch], running[batch]) * running[batch]
        np.add.at(weights, batch, np.prod(p[batch]) / repeat * own)

    def function():
        return float(np.sum(weights * np.asarray(all_episodes(model.policy)[1])))

    return function


def by_loops(rewards, discount):
    """The returns, from every step on."""
    found = np.zeros_like(rewards)
    for t in range(rewards.shape[1]):
        for s in range(t, rewards.shape[1]):
            found[:, t] += discount ** (s - t) * rewards[:, s]
    return found


def test_a_discount_weighs_what_follows_by_the_time_since():
    model = game(answers=False, baseline=None, discount=0.8)
    function = weighted(model, lambda rewards, _: by_loops(rewards, 0.8), pairs=False)
    assert_is_derivative(gradient(model, False), model.policy.trainable_variables, function)


@pytest.mark.parametrize("clip", [None, 0.7])
def test_normalised_and_clipped_advantages_are_those_of_numpy(clip):
    model = game(answers=False, baseline="mean", normalize=True, clip=clip)

    def weigh(rewards, running):
        found = by_loops(rewards, 1.0)
        found = found - found.mean(axis=0)
        counted = found[running > 0]
        found = (found - counted.mean()) / max(counted.std(), 1e-8)
        return found if clip is None else np.clip(found, -clip, clip)

    function = weighted(model, weigh, pairs=True)
    assert_is_derivative(gradient(model, True), model.policy.trainable_variables, function)


def test_two_steps_by_hand():
    """Two independent bits with logits 0.3 and -0.2, rewards a_1 and [a_1 = a_2]."""
    actions = np.array(list(itertools.product([0.0, 1.0], repeat=2)))
    p = np.prod(
        np.where(actions == 1, *(1 / (1 + np.exp(s * np.array([0.3, -0.2]))) for s in (-1, 1))), 1
    )
    rewards = np.stack([actions[:, 0], actions[:, 0] == actions[:, 1]], axis=1).astype("float64")
    scores = actions - 1 / (1 + np.exp(-np.array([0.3, -0.2])))
    assert p @ rewards.sum(1) == pytest.approx(1.067023, abs=1e-6)
    gains = reinforce.returns(ops.convert_to_tensor(rewards))
    plain = np.repeat(rewards.sum(1, keepdims=True), 2, axis=1)
    with_baseline = reinforce.advantages(gains, np.broadcast_to([1.0, 0.5], (4, 2)))
    variances = {
        (0.273295, 0.422776): plain,
        (0.273295, 0.124237): gains,
        (0.061606, 0.060521): with_baseline,
    }
    for variance, weights in variances.items():
        each = np.asarray(weights) * scores
        np.testing.assert_allclose(p @ each, [0.220094, 0.036852], atol=1e-6)
        np.testing.assert_allclose(p @ each**2 - (p @ each) ** 2, variance, atol=1e-6)


def test_the_surrogate_passes_no_gradient_to_its_weights():
    log_p, weights = (ops.convert_to_tensor(np.full((2, 3), x)) for x in (-1.0, 2.0))
    (loss,), _, pull = backend.pullback(
        lambda p, w: ([reinforce.surrogate(p, w)], None), (), [log_p, weights]
    )
    np.testing.assert_array_equal(loss, [6.0, 6.0])
    _, (to_log_p, to_weights) = pull([ops.ones_like(loss)])
    np.testing.assert_array_equal(to_log_p, -2.0 * np.ones((2, 3)))
    assert to_weights is None


def test_baselines_by_hand():
    gains = ops.convert_to_tensor([[1.0, 4.0], [2.0, 5.0], [6.0, 9.0]])
    np.testing.assert_array_equal(reinforce.baseline(gains, None), np.zeros((3, 2)))
    np.testing.assert_allclose(reinforce.baseline(gains, "mean"), [[3.0, 6.0]] * 3)
    others = [[4.0, 7.0], [3.5, 6.5], [1.5, 4.5]]
    np.testing.assert_allclose(reinforce.baseline(gains, "leave_one_out"), others)
    np.testing.assert_array_equal(reinforce.baseline(gains[:1], "leave_one_out"), [[0.0, 0.0]])


# The model.


def small(compiling=(), environment=None, **options):
    environment = environment or CopyEnvironment(2)
    model = Reinforce(small_policy(environment), **options)
    compiling = dict(compiling) or {"run_eagerly": True}
    model.compile(keras.optimizers.Adam(0.05), keras.optimizers.Adam(0.01), **compiling)
    return model


def weights_of(model):
    return [np.array(variable) for variable in model.trainable_variables]


@pytest.mark.long
def test_learns_what_to_remember_compiled():
    environment = MemoryChain(2)
    model = small({"jit_compile": "auto"}, environment, baseline="critic", entropy=0.01)
    x = environment.tasks(64 * 60, seed=0)
    history = model.fit(x, batch_size=64, epochs=1, verbose=0).history
    assert set(history) == {"loss", "return", "right", "entropy", "critic_loss", "skipped_updates"}
    np.testing.assert_array_equal(model.policy(x[:50])[:, 1], x[:50, 0])
    rewards = model.policy.run(x[:200], seed=0, keep=()).rewards
    assert np.sum(rewards) > 0.8 * 200


def test_losses_of_the_cell_end_with_the_episode():
    environment = Tapes(3, 4, 2, steps=12)
    cell = KanervaCell(
        keras.layers.Dense(3, "tanh"), environment.actions.size + 3, 3, 2, 1, divergence_weight=1.0
    )
    model = Reinforce(Policy(cell, environment), seed=1)
    model.compile("sgd", run_eagerly=True)
    x = environment.tasks(3, seed=0)
    _, costs = model._act(Batch(x, x), model._noise(x, 0), False)
    episodes = model.policy.episodes(x, model._noise(x, 0), training=False)
    last = np.asarray(episodes.running).sum(axis=1).astype(int) - 1
    assert last.max() < 11
    after = [
        np.asarray(episodes.trace._asdict()[name])[range(3), last]
        for name in ("memory", "covariance")
    ]
    start = cell.initial_state(3)
    expected = kanerva.divergence(*after, start.memory, start.covariance)
    np.testing.assert_allclose(costs + np.sum(episodes.rewards, axis=1), expected, rtol=1e-4)


def test_evaluation_draws_by_the_same_noise_every_time():
    model = small(environment=MemoryChain(2))
    x = model.policy.environment.tasks(20, seed=0)
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert logs == model.evaluate(x, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "return", "right"}
    assert logs["return"] == pytest.approx(2.0 * logs["right"] - 1.0, abs=1e-5)
    assert model.predict(x, verbose=0).shape == (20, 2)
    assert model.logs.directions["return"] == model.logs.directions["right"] == "max"


def test_a_saved_run_resumes_to_the_bit(tmp_path):
    options = {"baseline": "critic", "critic": keras.layers.Dense(1), "entropy": 0.1}
    options |= {"discount": 0.9, "normalize": True, "clip": 2.0, "seed": 4}
    model = small(**options)
    x = model.policy.environment.tasks(8, seed=0)
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for name in ("baseline", "entropy", "discount", "normalize", "clip", "seed"):
        assert getattr(again, name) == options[name]
    for each in (model, again):
        each.fit(x, verbose=0)
    for a, b in zip(weights_of(model), weights_of(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_episode_is_a_function_of_weights_tasks_and_noise():
    policy = small_policy(CopyEnvironment(2))
    x = policy.environment.tasks(5, seed=0)
    first, same, other = (policy.run(x, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.actions, same.actions)
    assert (np.asarray(first.actions) != np.asarray(other.actions)).any()
    part = policy.run(x[:2], seed=0, keep=("memory",))
    assert part.trace.memory.shape == (2, 4, 3, 2)
    assert part.trace.hidden is None
    greedy = policy.run(x, seed=0, temperature=0.0).actions
    np.testing.assert_array_equal(greedy, policy(x))


def test_an_update_that_is_not_finite_is_skipped():
    model = small(baseline="critic")
    before = weights_of(model.policy)
    model.policy.trainable_variables[0].assign(np.full(before[0].shape, np.nan))
    x = model.policy.environment.tasks(4, seed=0)
    assert model.train_on_batch(x, return_dict=True)["skipped_updates"] == 2.0
    for a, b in zip(before[1:], weights_of(model.policy)[1:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"baseline": "median"}, ValueError, "baseline must be one of"),
        ({"critic": keras.layers.Dense(1)}, ValueError, "critic must be None"),
        ({"baseline": "critic", "critic": "a"}, TypeError, "critic must be a Keras layer"),
        ({"baseline": "critic", "critic": keras.layers.Dense(2)}, ValueError, "output of critic"),
        ({"discount": 1.5}, ValueError, "discount"),
        ({"entropy": -1.0}, ValueError, "entropy"),
        ({"normalize": 1}, TypeError, "normalize"),
        ({"clip": 0.0}, ValueError, "clip"),
        ({"seed": -1}, ValueError, "seed"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        Reinforce(small_policy(CopyEnvironment(2)), **options)


def test_refuses_what_is_no_policy_and_bad_tasks():
    with pytest.raises(TypeError, match="policy must be a Policy"):
        Reinforce(small_generator())
    with pytest.raises(TypeError, match="generator must be a SequenceGenerator"):
        TeacherForcing(small_policy(CopyEnvironment(2)))
    model = small()
    with pytest.raises(ValueError, match="x must have shape"):
        model.fit(np.zeros((4, 3)), verbose=0)
    with pytest.raises(ValueError, match="x must hold only 0 and 1"):
        model.fit(np.full((4, 2), 0.5), verbose=0)
    with pytest.raises(ValueError, match="without y and sample_weight"):
        model.fit(np.zeros((4, 2)), np.zeros((4, 2)), verbose=0)


def test_refuses_an_entropy_without_a_formula():
    class Aim(Game):
        actions = GaussianMixture(1, 1)

        def observe(self, state):
            return ops.zeros((ops.shape(state.time)[0], 2))

    with pytest.raises(ValueError, match="entropy must be 0"):
        Reinforce(small_policy(Aim()), entropy=0.1)
