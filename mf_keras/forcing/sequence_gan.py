"""SequenceGAN: samples that a discriminator takes for data, by the policy gradient."""

from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversarial import AdversarialForcing
from mf_keras.forcing.adversary import Adversary, Outcome
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.reinforce import (
    Critic,
    advantages,
    baseline,
    check_options,
    returns,
)
from mf_keras.forcing.token_discriminator import TokenDiscriminator
from mf_keras.forcing.updates import Updates
from mf_keras.models import SequenceGenerator, free_running
from mf_keras.models.generator import parts_of
from mf_keras.outputs import Categorical
from mf_keras.types import Config, Tensor

REWARDS = ("final", "per_step")


@keras.saving.register_keras_serializable(package="mf_keras")
class SequenceGAN(AdversarialForcing):
    """SeqGAN (Yu et al. 2017, arXiv:1609.05473): a discriminator's answer rewards every step.

        generator = SequenceGenerator(cell, outputs.Categorical(100))
        TeacherForcing(generator) ...                # it begins with a trained generator
        model = SequenceGAN(generator, warm_up_steps=200)    # meanwhile the discriminator learns
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=64, epochs=10)

    A step draws as many sequences as it gets, and moves the generator along

        E[sum over t of (Q_t - b_t) grad log p(y_t | y_1..y_(t-1))]

    * `reward="final"`: Q_t is the mean D(y) of `rollouts` completions of y_1..y_t by the generator
      itself, and D of the sample for its last step. With rollouts=0 it is D of the sample at every
      step.
    * `reward="per_step"`: D gives a logit at every step (Fedus et al. 2018, MaskGAN,
      arXiv:1801.07736), r_t = log D_t, and Q_t = sum over s >= t of discount^(s - t) r_s.

    Then the discriminator takes `discriminator_steps` steps on the data and on samples,

        L = E[-log D(data)] + E[-log(1 - D(sample))]

    whose first samples are those of the generator's step. With every reward the mean is the
    batch's, where the published code sums over batch and time. Without a baseline, as published, a
    constant reward already sharpens the generator on its own samples: compare with one. Of padded
    sequences samples are as long as the data beside them.

    Logs beside those of `TeacherForcing`: `reward`, mean D(sample), or mean log D of a step;
    `c_s`, E[-log D(sample)] (nats), `discriminator_loss`, `discriminator_accuracy`,
    `discriminator_gate_open`; with a critic `critic_loss`. `loss` is the weighted NLL plus `c_s`
    after the warm-up. `evaluate` is free of the discriminator.

    Args:
        generator: a `SequenceGenerator`.
        discriminator: a Keras model from samples in the output's form, (B, T) of tokens or
            (B, T, units), to a logit (B, 1), or (B, T, 1) for `reward="per_step"`, whose rows do
            not mix; with an argument `mask` for sequences of unequal length. None for a
            `TokenDiscriminator` or `SequenceDiscriminator`. It is built at once.
        reward: "final" or "per_step".
        rollouts: completions of each beginning, for `reward="final"`.
        baseline: what is subtracted from the rewards: None, "mean", "leave_one_out" or "critic", as
            for `Reinforce`.
        critic: as for `Reinforce`, of the generator's hidden states.
        discount: of later rewards, for `reward="per_step"`.
        normalize: whether advantages are normalised over the batch.
        clip: the largest absolute advantage; None for no limit.
        nll_weight: weight of the NLL of the data, after the warm-up.
        discriminator_steps: updates of the discriminator for one of the generator's, each but the
            first on new samples.
        gate: (lower, upper) accuracy, as for `MemoryForcing`; None for none.
        warm_up_steps: so many first steps of plain NLL; the discriminator learns meanwhile.
        label_smoothing: how far the target of data lies below 1.
        seed: of all noise.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the discriminator or the critic does not fit, a number is out of range, or an
            option belongs to the other kind of reward.
    """

    def __init__(
        self,
        generator: SequenceGenerator,
        discriminator: Any = None,
        reward: str = "final",
        rollouts: int = 16,
        baseline: str | None = "leave_one_out",
        critic: Any = None,
        discount: float = 1.0,
        normalize: bool = False,
        clip: float | None = None,
        nll_weight: float = 0.0,
        discriminator_steps: int = 1,
        gate: Any = None,
        warm_up_steps: int = 0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(generator, SequenceGenerator):
            raise TypeError(
                f"generator must be a SequenceGenerator, got {type(generator).__name__}."
            )
        self.reward = validation.one_of("reward", reward, REWARDS)
        self.rollouts = validation.positive_int("rollouts", rollouts, minimum=0)
        self.baseline, self.discount, self.normalize, self.clip = check_options(
            baseline, critic, discount, normalize, clip
        )
        if self.reward == "final" and self.discount != 1.0:
            raise ValueError(f"discount must be 1 with reward='final', got {discount!r}.")
        self.nll_weight = validation.real_number("nll_weight", nll_weight, 0.0)
        self.discriminator_steps = validation.positive_int(
            "discriminator_steps", discriminator_steps
        )
        with_critic = baseline == "critic"
        super().__init__(
            generator,
            watched={"samples": "discriminator"},
            discriminators={"samples": discriminator},
            weights={"samples": 1.0},
            costs={"samples": "c_s"},
            gate=gate,
            warm_up_steps=warm_up_steps,
            label_smoothing=label_smoothing,
            seed=seed,
            logs=["reward", "critic_loss"] if with_critic else ["reward"],
            players={"critic": ("critic_loss",)} if with_critic else None,
            **kwargs,
        )
        if with_critic:
            updates = Updates(self._logs.skipped, "critic")
            self.adversaries["critic"] = Critic(critic, generator.cell.hidden_size, updates)

    def _adversary(self, field, prefix, discriminator, masks):
        return SampleAdversary(
            self._fitting(discriminator),
            self.gate,
            Updates(self._logs.skipped, prefix),
            label_smoothing=self.label_smoothing,
            name=f"{field}_adversary",
        )

    def _fitting(self, discriminator):
        """The given discriminator or a new one, built for samples."""
        output, per_step = self.generator.output, self.reward == "per_step"
        if discriminator is None:
            pooling = "none" if per_step else "mean"
            if isinstance(output, Categorical):
                discriminator = TokenDiscriminator(output.size, pooling=pooling)
            else:
                discriminator = SequenceDiscriminator(64, (32,), pooling=pooling)
        return fitting(discriminator, output.step, output.dtype, per_step)

    @property
    def discriminator(self) -> keras.layers.Layer:
        """The discriminator of samples."""
        return self.adversaries["samples"].discriminator

    @property
    def critic(self) -> Critic | None:
        """The model of the rewards to come; None where there is none."""
        return self.adversaries.get("critic")

    @backend.step
    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One step of the generator, and those of discriminator and critic."""
        batch, variables = self._batch(data), self.generator.trainable_variables
        adversary, counts = self.adversaries["samples"], batch.sample_weight
        noise = self._noise(batch.targets)

        def behave():
            keep = self._kept(("hidden",))
            (_, logits, real), (samples, own_logits, trace) = self.generator.in_both_modes(
                batch.inputs, noise, training=True, keep=keep, samples=True
            )
            nll = self._scored(batch, logits, real, training=True).loss  # with the cell's own
            log_p = self._log_probabilities(samples, own_logits)
            return [replicas.mean(nll), log_p], (nll, samples, trace.hidden)

        (mean_nll, log_p), (nll, samples, hidden), pull = backend.pullback(behave, variables)
        rewards, gains = self._rewards(batch, samples)
        both = None if counts is None else ops.concatenate([counts, counts])
        outcome = adversary.learn(batch.targets, samples, both)
        warm = self._warm(nll.dtype)
        weights = warm * outcome.gate_open * self._advantages(gains, hidden, counts)
        scale = self.optimizer.scale_loss(ops.ones_like(mean_nll))
        of_nll = 1.0 - warm * (1.0 - self.nll_weight)
        rows = ops.cast(replicas.size(log_p), log_p.dtype)
        to_log_p = -scale * ops.cast(weights, log_p.dtype) / rows
        gradients, _ = pull([scale * of_nll, to_log_p])
        terms = {"nll": mean_nll, "c_s": weights}
        self._updates.apply(self.optimizer, gradients, variables, terms)
        self._track_game("samples", outcome)
        self._logs.track({"loss": of_nll * nll + warm * outcome.cost, "reward": rewards})
        if self.critic:
            ones = ops.ones_like(gains) if counts is None else counts
            self._logs.track({"critic_loss": self.critic.learn(hidden, gains, ones)})
        for _ in range(self.discriminator_steps - 1):
            adversary.learn(batch.targets, self._samples(batch), both)
        return self.get_metrics_result()

    def _noise(self, x, copies=1):
        """(B x copies, T, noise_size); each replica takes its rows."""
        size, time = self.generator.output.noise_size, ops.shape(x)[1]
        shape = (replicas.size(x), copies, time, size)
        noise = keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")
        return ops.reshape(replicas.own(noise, x), (-1, time, size))

    def _samples(self, batch):
        """New samples, (B, T, *step)."""
        thresholds = self.generator.output.thresholds(self._noise(batch.targets), 1.0)
        return self._drawn(thresholds, parts_of(batch.inputs)[1])

    def _drawn(self, thresholds, context):
        inputs = free_running.with_context(thresholds, context)
        return free_running.free_run(self.generator.cell, self.generator.output, inputs, keep=())[0]

    def _log_probabilities(self, samples, logits):
        """log p of every step, (B, T)."""
        precise = "float64" if logits.dtype == "float64" else "float32"
        return -self.generator.output.step_nll(samples, ops.cast(logits, precise))

    def _rewards(self, batch, samples):
        """`(rewards, gains)`: what is logged, (B,), and Q_t of every step, (B, T)."""
        adversary, counts = self.adversaries["samples"], batch.sample_weight
        logits = adversary.logits(samples, counts)
        if self.reward == "per_step":
            counted = ops.ones_like(logits) if counts is None else ops.cast(counts, logits.dtype)
            rewards = -ops.softplus(-logits) * counted
            mean = ops.sum(rewards, axis=1) / ops.sum(counted, axis=1)
            return mean, returns(rewards, self.discount)
        final = ops.expand_dims(ops.sigmoid(logits), 1)  # (B, 1)
        time = ops.shape(samples)[1]
        if self.rollouts and samples.shape[1] != 1:  # whose number may be unknown
            gains = ops.concatenate([self._values(batch, samples), final], axis=1)
        else:
            gains = ops.repeat(final, time, axis=1)
        return final[:, 0], gains

    def _values(self, batch, samples):
        """Mean D of the completions of the first t steps, (B, T - 1), for t = 1..T - 1.

        The completions of all t have the same noise, which changes no mean.
        """
        output, copies = self.generator.output, self.rollouts
        adversary = self.adversaries["samples"]
        thresholds = output.thresholds(self._noise(batch.targets, copies), 1.0)
        forced = ops.repeat(output.forced(samples, thresholds.dtype), copies, axis=0)
        counts, context = (
            None if x is None else ops.repeat(x, copies, axis=0)
            for x in (batch.sample_weight, parts_of(batch.inputs)[1])
        )
        rows, time = ops.shape(samples)[:2]
        steps = ops.arange(time, dtype="int32")

        def add(t, values):
            given = ops.reshape(steps < t, (1, -1, 1))
            completed = self._drawn(ops.where(given, forced, thresholds), context)
            answers = ops.sigmoid(adversary.logits(completed, counts))
            value = ops.mean(ops.reshape(answers, (-1, copies)), axis=1, keepdims=True)
            return values + value * ops.one_hot(t - 1, time - 1, dtype=value.dtype)

        precise = "float64" if thresholds.dtype == "float64" else "float32"
        return ops.fori_loop(1, time, add, ops.zeros((rows, time - 1), dtype=precise))

    def _advantages(self, gains, hidden, counts):
        values = self.critic.values(hidden) if self.critic else None
        baselines = baseline(gains, self.baseline, values)
        return advantages(gains, baselines, counts, self.normalize, self.clip)

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        critic = self.critic and keras.saving.serialize_keras_object(self.critic.discriminator)
        return {
            **super().get_config(),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "reward": self.reward,
            "rollouts": self.rollouts,
            "baseline": self.baseline,
            "critic": critic,
            "discount": self.discount,
            "normalize": self.normalize,
            "clip": self.clip,
            "nll_weight": self.nll_weight,
            "discriminator_steps": self.discriminator_steps,
        }


class SampleAdversary(Adversary):
    """An `Adversary` of samples, to which no gradient passes; it has a logit a row or a step."""

    def _logits(self, behaviour, mask, training=True):
        """Logits (B,) or (B, T), in at least float32."""
        options = {} if mask is None else {"mask": mask}
        self._check_takes(mask)
        logits = self.discriminator(behaviour, training=training, **options)[..., 0]
        return ops.cast(logits, "float64" if logits.dtype == "float64" else "float32")

    def logits(self, samples: Tensor, counts: Tensor | None = None) -> Tensor:
        """The logits of samples, (B,) or (B, T), outside of training.

        Args:
            samples: (B, T, *step).
            counts: (B, T) of 0 and 1, the steps that count; None for all.
        """
        mask = None if counts is None else ops.cast(counts, "bool")
        return ops.stop_gradient(self._logits(samples, mask, training=False))

    def learn(self, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> Outcome:
        """One update on data and as many samples.

        Args:
            real: (B, T, *step).
            fake: (B, T, *step).
            mask: (2B, T) of bool, or of 0 and 1, the steps of both that count; None for all.

        Returns:
            An `Outcome` without gradients.
        """
        counts, mask = mask, None if mask is None else ops.cast(mask, "bool")
        logits, pull = self._logits_of_both(real, ops.cast(fake, real.dtype), mask)
        count = ops.shape(real)[0]
        halves = (None, None) if counts is None else (counts[:count], counts[count:])
        shares = [_shares(*each) for each in zip(logits, halves, strict=True)]

        def mean(of_real, of_fake):
            """Of both, each a mean over the logits that count."""
            return replicas.total(ops.sum(shares[0] * of_real) + ops.sum(shares[1] * of_fake))

        dtype, smoothing = logits[0].dtype, self.label_smoothing
        right = [ops.cast(each, dtype) for each in (logits[0] > 0, logits[1] <= 0)]
        accuracy = ops.cast(0.5 * mean(*right), "float32")
        accuracy, gate_open, learns = self._opened(accuracy, dtype)
        loss = mean(ops.softplus(-logits[0]) + smoothing * logits[0], ops.softplus(logits[1]))
        cost = mean(ops.zeros_like(logits[0]), ops.softplus(-logits[1]))
        slopes = [
            shares[0] * (ops.sigmoid(logits[0]) - (1.0 - smoothing)),
            shares[1] * ops.sigmoid(logits[1]),
        ]
        own_scale = self._own_scale(dtype)
        self._learn(learns, lambda: pull(slopes, own_scale)[0])
        return Outcome(loss, accuracy, cost, ops.zeros_like(cost), gate_open, {})


def _shares(logits, counts):
    """How much each logit counts in the mean of all, like the logits."""
    per_row = counts is None or len(logits.shape) == 1
    weights = ops.ones_like(logits) if per_row else ops.cast(counts, logits.dtype)
    return weights / replicas.total(ops.sum(weights))


def fitting(
    discriminator: Any, step: tuple[int, ...], dtype: str, per_step: bool
) -> keras.layers.Layer:
    """A discriminator, built for samples (B, T, *step).

    Args:
        discriminator: what the user gave.
        step: shape of a step.
        dtype: of samples.
        per_step: whether it gives a logit of every step, (B, T, 1), or of the sequence, (B, 1).

    Raises:
        TypeError: it is no Keras model.
        ValueError: it does not fit.
    """
    if not isinstance(discriminator, keras.layers.Layer):
        raise TypeError(
            "discriminator must be a Keras model of samples (B, T, ...), "
            f"got {type(discriminator).__name__}."
        )
    if not discriminator.built:
        discriminator.build((None, None, *step))
        discriminator.built = True
    try:
        probe = discriminator(ops.zeros((2, 2, *step), dtype=dtype))
    except Exception as error:  # whatever a model of another kind raises
        shape = ", ".join(map(str, ("B", "T", *step)))
        raise ValueError(
            f"discriminator does not fit samples of shape ({shape}): {error}"
        ) from error
    validation.shape_of("output of discriminator", probe, (2, 2, 1) if per_step else (2, 1))
    return discriminator
