"""Updates of weights: where a gradient is not finite, nothing moves, and the step is counted."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from mf_keras import backend
from mf_keras.backend import replicas
from mf_keras.forcing.metrics import SkippedUpdates
from mf_keras.types import Tensor


class Updates:
    """Moves the weights of one player, unless a gradient is NaN or infinite.

    The weights' own regularizers are added to the loss here, once for the global batch.

    A skipped update leaves weights, momentum and `iterations` as they are. A `LossScaleOptimizer`
    (float16) skips by itself and halves its scale, which in its first steps is as it should be:
    its skipped updates are logged, but belong to no streak before the scale is below 1.

    Args:
        skipped: the `SkippedUpdates` to count in.
        player: the player's name there.
    """

    def __init__(self, skipped: SkippedUpdates, player: str) -> None:
        self._skipped = skipped
        self._player = player
        self._terms = skipped.players[player]

    def apply(
        self,
        optimizer: Any,
        gradients: Sequence[Tensor | None],
        variables: Sequence[Any],
        terms: Mapping[str, Any] | None = None,
    ) -> None:
        """Give the gradients to the optimizer, or skip them.

        Args:
            optimizer: a built Keras optimizer.
            gradients: one for each of `variables`, or None; of several replicas, their parts.
            variables: the player's.
            terms: name of a term -> tensors that are finite if it is not at fault; a term that is
                not there is taken to be finite.
        """
        gradients = _regularized(optimizer, replicas.summed(gradients), variables)
        finite = _all_finite(gradients)

        def faults():
            """Which terms are not finite, (terms,) of bool."""
            found = [~_all_finite((terms or {}).get(name, ())) for name in self._terms]
            return replicas.total(ops.cast(ops.stack(found), "int32")) > 0

        def applied():
            replicas.apply(optimizer, gradients, variables)
            return ops.zeros((len(self._terms),), "bool")

        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            counts = optimizer.dynamic_scale < 1.0
            applied()
            guilty = faults()
        else:
            counts = True
            # The terms are looked at only where something is wrong.
            guilty = replicas.cond(finite, applied, faults)
        self._skipped.update_state(self._player, ops.logical_not(finite), counts, guilty)


def inner(optimizer: Any) -> Any:
    """The optimizer itself, or the one that a `LossScaleOptimizer` is around."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def get_optimizer(name: str, given: Any) -> keras.optimizers.Optimizer:
    """A Keras optimizer from itself, its name or its configuration.

    Raises:
        ValueError: it is none that Keras knows.
    """
    try:
        found = keras.optimizers.get(given)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{name} must be a Keras optimizer, got {given!r}.") from error
    if not isinstance(found, keras.optimizers.Optimizer):
        raise ValueError(f"{name} must be a Keras optimizer, got {given!r}.")
    return found


def _regularized(optimizer, gradients, variables):
    """The gradients, and those of the regularizers that variables have."""
    regularized = [v for v in variables if v.regularizer is not None]
    if not regularized:
        return gradients

    def penalties():
        return [optimizer.scale_loss(v.regularizer(v)) for v in regularized], None

    scaled, _, pull = backend.pullback(penalties, variables)
    own, _ = pull([ops.ones_like(penalty) for penalty in scaled])
    return [
        b if a is None else a if b is None else a + b for a, b in zip(gradients, own, strict=True)
    ]


def _all_finite(tensors):
    """Whether no entry of any tensor is NaN or infinite; None counts as finite."""
    # Only the values of a sparse gradient.
    parts = [getattr(x, "values", x) for x in keras.tree.flatten(tensors) if x is not None]
    if not parts:
        return ops.convert_to_tensor(True)
    return ops.all(ops.stack([ops.all(ops.isfinite(x)) for x in parts]))
