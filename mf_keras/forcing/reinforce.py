"""Learning from rewards: the score-function gradient, its baselines, and `Reinforce`.

What a model chose has no derivative, but the probability of the choice has one:

    grad E[R] = E[sum over t of (G_t - b_t) grad log p(a_t)],    G_t = sum over s >= t of r_s

(Williams 1992). Subtracting b_t leaves the mean as it is, if b_t does not depend on a_t, and makes
the variance smaller. `returns`, `baseline`, `advantages` and `surrogate` are pure functions of
tensors (B, T). Under a strategy the statistics are those of the global batch.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversarial import AdversarialForcing
from mf_keras.forcing.updates import Updates
from mf_keras.models import Episodes, Policy
from mf_keras.types import Config, Tensor

BASELINES = (None, "mean", "leave_one_out", "critic")
_SMALLEST_DEVIATION = 1e-8


def returns(rewards: Tensor, discount: float = 1.0) -> Tensor:
    """What follows every step: G_t = sum over s >= t of discount^(s - t) r_s.

    Args:
        rewards: (B, T).
        discount: in [0, 1].

    Returns:
        (B, T).
    """
    steps = ops.arange(ops.shape(rewards)[1], dtype=rewards.dtype)
    ahead = ops.expand_dims(steps, 1) - ops.expand_dims(steps, 0)  # (T, T), s - t
    weights = ops.power(ops.cast(discount, rewards.dtype), ops.maximum(ahead, 0.0))
    return ops.matmul(rewards, ops.where(ahead >= 0.0, weights, 0.0))


def baseline(gains: Tensor, kind: str | None, values: Tensor | None = None) -> Tensor:
    """b_t, what is subtracted from the returns.

    Args:
        gains: returns (B, ...).
        kind: None for 0; "mean", that of the batch, which makes the expected gradient smaller by
            the factor (B - 1) / B, since every row is in its own baseline; "leave_one_out", the
            mean of the other rows, which leaves it exact (Kool et al. 2019); "critic" for `values`.
        values: (B, ...), those of a critic.
    """
    if kind is None:
        return ops.zeros_like(gains)
    if kind == "critic":
        return ops.stop_gradient(ops.cast(values, gains.dtype))
    rows = ops.cast(replicas.size(gains), gains.dtype)
    total = replicas.total(ops.sum(gains, axis=0, keepdims=True))
    if kind == "mean":
        return ops.broadcast_to(total / rows, ops.shape(gains))
    return (total - gains) / ops.maximum(rows - 1.0, 1.0)


def advantages(
    gains: Tensor,
    baselines: Tensor,
    counts: Tensor | None = None,
    normalize: bool = False,
    clip: float | None = None,
) -> Tensor:
    """G_t - b_t, perhaps normalised and clipped, which changes the expected gradient.

    Args:
        gains: returns (B, T).
        baselines: (B, T).
        counts: (B, T) of 0 and 1, the steps that count; None for all.
        normalize: subtract the mean of the steps of the batch, and divide by their deviation.
        clip: the largest absolute value, after that; None for no limit.

    Returns:
        (B, T), 0 where a step does not count.
    """
    found = gains - baselines
    counts = ops.ones_like(found) if counts is None else ops.cast(counts, found.dtype)
    if normalize:
        steps = replicas.total(ops.sum(counts))
        centred = found - replicas.total(ops.sum(found * counts)) / steps
        variance = replicas.total(ops.sum(ops.square(centred) * counts)) / steps
        found = centred / ops.maximum(ops.sqrt(variance), _SMALLEST_DEVIATION)
    if clip is not None:
        found = ops.clip(found, -clip, clip)
    return found * counts


def surrogate(log_probabilities: Tensor, weights: Tensor) -> Tensor:
    """-sum over t of A_t log p(a_t): a loss whose gradient is that of -E[R].

    Args:
        log_probabilities: (B, T), nats.
        weights: (B, T), A_t, which get no gradient.

    Returns:
        (B,).
    """
    return -ops.sum(ops.stop_gradient(weights) * log_probabilities, axis=1)


class Critic(keras.layers.Layer):
    """A model of the returns, trained beside what it is a baseline of.

    It reads the hidden states, which get no gradient, and minimises the squared error, summed over
    the steps that count.

    Args:
        layer: a Keras layer (B, T, H) -> (B, T, 1), whose output at a step must not depend on later
            steps; None for a `Dense(1)`.
        features: H.
        updates: the `Updates` of the critic.
    """

    def __init__(self, layer: Any, features: int, updates: Updates, **kwargs: Any) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        layer = keras.layers.Dense(1) if layer is None else layer
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                f"critic must be a Keras layer (B, T, H) -> (B, T, 1), got {type(layer).__name__}."
            )
        if not layer.built:
            layer.build((None, None, features))
            layer.built = True
        try:
            probe = layer(ops.zeros((2, 2, features)))
        except Exception as error:  # whatever a layer of another kind raises
            raise ValueError(f"critic does not fit hidden states of {features}: {error}") from error
        validation.shape_of("output of critic", probe, (2, 2, 1))
        self.discriminator = layer  # by the name under which every player's weights are known
        self.optimizer: Any = None
        self._updates = updates
        self.built = True

    def set_optimizer(self, optimizer: Any) -> None:
        """Give the optimizer, and build it on the critic's weights."""
        self.optimizer = optimizer
        if not optimizer.built:
            optimizer.build(self.discriminator.trainable_variables)

    def values(self, hidden: Tensor, training: bool = False) -> Tensor:
        """The expected returns (B, T) of hidden states (B, T, H)."""
        return self.discriminator(ops.stop_gradient(hidden), training=training)[..., 0]

    def learn(self, hidden: Tensor, gains: Tensor, counts: Tensor) -> Tensor:
        """One update.

        Args:
            hidden: (B, T, H).
            gains: returns (B, T).
            counts: (B, T) of 0 and 1.

        Returns:
            (B,), the squared errors before it, summed over the steps that count.
        """
        variables = self.discriminator.trainable_variables

        def behave():
            values = ops.cast(self.values(hidden, training=True), gains.dtype)
            errors = ops.square(ops.stop_gradient(gains) - values) * ops.cast(counts, gains.dtype)
            losses = ops.sum(errors, axis=1)
            return [self.optimizer.scale_loss(replicas.mean(losses))], losses

        (loss,), losses, pull = backend.pullback(behave, variables)
        gradients, _ = pull([ops.ones_like(loss)])
        self._updates.apply(self.optimizer, gradients, variables)
        return losses


