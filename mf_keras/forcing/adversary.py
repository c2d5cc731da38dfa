"""A discriminator with its optimizer and its gates: the adversarial costs, eq. 7 and 8."""

from inspect import signature
from typing import Any, NamedTuple

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.updates import Updates
from mf_keras.types import Tensor

DEFAULT_GATE = (0.75, 0.99)
# The cotangent of a logit is kept away from zero, where it could not be rescaled.
_SMALLEST_COTANGENT = 1e-12


class Outcome(NamedTuple):
    """The results of one adversarial step."""

    discriminator_loss: Any  # (), eq. 7, nats
    accuracy: Any  # (), share of real and of fake behaviours on the right side of 0
    cost: Any  # (), C of eq. 8, nats
    reverse_cost: Any  # (), E[-log(1 - D(real))], nats
    gate_open: Any  # (), 1 where the model receives the gradient of C, else 0
    gradients: Any  # a dict, behaviour -> gradient of its cost; zero while the gate is closed
    costs: Any = None  # of `play`: (B',), -log D of each fake behaviour, nats


class Adversary(keras.layers.Layer):
    """A discriminator, its own optimizer and the gates on a moving average of its accuracy.

    "Real" is the behaviour to imitate, "fake" the imitation. The discriminator minimises eq. 7,

        L = E[-log D(real)] + E[-log(1 - D(fake))]

    and the model minimises eq. 8, C = E[-log D(its behaviour)]. Neither gradient reaches the other
    player's weights, and both are taken with the weights from before the step.

    Args:
        discriminator: a `SequenceDiscriminator`, or any model (B, T, ...) -> (B, 1) whose rows do
            not mix; with an argument `mask` if masks are given.
        gate: (lower, upper) accuracy: the model receives the gradient of C only above `lower`, the
            discriminator learns only below `upper`; None for no gate.
        updates: the `Updates` of the discriminator.
        decay: of the moving average of the accuracy, which begins at 0.5.
        label_smoothing: how far the target of real behaviour lies below 1 in eq. 7.
    """

    def __init__(
        self,
        discriminator: keras.layers.Layer,
        gate: tuple[float, float] | None,
        updates: Updates,
        decay: float = 0.95,
        label_smoothing: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        self.discriminator = discriminator
        self.gate = gate
        self.decay = decay
        self.label_smoothing = label_smoothing
        self.optimizer: Any = None
        self._updates = updates
        half = keras.initializers.Constant(0.5)
        self.average = self.add_weight(
            name="accuracy", shape=(), initializer=half, trainable=False, dtype="float32"
        )
        self.built = True

    def set_optimizer(self, optimizer: Any) -> None:
        """Give the optimizer, and build it on the discriminator's weights."""
        self.optimizer = optimizer
        if not optimizer.built:
            optimizer.build(self.discriminator.trainable_variables)

    def play(
        self,
        real: Tensor,
        fake: Tensor,
        scale: Any = 1.0,
        reverse_scale: Any = None,
        mask: Tensor | None = None,
    ) -> Outcome:
        """One step where the model shows both behaviours, and the discriminator learns from them.

        Args:
            real: (B, T, ...), the behaviour to imitate.
            fake: (B', T, ...), the imitation.
            scale: factor on the gradient of C.
            reverse_scale: factor on the gradient of the reverse cost; None not to compute it.
            mask: (B, T) of bool, the steps of both behaviours that count; None for all.

        Returns:
            An `Outcome` whose gradients are "fake" and, of the reverse cost, "real".
        """
        reverse = reverse_scale is not None
        sources = [fake, real] if reverse else [fake]
        both = None if mask is None else ops.concatenate([mask, mask])
        logits, pull = self._logits_of_both(real, fake, both, sources=sources)
        accuracy, gate_open, learns = self._gates(*logits)
        slopes = self._slopes(*logits, reverse=reverse)
        own_scale = self._own_scale(slopes[0].dtype)
        to_weights, (to_fake, *to_real) = pull(slopes, own_scale)
        self._learn(learns, lambda: to_weights)
        open_scale = gate_open / own_scale
        of_cost = _cost_slopes(logits[1])
        gradients = {"fake": _rescaled(to_fake, slopes[1], of_cost, open_scale * scale)}
        if reverse:
            of_cost = ops.sigmoid(logits[0]) / _size(logits[0])
            factor = open_scale * reverse_scale
            gradients["real"] = _rescaled(to_real[0], slopes[0], of_cost, factor)
        costs = ops.softplus(-logits[1])
        outcome = self._outcome(logits, accuracy, gate_open, replicas.mean(costs), gradients)
        return outcome._replace(costs=costs)

    def play_on_samples(
        self,
        real: Tensor,
        fake: Tensor,
        own: Tensor,
        mask: Tensor,
        own_mask: Tensor,
        scale: Any = 1.0,
    ) -> Outcome:
        """One step where the discriminator learns from samples, and the model shows its own.

        Args:
            real: (n, T, ...), samples of the behaviour to imitate.
            fake: (n', T, ...), samples of the other one.
            own: (B, T, ...), the model's behaviour, from which the discriminator does not learn.
            mask: (n + n', T) of bool, of real and fake together.
            own_mask: (B, T) of bool.
            scale: factor on the gradient of C.

        Returns:
            An `Outcome` whose gradient is "own".
        """
        logits, pull = self._logits_of_both(real, fake, mask)
        accuracy, gate_open, learns = self._gates(*logits)
        slopes = self._slopes(*logits)
        cost, gradient = self._cost(own, own_mask, gate_open, scale)
        own_scale = self._own_scale(slopes[0].dtype)
        self._learn(learns, lambda: pull(slopes, own_scale)[0])
        return self._outcome(logits, accuracy, gate_open, cost, {"own": gradient})

    def learn(self, real: Tensor, fake: Tensor, mask: Tensor | None = None) -> Outcome:
        """One update of the discriminator alone.

        Args:
            real: (B, T, ...), the behaviour to imitate.
            fake: (B', T, ...), the imitation.
            mask: (B + B', T) of bool, of both together; None for all steps.

        Returns:
            An `Outcome` without gradients.
        """
        logits, pull = self._logits_of_both(real, fake, mask)
        accuracy, gate_open, learns = self._gates(*logits)
        own_scale = self._own_scale(logits[0].dtype)
        self._learn(learns, lambda: pull(self._slopes(*logits), own_scale)[0])
        cost = replicas.mean(ops.softplus(-logits[1]))
        return self._outcome(logits, accuracy, gate_open, cost, {})

    # Eq. 7, of the discriminator.

    def _logits_of_both(self, real, fake, mask=None, sources=()):
        """`((real logits, fake logits), pull)`, with `pull(slopes, scale)` the gradients of eq. 7.

        One pass of the discriminator serves both behaviours, and the backward pass of eq. 7 both
        players (`_rescaled`). `sources` are those of the two behaviours that get a gradient.
        """
        count = ops.shape(real)[0]
        names = ["fake", "real"][: len(sources)]
        known = {"real": ops.stop_gradient(real), "fake": ops.stop_gradient(fake)}

        def logits(*given):
            both = {**known, **dict(zip(names, given, strict=True))}
            return [self._both(both["real"], both["fake"], mask)], None

        inputs = [known[name] for name in names]
        variables = self.discriminator.trainable_variables
        (found,), _, pull = backend.pullback(logits, variables, inputs)
        return (found[:count], found[count:]), lambda slopes, scale: pull(
            [ops.concatenate(slopes) * scale]
        )

    def _both(self, real, fake, mask):
        """Logits (B + B',)."""
        if not isinstance(self.discriminator, SequenceDiscriminator):
            return self._logits(ops.concatenate([real, fake], axis=0), mask)
        if mask is not None:
            count = ops.shape(real)[0]
            mask = [mask[:count], mask[count:]]
        return self._logits([real, fake], mask)  # which saves joining large tensors

    def _logits(self, behaviour, mask, training=True):
        """Logits (B,), in float64 where the behaviour is, else in float32."""
        self._check_takes(mask)
        options = {} if mask is None else {"mask": mask}
        logits = self.discriminator(behaviour, training=training, **options)[:, 0]
        dtypes = {keras.backend.standardize_dtype(x.dtype) for x in keras.tree.flatten(behaviour)}
        return ops.cast(logits, "float64" if dtypes == {"float64"} else "float32")

    def _check_takes(self, mask):
        if mask is not None and "mask" not in signature(self.discriminator.call).parameters:
            raise TypeError(
                "discriminators must take a mask (B, T) where sequences have sample weights, got "
                f"{type(self.discriminator).__name__}, whose call has no argument `mask`."
            )

    def _loss(self, real_logits, fake_logits):
        """Eq. 7: E[-log D(real)] + E[-log(1 - D(fake))]."""
        right = ops.softplus(-real_logits) + self.label_smoothing * real_logits
        return replicas.mean(right) + replicas.mean(ops.softplus(fake_logits))

    def _slopes(self, real_logits, fake_logits, *, reverse=False):
        """Derivatives of eq. 7 by every logit; away from 0, from where they will be rescaled."""
        real = (ops.sigmoid(real_logits) - (1.0 - self.label_smoothing)) / _size(real_logits)
        if reverse:  # with smoothed labels it may be 0
            real = ops.where(ops.abs(real) < _SMALLEST_COTANGENT, _SMALLEST_COTANGENT, real)
        fake = ops.maximum(ops.sigmoid(fake_logits), _SMALLEST_COTANGENT)
        return real, fake / _size(fake_logits)

    def _learn(self, learns, gradients):
        """Move the discriminator by what `gradients()` gives, if it is to learn."""
        variables = self.discriminator.trainable_variables

        def apply():
            self._updates.apply(self.optimizer, gradients(), variables)
            return ops.convert_to_tensor(True)

        if learns is True:
            apply()
        else:  # with a gradient of zero an optimizer with momentum would move, hence a real branch
            replicas.cond(learns, apply, lambda: ops.convert_to_tensor(False))

    def _own_scale(self, dtype):
        """The optimizer's loss scale, 1 unless it is a `LossScaleOptimizer`."""
        return ops.cast(self.optimizer.scale_loss(ops.ones(())), dtype)

    # Eq. 8, of the model.

    def _cost(self, own, mask, gate_open, scale):
        """C of a behaviour that the discriminator does not learn from, and its gradient."""

        def logits(own):
            return [self._logits(own, mask, training=False)], None

        (found,), _, pull = backend.pullback(logits, (), [ops.stop_gradient(own)])

        def gradient():
            return pull([_cost_slopes(found) * scale])[1][0]

        if self.gate is None:
            to_own = gradient()
        else:  # a closed gate saves the backward pass
            to_own = backend.cond(gate_open > 0, gradient, lambda: ops.zeros_like(own))
        return replicas.mean(ops.softplus(-found)), to_own

    def _gates(self, real_logits, fake_logits):
        """`(accuracy, gate_open, learns)`: updates the average; learns is a bool, or a tensor."""
        right = ops.concatenate([real_logits > 0, fake_logits <= 0])
        accuracy = replicas.total(replicas.mean(ops.cast(right, "float32")))
        return self._opened(accuracy, real_logits.dtype)

    def _opened(self, accuracy, dtype):
        """What `_gates` gives, at an accuracy."""
        average = self.decay * self.average + (1.0 - self.decay) * accuracy
        self.average.assign(average)
        if self.gate is None:
            return accuracy, ops.ones((), dtype), True
        lower, upper = self.gate
        return accuracy, ops.cast(average > lower, dtype), average < upper

    def _outcome(self, logits, accuracy, gate_open, cost, gradients):
        reverse_cost = replicas.mean(ops.softplus(logits[0]))
        sums = replicas.total((self._loss(*logits), cost, reverse_cost))
        loss, cost, reverse_cost = sums
        return Outcome(loss, accuracy, cost, reverse_cost, gate_open, gradients)


def _cost_slopes(logits):
    """Derivatives of eq. 8, E[-log D], by every logit."""
    return -ops.sigmoid(-logits) / _size(logits)


def _rescaled(gradient: Tensor, slopes: Tensor, wanted: Tensor, scale: Tensor) -> Tensor:
    """The gradient by a behaviour of another loss of its logits, without another backward pass.

    Rows do not mix: logit l_i depends on row x_i only, so dL/dx_i = (dL/dl_i) (dl_i/dx_i). Hence
    dC/dx_i = (dC/dl_i) (dl_i/dx_i) = (dC/dl_i) / (dL/dl_i) dL/dx_i.

    Args:
        gradient: (B, T, ...), dL/dx.
        slopes: (B,), dL/dl, nowhere 0.
        wanted: (B,), dC/dl.
        scale: (), factor on the result.

    Returns:
        (B, T, ...), scale x dC/dx.
    """
    factors = scale * (wanted / slopes)
    factors = ops.reshape(factors, (-1,) + (1,) * (len(gradient.shape) - 1))
    # A factor may be larger than a half float can be, where the product is not.
    return ops.cast(ops.cast(gradient, factors.dtype) * factors, gradient.dtype)


def _size(logits):
    """How many logits there are, on all replicas."""
    return ops.cast(replicas.size(logits), logits.dtype)


def check_gate(gate: Any) -> tuple[float, float] | None:
    """`gate` as (lower, upper), or None.

    Raises:
        TypeError, ValueError: it is something else.
    """
    if gate is None:
        return None
    if not isinstance(gate, (tuple, list)) or len(gate) != 2:
        raise ValueError(f"gate must be (lower, upper) or None, got {gate!r}.")
    lower, upper = (validation.real_number("gate", value, 0.0, 1.0) for value in gate)
    return lower, upper
