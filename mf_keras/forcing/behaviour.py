"""Behaviour forcing: free-running behaviour made like teacher-forced one."""

import keras
import tensorflow as tf
from keras import ops

from mf_keras import validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversarial import AdversarialForcing, Part
from mf_keras.forcing.base import compiling_loops
from mf_keras.models.free_running import in_both_modes, thresholds
from mf_keras.models.generator import SequenceGenerator

HIDDEN = Part("hidden_discriminator", "hidden_weight", "c_h")
MEMORY = Part("memory_discriminator", "memory_weight", "c_m")


class BehaviourForcing(AdversarialForcing):
    """What Professor Forcing and Memory Forcing do; they differ in what they watch.

    A step runs the generator twice, side by side, over sequences of equal length: teacher-forced on
    the data, and free, on its own samples. The discriminators tell the two traces apart, and the
    generator makes the free-running one like the teacher-forced one. Samples are detached; the
    gradient of C flows through the free-running trace alone.
    """

    shortest = 2  # one step is the same in both runs: nothing to tell apart

    def __init__(self, generator, *, reverse_weight, **kwargs):
        if not isinstance(generator, SequenceGenerator):
            raise TypeError(
                f"generator must be a SequenceGenerator, got {type(generator).__name__}."
            )
        reverse_weight = validation.real_number("reverse_weight", reverse_weight, 0.0)
        super().__init__(generator, **kwargs)
        self.reverse_weight = reverse_weight

    @property
    def hidden_discriminator(self):
        """The discriminator of hidden states, D_h."""
        return self.adversaries["hidden"].discriminator

    @compiling_loops
    def train_step(self, data):
        """One step of all players."""
        x, _, _ = self._unpacked(data)
        variables = self.generator.trainable_variables
        with tf.GradientTape() as tape:
            (logits, real), (_, free) = self._both(x)
            nll = self._scored(x, logits, training=True)
            mean_nll = replicas.mean(nll)
        scale = self.optimizer.scale_loss(ops.ones_like(mean_nll))
        targets, cotangents, costs = [mean_nll], [scale], 0.0
        terms = {"nll": mean_nll}
        before = []  # one discriminator after the other: side by side they need twice the memory
        for name, adversary in self.adversaries.items():
            weight = self.cost_weights[name] * self._warm(nll.dtype)
            real_part, free_part = getattr(real, name), getattr(free, name)
            with tf.control_dependencies(before):
                game = adversary.play(
                    real_part, free_part, scale=scale * weight, reverse=self.reverse_weight > 0
                )
            before = [game.to_imitation]
            targets.append(free_part)
            cotangents.append(game.to_imitation)
            costs = costs + weight * game.cost
            if self.reverse_weight:
                targets.append(real_part)
                cotangents.append(game.to_model * ops.cast(self.reverse_weight, real_part.dtype))
                costs = costs + weight * self.reverse_weight * game.reverse_cost
            terms[self.watched[name].cost] = (game.to_imitation, game.to_model)
            self._track_game(name, game)
        # Not before: both modes run side by side, and one of them alone would leave a core idle.
        with tf.control_dependencies(before):
            gradients = tape.gradient(targets, variables, output_gradients=cotangents)
        self._updates.apply(self.optimizer, gradients, variables, terms)
        self._track(loss=nll + costs)
        return self.get_metrics_result()

    def _both(self, x):
        """Teacher forcing on x, and free running; each replica takes its rows of the noise."""
        _, length, units = ops.shape(x)
        noise = keras.random.uniform(
            (replicas.size(x), length, units), seed=self.seed_generator, dtype="float32"
        )
        limits = thresholds(replicas.own(noise, x), temperature=1.0)
        cell, chunk = self.generator.cell, self.generator.chunk
        return in_both_modes(cell, x, limits, training=True, keep=tuple(self.watched), chunk=chunk)

    def get_config(self):
        """The constructor's arguments, models serialized."""
        return {**super().get_config(), "reverse_weight": self.reverse_weight}