@keras.saving.register_keras_serializable(package="mf_keras")
class Reinforce(AdversarialForcing):
    """REINFORCE (Williams 1992): maximises the expected return of a policy, and its entropy.

        environment = environments.CopyEnvironment(length=2)
        policy = Policy(DNCCell(keras.layers.GRUCell(32), units=1), environment)
        model = Reinforce(policy, baseline="critic", entropy=0.01)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(environment.tasks(6400, seed=0), batch_size=64)

    A step acts once in the task of every row, and moves the policy along the gradient of

        J = E[sum over t of r_t + entropy H_t],    H_t the entropy of the policy at step t

    which is E[sum over t of (G_t - b_t) grad log p(a_t) + grad r_t + entropy grad H_t] with
    G_t = sum over s >= t of r_s, plus entropy H_s for s > t. Rewards that are differentiable in the
    policy's answers pass their gradient on (grad r_t). A discount below 1 weighs what follows an
    action by the time since; as usual, actions are not discounted by the time at which they are
    taken.

    Logs of `fit` and `evaluate`: `loss`, minus the return and the weighted entropy; `return`, the
    sum of an episode's rewards, without discount; the environment's own. In `fit` also `entropy`,
    nats per episode, where the actions have a formula for it, and with a critic `critic_loss`, its
    squared error per episode. `evaluate` and validation draw actions by one and the same noise
    every time. `predict` gives the likeliest actions.

    Args:
        policy: a `Policy`.
        baseline: what is subtracted from the returns: None, "mean", "leave_one_out" or "critic";
            see `baseline` in `mf_keras.forcing.reinforce`. A batch of one row has no others.
        critic: with baseline="critic", a Keras layer from the policy's hidden states (B, T, H) to
            the expected returns (B, T, 1), causal; None for a `Dense(1)`.
        discount: of rewards, by the time since an action.
        entropy: weight of the entropy, 0 or more.
        normalize: whether advantages are normalised over the batch.
        clip: the largest absolute advantage; None for no limit.
        seed: of the actions' noise.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is out of range, `baseline` is unknown, a critic is given that is not
            used or does not fit, or the entropy of the actions has no formula.
    """

    trains = (Policy,)
    main_log = "return"
    more_logs: Sequence[str] = ()  # of a subclass
    more_players: Mapping[str, Sequence[str]] = MappingProxyType({})

    def __init__(
        self,
        policy: Policy,
        baseline: str | None = "leave_one_out",
        critic: Any = None,
        discount: float = 1.0,
        entropy: float = 0.0,
        normalize: bool = False,
        clip: float | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(policy, Policy):
            raise TypeError(f"policy must be a Policy, got {type(policy).__name__}.")
        self.baseline, self.discount, self.normalize, self.clip = check_options(
            baseline, critic, discount, normalize, clip
        )
        self.entropy = validation.real_number("entropy", entropy, 0.0)
        self._has_entropy = _has_entropy(policy.output)
        if self.entropy and not self._has_entropy:
            raise ValueError(
                f"entropy must be 0 for actions that are {policy.output.description}, whose "
                f"entropy has no formula; got {entropy!r}."
            )
        logs = ["entropy"] if self._has_entropy else []
        with_critic = baseline == "critic"
        super().__init__(
            policy,
            **_NO_DISCRIMINATORS,
            seed=seed,
            logs=[*logs, *(("critic_loss",) if with_critic else ()), *self.more_logs],
            players={
                **({"critic": ("critic_loss",)} if with_critic else {}),
                **self.more_players,
            },
            **kwargs,
        )
        if with_critic:
            updates = Updates(self._logs.skipped, "critic")
            self.adversaries["critic"] = Critic(critic, policy.cell.hidden_size, updates)

    @property
    def policy(self) -> Policy:
        """The model that is trained."""
        return self.generator

    @property
    def critic(self) -> Critic | None:
        """The model of the returns; None where there is none."""
        return self.adversaries.get("critic")

    @property
    def kept(self) -> tuple[str, ...]:
        """Fields of the trace that a step needs."""
        return ("hidden",)

    @backend.step
    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One step: act, see what followed every action, move the policy and the critic."""
        batch, variables = self._batch(data), self.policy.trainable_variables
        noise = self._noise(batch.inputs, self.seed_generator)

        def behave():
            episodes, costs = self._act(batch, noise, training=True)
            gains = self._gains(episodes)
            losses = costs + self._chosen(episodes, gains)
            return [self.optimizer.scale_loss(replicas.mean(losses))], (episodes, gains, costs)

        (loss,), (episodes, gains, costs), pull = backend.pullback(behave, variables)
        gradients, _ = pull([ops.ones_like(loss)])
        terms = {"return": episodes.rewards}
        self._updates.apply(self.optimizer, gradients, variables, terms)
        if self.critic:
            hidden = episodes.trace.hidden
            self._logs.track({"critic_loss": self.critic.learn(hidden, gains, episodes.running)})
        if self._has_entropy:
            self._logs.track({"entropy": ops.sum(self._entropies(episodes), axis=1)})
        self._after(episodes)
        self._logs.track({"loss": costs})
        return self.get_metrics_result()

    def _after(self, episodes: Episodes) -> None:
        """What a subclass does with the episodes of a step."""

    @backend.step
    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Metrics of one batch of tasks, by the same noise every time."""
        batch = self._batch(data)
        _, costs = self._act(batch, self._noise(batch.inputs, self.seed), training=False)
        self._logs.track({"loss": costs}, training=False)
        return self._logs.results(training=False)

    def _noise(self, x, seed):
        """Of the actions, (B, T, noise_size); each replica takes its rows."""
        shape = (replicas.size(x), self.policy.environment.steps, self.policy.output.noise_size)
        return replicas.own(keras.random.uniform(shape, seed=seed, dtype="float32"), x)

    def _act(self, batch, noise, training):
        """`(episodes, costs)`, and updates the logs.

        costs (B,): minus the return and the weighted entropy, and the cell's own losses.
        """
        keep = self._kept(self.kept)
        episodes = self.policy.episodes(batch.inputs, noise, training=training, keep=keep)
        total = ops.sum(episodes.rewards, axis=1)
        running = batch._replace(sample_weight=episodes.running)
        own = self._own_losses(running, episodes.trace)
        found = self.policy.environment.measures(episodes.environment, episodes.rewards)
        self._logs.track({"return": total, **found, **own}, training)
        entropy = ops.sum(self._entropies(episodes), axis=1)
        return episodes, sum(own.values(), -total - self.entropy * entropy)

    def _chosen(self, episodes: Episodes, gains: Tensor) -> Tensor:
        """The surrogate of the choices, (B,)."""
        values = self.critic.values(episodes.trace.hidden) if self.critic else None
        baselines = baseline(gains, self.baseline, values)
        weights = advantages(gains, baselines, episodes.running, self.normalize, self.clip)
        return surrogate(episodes.log_probabilities, weights)

    def _entropies(self, episodes: Episodes) -> Tensor:
        """The policy's entropy at every step, (B, T); zeros where there is no formula."""
        if not self._has_entropy:
            return ops.zeros_like(episodes.rewards)
        return self.policy.output.step_entropy(episodes.parameters) * episodes.running

    def _gains(self, episodes: Episodes) -> Tensor:
        """What follows each action, (B, T): rewards, and later entropies."""
        own = self.entropy * ops.stop_gradient(self._entropies(episodes))
        return returns(ops.stop_gradient(episodes.rewards) + own, self.discount) - own

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        config = super().get_config()
        for name in ("gate", "warm_up_steps", "label_smoothing"):
            del config[name]
        policy = config.pop("generator")
        critic = self.critic and keras.saving.serialize_keras_object(self.critic.discriminator)
        return {
            **config,
            "policy": policy,
            "baseline": self.baseline,
            "critic": critic,
            "discount": self.discount,
            "entropy": self.entropy,
            "normalize": self.normalize,
            "clip": self.clip,
        }


_NO_DISCRIMINATORS: dict[str, Any] = {
    **{name: {} for name in ("watched", "discriminators", "weights", "costs")},
    "gate": None,
    "warm_up_steps": 0,
    "label_smoothing": 0.0,
}


def check_options(
    baseline: Any, critic: Any, discount: Any, normalize: Any, clip: Any
) -> tuple[str | None, float, bool, float | None]:
    """The options of a policy gradient, checked.

    Raises:
        TypeError, ValueError: one is out of range, or a critic is given that is not used.
    """
    validation.one_of("baseline", baseline, BASELINES)
    if critic is not None and baseline != "critic":
        raise ValueError(f"critic must be None without baseline='critic', got {critic!r}.")
    discount = validation.real_number("discount", discount, 0.0, 1.0)
    clip = None if clip is None else validation.positive_number("clip", clip)
    return baseline, discount, validation.boolean("normalize", normalize), clip


def _has_entropy(output):
    try:
        output.step_entropy(ops.zeros((1, 1, output.size)))
    except ValueError:
        return False
    return True
