"""MemoryReward: a memory like that of successful episodes, as a further reward."""

from typing import Any

import keras
from keras import ops

from mf_keras import validation
from mf_keras.backend import replicas
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.reinforce import Reinforce, returns
from mf_keras.forcing.replay import MemoryReplay
from mf_keras.forcing.sequence_gan import SampleAdversary, fitting
from mf_keras.forcing.updates import Updates
from mf_keras.models import Episodes, Policy
from mf_keras.types import Config, Tensor

WATCHED = ("memory", "behaviour")
FORMS = ("final", "potential")


@keras.saving.register_keras_serializable(package="mf_keras")
class MemoryReward(Reinforce):
    """`Reinforce` with a reward for a memory like that of successful episodes.

    It is positive/negative Memory Forcing (Asadulaev et al. 2018, eq. 7) as a reward, for tasks
    whose own rewards are rare. Episodes are kept in two buffers, those with a return of at least
    `success` in the positive one. Once both hold more than `discriminator_batch`, a discriminator
    D learns to tell samples of them apart, and adds to the rewards

    * form="final": weight x logit D(memory at all steps) at the last step;
    * form="potential": weight x (discount Phi_{t+1} - Phi_t) at every step, with
      Phi_t = logit D(what was there before action t) and 0 after the last step (Ng et al. 1999).
      From a step on these sum to -weight x Phi_t whatever is done: a baseline, which changes the
      gradient's variance and not its mean, as a potential must.

    Both are heuristics: D moves, and the memory is the policy's own, which may write a pretty
    memory and do nothing. Compare `bonus` with `return`, and with learns=False, a D that stays as
    it was made. watch="behaviour" gives D the observations and actions instead, which is GASIL (Guo
    et al. 2018, arXiv:1812.00950).

    Logs beside those of `Reinforce`: `bonus`, the sum of what is added to an episode's rewards;
    `discriminator_loss` and `discriminator_accuracy` of the steps in which D learns. `return` and
    `evaluate` are free of it.

    Args:
        policy: a `Policy`.
        discriminator: from (B, T, ...) and a mask (B, T) to (B, 1), or to (B, T, 1) for
            form="potential"; None for a `SequenceDiscriminator`. It is built at once.
        watch: "memory" or "behaviour".
        form: "final" or "potential".
        weight: of the bonus.
        success: the return from which on an episode is positive.
        replay: the buffers; None for a `MemoryReplay()`.
        discriminator_batch: positive and as many negative episodes that D sees in a step.
        learns: whether D learns.
        **kwargs: further arguments of `Reinforce`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a number is out of range, an option is unknown, or the discriminator does not
            fit.
    """

    more_logs = ("bonus", "discriminator_loss", "discriminator_accuracy")
    more_players = {"discriminator": ("discriminator_loss",)}

    def __init__(
        self,
        policy: Policy,
        discriminator: Any = None,
        watch: str = "memory",
        form: str = "final",
        weight: float = 0.1,
        success: float = 1.0,
        replay: MemoryReplay | None = None,
        discriminator_batch: int = 8,
        learns: bool = True,
        **kwargs: Any,
    ) -> None:
        self.watch = validation.one_of("watch", watch, WATCHED)
        self.form = validation.one_of("form", form, FORMS)
        self.weight = validation.real_number("weight", weight, 0.0)
        self.success = validation.real_number("success", success)
        self.learns = validation.boolean("learns", learns)
        replay = MemoryReplay() if replay is None else replay
        if not isinstance(replay, MemoryReplay):
            raise TypeError(f"replay must be a MemoryReplay, got {type(replay).__name__}.")
        self.discriminator_batch = validation.positive_int(
            "discriminator_batch", discriminator_batch
        )
        super().__init__(policy, **kwargs)
        shape, per_step = self._shape(), self.form == "potential"
        if discriminator is None:
            pooling = "none" if per_step else "mean"
            discriminator = SequenceDiscriminator(64, (32,), pooling=pooling)
        self.adversaries["behaviour"] = SampleAdversary(
            fitting(discriminator, shape, "float32", per_step),
            gate=None,
            updates=Updates(self._logs.skipped, "discriminator"),
            name="behaviour_adversary",
        )
        self.replay = replay
        if not replay.built:
            replay.build((policy.environment.steps, *shape))
            replay.built = True

    def _shape(self):
        """Of a step of what D sees."""
        if self.watch == "memory":
            return self.policy.cell.trace_shape("memory")
        return (self.policy.environment.observation_size + self.policy.output.input_size,)

    @property
    def discriminator(self) -> keras.layers.Layer:
        """The discriminator D."""
        return self.adversaries["behaviour"].discriminator

    @property
    def kept(self) -> tuple[str, ...]:
        """Fields of the trace that a step needs."""
        return ("hidden", "memory") if self.watch == "memory" else ("hidden",)

    def _seen(self, episodes):
        """What D sees of episodes, (B, T, ...)."""
        if self.watch == "memory":
            found = episodes.trace.memory
        else:
            actions = self.policy.output.encode(episodes.actions, episodes.observations.dtype)
            found = ops.concatenate([episodes.observations, actions], axis=-1)
        return ops.stop_gradient(ops.cast(found, "float32"))

    def _ready(self):
        """Whether both buffers hold enough."""
        return ops.all(self.replay.counts > self.discriminator_batch)

    def _bonus(self, episodes: Episodes) -> Tensor:
        """What is added to the rewards, (B, T)."""
        running = episodes.running
        logits = self.adversaries["behaviour"].logits(self._seen(episodes), running)
        logits = ops.cast(logits, running.dtype)
        following = ops.concatenate([running[:, 1:], ops.zeros_like(running[:, :1])], axis=1)
        if self.form == "potential":
            if self.watch == "behaviour":  # which has action t at step t
                logits = ops.concatenate([ops.zeros_like(logits[:, :1]), logits[:, :-1]], axis=1)
            phi = logits * running
            after = ops.concatenate([phi[:, 1:], ops.zeros_like(phi[:, :1])], axis=1)
            bonus = self.discount * after - phi
        else:
            bonus = ops.expand_dims(logits, 1) * running * (1.0 - following)
        return self.weight * ops.cast(self._ready(), bonus.dtype) * bonus

    def _gains(self, episodes: Episodes) -> Tensor:
        """Those of `Reinforce`, and what the bonus adds."""
        return super()._gains(episodes) + returns(self._bonus(episodes), self.discount)

    def _after(self, episodes: Episodes) -> None:
        """Keep the episodes, and let D learn."""
        self._logs.track({"bonus": ops.sum(self._bonus(episodes), axis=1)})
        right = ops.sum(episodes.rewards, axis=1) >= self.success
        steps = ops.cast(ops.sum(episodes.running, axis=1), "int32")
        self.replay.push(*replicas.gather((self._seen(episodes), right, steps)))
        samples, steps = self.replay.sample(self.discriminator_batch, self.seed_generator)
        positions = ops.arange(ops.shape(samples)[1], dtype="int32")
        counts = ops.cast(positions < ops.expand_dims(steps, -1), "float32")
        shares = [
            replicas.share(x[part])
            for part in (slice(self.discriminator_batch), slice(self.discriminator_batch, None))
            for x in (samples, counts)
        ]

        def learn():
            positive, of_positive, negative, of_negative = shares
            counted = ops.concatenate([of_positive, of_negative])
            outcome = self.adversaries["behaviour"].learn(positive, negative, counted)
            return outcome.discriminator_loss, outcome.accuracy

        def wait():
            return ops.zeros((), "float32"), ops.zeros((), "float32")

        ready = ops.logical_and(self._ready(), self.learns)
        loss, accuracy = replicas.cond(ready, learn, wait)
        found = {"discriminator_loss": loss, "discriminator_accuracy": accuracy}
        self._logs.track(found, sample_weight=ops.cast(ready, "float32"))

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        return {
            **super().get_config(),
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "watch": self.watch,
            "form": self.form,
            "weight": self.weight,
            "success": self.success,
            "replay": keras.saving.serialize_keras_object(self.replay),
            "discriminator_batch": self.discriminator_batch,
            "learns": self.learns,
        }
