"""Positive/negative Memory Forcing: a memory like that of correct predictions."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversarial import AdversarialForcing
from mf_keras.forcing.adversary import DEFAULT_GATE, Outcome
from mf_keras.forcing.replay import MemoryReplay
from mf_keras.models import SequenceTransducer
from mf_keras.outputs import counted_steps
from mf_keras.types import Config, Shape, Tensor


@keras.saving.register_keras_serializable(package="mf_keras")
class PositiveNegativeMemoryForcing(AdversarialForcing):
    """Variant B of Memory Forcing (Asadulaev et al. 2018, eq. 10): minimises NLL + C_p.

        model = PositiveNegativeMemoryForcing(SequenceTransducer(cell))
        model.compile(keras.optimizers.Adam(1e-4))
        model.fit(data.copy_task(length=12, width=6).batch(1), steps_per_epoch=1000)

    A step predicts, and keeps what the memory did in one of two buffers: a prediction is positive
    if every step that counts is right (every thresholded bit), or if `correct` says so, and
    negative otherwise. Once both
    buffers hold more than `discriminator_batch`, a discriminator D_p learns to tell samples of them
    apart (eq. 7, positive ones as the behaviour to imitate), and the transducer minimises
    NLL + C_p with C_p = E[-log D_p(its memory in this step)]. Replayed samples carry no
    gradient to the transducer.

    A sequence ends with the last step that `sample_weight` counts; what its memory does in the
    padding that follows is not used.

    Logs beside those of `TeacherForcing`: `c_p` (nats), `discriminator_loss` (eq. 7, nats),
    `discriminator_accuracy` and `discriminator_gate_open`, the share of steps in which the
    transducer received the gradient of C_p, means over the steps of the epoch with adversarial
    training, 0 if there was none; `loss` is NLL plus the weighted cost, whether the gate is open or
    not. `evaluate` is free of adversarial terms and does not change the buffers.

    Args:
        transducer: a `SequenceTransducer`.
        discriminator: sees memory dynamics (B, T, N, W), and a mask (B, T) by the name `mask`; None
            for a `SequenceDiscriminator()` of the paper's sizes. It is built at once.
        replay: the buffers; None for a `MemoryReplay()`.
        discriminator_batch: positive and as many negative dynamics that D_p sees in a step.
        gate: (lower, upper) accuracy, on a moving average: the transducer receives the gradient of
            C_p only above `lower`, D_p learns only below `upper`; None for exactly eq. 10.
        weight: of C_p.
        final_memory: whether D_p sees only the memory after the last step that counts, instead of
            the whole dynamics.
        warm_up_steps: so many first steps of plain NLL; the buffers fill and D_p learns meanwhile.
        label_smoothing: how far the target of positive dynamics lies below 1.
        correct: which predictions are positive: a function `(y, logits, sample_weight) -> (B,)` of
            bool, made of `keras.ops`, of the targets (B, T, *step), the logits (B, T, size) and the
            weights (B, T) or None; None for those whose every step that counts is right. The log
            `correct_predictions` stays what it is. Register it
            (`keras.saving.register_keras_serializable`), or a file needs `custom_objects`.
        seed: of the draws from the buffers.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the discriminator does not fit the memory, a number is out of range, or the
            buffers can never hold more than `discriminator_batch`.
    """

    def __init__(
        self,
        transducer: SequenceTransducer,
        discriminator: Any = None,
        replay: MemoryReplay | None = None,
        discriminator_batch: int = 8,
        gate: Any = DEFAULT_GATE,
        weight: float = 1.0,
        final_memory: bool = False,
        warm_up_steps: int = 0,
        label_smoothing: float = 0.0,
        correct: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(transducer, SequenceTransducer):
            raise TypeError(
                f"transducer must be a SequenceTransducer, got {type(transducer).__name__}."
            )
        replay = MemoryReplay() if replay is None else replay
        if not isinstance(replay, MemoryReplay):
            raise TypeError(f"replay must be a MemoryReplay, got {type(replay).__name__}.")
        batch = validation.positive_int("discriminator_batch", discriminator_batch)
        if replay.capacity <= batch:
            raise ValueError(
                "replay must have a capacity above discriminator_batch, or adversarial training "
                f"never starts; got {replay.capacity} and {batch}."
            )
        final_memory = validation.boolean("final_memory", final_memory)
        if correct is not None and not callable(correct):
            raise TypeError(f"correct must be a function or None, got {correct!r}.")
        super().__init__(
            transducer,
            watched={"memory": "discriminator"},
            discriminators={"memory": discriminator},
            weights={"memory": validation.real_number("weight", weight, 0.0)},
            costs={"memory": "c_p"},
            gate=gate,
            warm_up_steps=warm_up_steps,
            label_smoothing=label_smoothing,
            seed=seed,
            masks=True,
            **kwargs,
        )
        self.replay = replay
        self.discriminator_batch = batch
        self.final_memory = final_memory
        self.correct = correct
        self.built = self.generator.built and replay.built

    @property
    def transducer(self) -> SequenceTransducer:
        """The model that is trained."""
        return self.generator

    @property
    def discriminator(self) -> keras.layers.Layer:
        """The discriminator of memory dynamics, D_p."""
        return self.adversaries["memory"].discriminator

    def build(self, input_shape: Shape) -> None:
        """Build the transducer and the buffers for inputs of shape (B, T, D)."""
        super().build(input_shape)
        if not self.replay.built:
            time = 1 if self.final_memory else input_shape[1]
            self.replay.build((time, *self.transducer.cell.trace_shape("memory")))
            self.replay.built = True

    @backend.step
    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One step of both players: eq. 7 for D_p on samples, eq. 10 for the transducer."""
        batch, variables = self._batch(data), self.transducer.trainable_variables
        self._check_length(batch.inputs)

        def behave():
            forward = self._forward(batch, training=True, keep=("memory",))
            memory, steps = self._watched_memory(forward.trace.memory, batch.sample_weight)
            return [replicas.mean(forward.loss), memory], (forward, steps)

        (mean_nll, memory), (forward, steps), pull = backend.pullback(behave, variables)
        positive = self._positive(batch, forward)
        self.replay.push(*replicas.gather((memory, positive, steps)))
        ready = ops.all(self.replay.counts > self.discriminator_batch)
        scale = self.optimizer.scale_loss(ops.ones_like(mean_nll))
        weight = self.cost_weights["memory"] * self._warm(mean_nll.dtype)
        outcome = self._play_if(ready, memory, steps, scale * weight)
        to_memory = outcome.gradients["own"]
        gradients, _ = pull([scale, to_memory])
        self._track_game("memory", outcome, played=ops.cast(ready, "float32"))
        terms = {"nll": mean_nll, "c_p": to_memory}
        self._updates.apply(self.optimizer, gradients, variables, terms)
        self._logs.track({"loss": forward.loss + weight * outcome.cost})
        return self.get_metrics_result()

    def _positive(self, batch, forward):
        """Which predictions are positive: (B,) of bool."""
        if self.correct is None:
            return ops.cast(forward.correct, "bool")
        found = self.correct(batch.targets, forward.logits, batch.sample_weight)
        found = ops.convert_to_tensor(found)
        if keras.backend.standardize_dtype(found.dtype) != "bool" or len(found.shape) != 1:
            raise ValueError(
                "correct must return one bool for each sequence, (B,), got "
                f"{tuple(found.shape)} of {keras.backend.standardize_dtype(found.dtype)}."
            )
        return found

    def _check_length(self, x):
        """Refuse sequences longer than those of the buffers, if their length is known."""
        length, time = self.replay.dynamics.shape[1], x.shape[1]
        if not self.final_memory and time is not None and time > length:
            raise ValueError(
                f"x must have at most {length} steps, as the buffers of `replay` are built for, "
                f"got {time}; MemoryReplay(length=...) makes longer ones."
            )

    def _watched_memory(self, memory, sample_weight):
        """What D_p sees, (B, T, N, W), and the number of steps that count, (B,)."""
        batch, time = ops.shape(memory)[:2]
        if sample_weight is None:
            steps = ops.broadcast_to(ops.cast(time, "int32"), (batch,))
        else:
            steps = counted_steps(sample_weight)
        if not self.final_memory:
            return memory, steps
        last = ops.reshape(steps - 1, (-1, 1, 1, 1))
        return ops.take_along_axis(memory, last, axis=1), ops.ones_like(steps)

    def _play_if(self, ready, memory, steps, scale):
        """The outcome of this step; zeros while the buffers are not ready."""
        # Drawn in every step, so that the branch does not take in the whole buffers.
        # All replicas draw the same, and D_p sees a part of it on each.
        samples, sample_steps = self.replay.sample(self.discriminator_batch, self.seed_generator)
        samples = ops.cast(samples, scale.dtype)

        def play():
            positive, negative = self._shares(samples)
            return self.adversaries["memory"].play_on_samples(
                positive,
                negative,
                memory,
                mask=_mask(samples, ops.concatenate(self._shares(sample_steps))),
                own_mask=_mask(memory, steps),
                scale=scale,
            )

        def wait():
            nothing = ops.zeros((), scale.dtype)
            accuracy = ops.zeros((), "float32")
            gradients = {"own": ops.zeros_like(memory)}
            return Outcome(nothing, accuracy, nothing, nothing, nothing, gradients)

        return replicas.cond(ready, play, wait)

    def _shares(self, samples):
        """This replica's share of the positive and of the negative samples."""
        count = self.discriminator_batch
        return replicas.share(samples[:count]), replicas.share(samples[count:])

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        config = super().get_config()
        transducer = config.pop("generator")
        return {
            **config,
            "transducer": transducer,
            "discriminator": keras.saving.serialize_keras_object(self.discriminator),
            "weight": self.cost_weights["memory"],
            "replay": keras.saving.serialize_keras_object(self.replay),
            "discriminator_batch": self.discriminator_batch,
            "final_memory": self.final_memory,
            "correct": self.correct and keras.saving.serialize_keras_object(self.correct),
        }


def _mask(sequences, steps):
    """Which of the (B, T) steps count."""
    return ops.arange(ops.shape(sequences)[1], dtype="int32") < ops.expand_dims(steps, -1)
