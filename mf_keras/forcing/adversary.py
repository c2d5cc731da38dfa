"""One adversary of a sequence model: a discriminator, its optimizer, and the gate between them."""

from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras import ops

from mf_keras.backend import replicas
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.updates import SkippedUpdates, Updates

# The cotangent of a logit is kept away from zero, where it could not be rescaled.
_SMALLEST_COTANGENT = 1e-12


class Round(NamedTuple):
    """What one round of the game gave. A is the behaviour to imitate, B the imitation."""

    discriminator_loss: Any  # (), eq. 7
    accuracy: Any  # (), share of both halves on the right side of 0
    cost: Any  # (), C of eq. 8, E[-log D(B)]; of the learner, where one was given
    to_imitation: Any  # like B (like the learner), gradient of C; zero while the gate is closed
    reverse_cost: Any  # (), E[-log(1 - D(A))]
    to_model: Any  # like A, gradient of the reverse cost; None where it was not asked for
    heard: Any  # (), 1 where the gate to the model is open, else 0


class Learner(NamedTuple):
    """The behaviour of a model that hears the discriminator."""

    behaviour: Any  # (B, T, ...)
    mask: Any = None  # (B, T) of bool, or None


class Adversary(keras.layers.Layer):
    """A discriminator, its own optimizer and the gate on a moving average of its accuracy.

    A round is one pass of the discriminator over both behaviours, and one backward pass that serves
    both players. A sequence's logit l depends on that sequence alone, so the gradient of any loss
    with respect to the sequence is dloss/dl times the same dl/dsequence: what the backward pass of
    eq. 7 brings to the imitation is rescaled by the quotient of the two losses' slopes to give the
    gradient of eq. 8, and likewise for the reverse cost. Neither player's gradient can reach the
    other one's weights.

    Args:
        discriminator: a `SequenceDiscriminator`, or any model (B, T, ...) -> (B, 1) whose rows do
            not mix; with an argument `mask` if `play` is given masks.
        gate: (lower, upper) accuracy: the model hears the discriminator only above `lower`, the
            discriminator learns only below `upper`; None for no gate.
        decay: of the moving average of the accuracy, which begins at 0.5.
        label_smoothing: how far the target of A lies below 1 in eq. 7.
        updates: the `Updates` of the discriminator; None for one of its own.
    """

    def __init__(
        self, discriminator, gate, decay=0.95, label_smoothing=0.0, updates=None, **kwargs
    ):
        super().__init__(**{"autocast": False, **kwargs})
        self.discriminator = discriminator
        self.gate = gate
        self.decay = decay
        self.label_smoothing = label_smoothing
        self.optimizer = None
        if updates is None:
            updates = Updates(SkippedUpdates({"discriminator": ("loss",)}), "discriminator")
        self._updates = updates
        half = keras.initializers.Constant(0.5)
        self.average = self.add_weight(
            name="accuracy", shape=(), initializer=half, trainable=False, dtype="float32"
        )
        self.built = True

    def set_optimizer(self, optimizer):
        """Give the optimizer, and build it on the discriminator's weights."""
        self.optimizer = optimizer
        if not optimizer.built:
            optimizer.build(self.discriminator.trainable_variables)

    def play(self, real, imitation, mask=None, scale=1.0, reverse=False, learner=None):
        """One round: move the discriminator, and return what the model should hear.

        Args:
            real: (B, T, ...), the behaviour to imitate, A.
            imitation: (B', T, ...), B.
            mask: optional (B + B', T) of bool, of A and B together.
            scale: factor on the returned gradients, for loss scaling.
            reverse: whether to return `to_model`; not where a learner is given.
            learner: a `Learner`, the model's behaviour where that is not the imitation; the
                discriminator does not learn from it.

        Returns:
            A `Round`.
        """
        count = ops.shape(real)[0]
        real, imitation = ops.stop_gradient(real), ops.stop_gradient(imitation)
        heard = [imitation, real] if reverse else [imitation]
        with tf.GradientTape() as tape:
            tape.watch(heard)
            logits = self._logits_of_both(real, imitation, mask)
        real_logits, fake_logits = logits[:count], logits[count:]
        real_slope, fake_slope = self._slopes(real_logits, fake_logits)
        if reverse:  # with smoothed labels it may be 0, from where it could not be rescaled
            tiny = ops.abs(real_slope) < _SMALLEST_COTANGENT
            real_slope = ops.where(tiny, _SMALLEST_COTANGENT, real_slope)
        own_scale = ops.cast(self._own_scale(), logits.dtype)
        variables = self.discriminator.trainable_variables
        slopes = ops.concatenate([real_slope, fake_slope]) * own_scale
        accuracy = self._accuracy(real_logits, fake_logits)
        hears, learns = self._gates(accuracy)
        hears = ops.cast(hears, logits.dtype)
        to_model = None
        if learner is None:
            gradients, into = tape.gradient(logits, (variables, heard), slopes)
            self._learn(learns, lambda: gradients)
            # Slope of eq. 8 over slope of eq. 7, for each imitation.
            quotients = self._cost_slopes(fake_logits, self._size(fake_logits)) / fake_slope
            to_imitation = _scaled(into[0], hears * scale / own_scale * quotients)
            if reverse:
                quotients = ops.sigmoid(real_logits) / self._size(real_logits) / real_slope
                to_model = _scaled(into[1], hears * scale / own_scale * quotients)
            cost = replicas.mean(ops.softplus(-fake_logits))
        else:
            cost, to_imitation = self._judge(learner, hears, scale)
            self._learn(learns, lambda: tape.gradient(logits, variables, slopes))
        loss, cost, reverse_cost = replicas.total(
            (
                self._loss(real_logits, fake_logits),
                cost,
                replicas.mean(ops.softplus(real_logits)),
            )
        )
        return Round(loss, accuracy, cost, to_imitation, reverse_cost, to_model, hears)

    def _judge(self, learner, hears, scale):
        """C of a behaviour that the discriminator does not learn from, and its gradient."""
        behaviour = ops.stop_gradient(learner.behaviour)
        with tf.GradientTape() as tape:
            tape.watch(behaviour)
            logits = self._logits(behaviour, learner.mask, training=False)

        size = self._size(logits)

        def gradient():
            return tape.gradient(logits, behaviour, self._cost_slopes(logits, size) * scale)

        if self.gate is not None:  # a closed gate saves the backward pass
            to_learner = tf.cond(hears > 0, gradient, lambda: tf.zeros_like(behaviour))
        else:
            to_learner = gradient()
        return replicas.mean(ops.softplus(-logits)), to_learner

    def _cost_slopes(self, logits, size):
        """Derivatives of eq. 8 by every logit."""
        return -ops.sigmoid(-logits) / size

    def _logits_of_both(self, real, imitation, mask):
        """Logits (B + B',); `mask` is that of both together."""
        if not isinstance(self.discriminator, SequenceDiscriminator):
            return self._logits(ops.concatenate([real, imitation], axis=0), mask)
        if mask is not None:
            count = ops.shape(real)[0]
            mask = [mask[:count], mask[count:]]
        return self._logits([real, imitation], mask)

    def _logits(self, behaviour, mask, training=True):
        """Logits (B,), in float64 where the behaviour is, else in float32."""
        options = {} if mask is None else {"mask": mask}
        logits = self.discriminator(behaviour, training=training, **options)[:, 0]
        dtypes = {x.dtype for x in keras.tree.flatten(behaviour)}
        return ops.cast(logits, "float64" if dtypes == {tf.float64} else "float32")

    def _loss(self, real_logits, fake_logits):
        """Eq. 7: E[-log D(A)] + E[-log(1 - D(B))]."""
        right = ops.softplus(-real_logits) + self.label_smoothing * real_logits
        return replicas.mean(right) + replicas.mean(ops.softplus(fake_logits))

    def _slopes(self, real_logits, fake_logits):
        """Derivatives of eq. 7 by every logit."""
        real = ops.sigmoid(real_logits) - (1.0 - self.label_smoothing)
        fake = ops.maximum(ops.sigmoid(fake_logits), _SMALLEST_COTANGENT)
        return real / self._size(real_logits), fake / self._size(fake_logits)

    def _size(self, logits):
        """How many logits there are, on all replicas."""
        return ops.cast(replicas.size(logits), logits.dtype)

    def _own_scale(self):
        """The optimizer's loss scale, 1 unless it is a `LossScaleOptimizer`."""
        return self.optimizer.scale_loss(ops.ones(()))

    def _accuracy(self, real_logits, fake_logits):
        right = ops.concatenate([real_logits > 0, fake_logits <= 0])
        return replicas.total(replicas.mean(ops.cast(right, "float32")))

    def _gates(self, accuracy):
        """Update the average; whether the model hears (0. or 1.), and whether to learn (bool)."""
        average = self.decay * self.average + (1.0 - self.decay) * accuracy
        self.average.assign(average)
        if self.gate is None:
            return 1.0, True
        lower, upper = self.gate
        return ops.cast(average > lower, "float32"), average < upper

    def _learn(self, learns, gradients):
        """Move the discriminator by what `gradients()` gives, if it is to learn."""
        variables = self.discriminator.trainable_variables
        if learns is True:
            self._updates.apply(self.optimizer, gradients(), variables)
            return

        def apply():
            self._updates.apply(self.optimizer, gradients(), variables)
            return tf.constant(True)

        # With a gradient of zero an optimizer with momentum would move, hence a real branch.
        replicas.cond(learns, apply, lambda: tf.constant(False))


def _scaled(gradient, factors):
    """`gradient` (B, ...) times one factor for each row, or for all."""
    factors = ops.convert_to_tensor(factors)
    if len(factors.shape):
        factors = ops.reshape(factors, (-1,) + (1,) * (len(gradient.shape) - 1))
    # A factor may be larger than a half float can be, where the product is not.
    return ops.cast(ops.cast(gradient, factors.dtype) * factors, gradient.dtype)
