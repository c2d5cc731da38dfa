"""Updates of weights: where a gradient is not finite, nothing moves, and the step is counted."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mf_keras.backend import replicas


class SkippedUpdates(keras.metrics.Metric):
    """The log `skipped_updates`: the epoch's number of updates that were skipped, of all players.

    It also counts the skipped updates in a row, over the ends of epochs, and in how many of them
    each term was itself not finite. That is no part of what a model saves.

    Args:
        players: name of a player -> the terms of its loss. The first one is the model.

    Attributes:
        total: the epoch's number.
        steps: training steps whose update of the model was skipped, since the model was made.
    """

    def __init__(self, players):
        super().__init__(name="skipped_updates")
        self.players = players
        once = {"aggregation": "only_first_replica"}  # all replicas skip the same updates
        self.total = self.add_variable((), "zeros", "float32", **once)
        self.steps = self.add_variable((), "zeros", "int32", **once)
        # Entry 0 counts the updates, the others the faults of each term.
        self._now, self._longest = (
            {
                player: self.add_variable((1 + len(terms),), "zeros", "int32", **once)
                for player, terms in players.items()
            }
            for _ in range(2)
        )

    def update_state(self, player, skipped, counts, faults):
        """Count one update.

        Args:
            player: whose.
            skipped: () of bool.
            counts: () of bool, whether a skipped one belongs to a row.
            faults: (terms,) of bool, which of the player's terms were not finite.
        """
        self.total.assign_add(ops.cast(skipped, "float32"))
        if player == next(iter(self.players)):
            self.steps.assign_add(ops.cast(skipped, "int32"))
        now, longest = self._now[player], self._longest[player]
        one = ops.concatenate([ops.ones((1,), "int32"), ops.cast(faults, "int32")])
        row = ops.where(ops.logical_and(skipped, counts), now + one, ops.zeros_like(one))
        now.assign(row)
        longest.assign(ops.where(row[0] > longest[0], row, longest))

    def reset_state(self):
        """Begin an epoch; rows of skipped updates go on."""
        self.total.assign(0.0)

    def reset_rows(self):
        """Forget what was skipped so far."""
        for variable in (*self._now.values(), *self._longest.values()):
            variable.assign(ops.zeros_like(variable))

    def rows(self):
        """For each player `(number of updates, terms)`, its longest row, and what was at fault.

        Where no term was by itself, but their gradient was, it names all the player's terms.
        """
        found = {}
        for player, terms in self.players.items():
            length, *faults = np.asarray(ops.convert_to_numpy(self._longest[player])).tolist()
            guilty = [term for term, count in zip(terms, faults, strict=True) if count]
            found[player] = length, guilty or list(terms)
        return found

    def result(self):
        """The epoch's number so far."""
        return self.total + 0.0  # a value: the variable itself is reset before the epoch is logged


class Updates:
    """Moves the weights of one player, unless a gradient is NaN or infinite.

    The weights' own regularizers are added to the loss here, once for the global batch.

    A skipped update leaves weights, momentum and `iterations` as they are. A `LossScaleOptimizer`
    (float16) skips by itself and halves its scale, which in its first steps is as it should be:
    its skipped updates are logged, but belong to no row before the scale is below 1.

    Args:
        skipped: the `SkippedUpdates` to count in.
        player: the player's name there.
    """

    def __init__(self, skipped, player):
        self._skipped = skipped
        self._player = player
        self._terms = skipped.players[player]

    def apply(self, optimizer, gradients, variables, terms=None):
        """Give the gradients to the optimizer, or skip them.

        Args:
            optimizer: a built Keras optimizer.
            gradients: one for each of `variables`, or None; of several replicas, their parts.
            variables: the player's.
            terms: name of a term -> tensors that are finite if it is not at fault; a term that is
                not there is taken to be finite.
        """
        terms = terms or {}
        gradients = _regularized(optimizer, replicas.summed(gradients), variables)
        finite = _all_finite(gradients)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            counts = optimizer.dynamic_scale < 1.0
            replicas.apply(optimizer, gradients, variables)
            faults = self._faults(terms)
        else:
            counts = True
            # The terms are looked at only where something is wrong.
            faults = replicas.cond(
                finite,
                lambda: _applied(optimizer, gradients, variables, len(self._terms)),
                lambda: self._faults(terms),
            )
        self._skipped.update_state(self._player, ops.logical_not(finite), counts, faults)

    def _faults(self, terms):
        """Which terms are not finite, (terms,) of bool."""
        faults = [ops.logical_not(_all_finite(terms.get(name, ()))) for name in self._terms]
        return replicas.total(ops.cast(ops.stack(faults), "int32")) > 0


def inner(optimizer):
    """The optimizer itself, or the one that a `LossScaleOptimizer` is around."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def steps_taken(optimizer):
    """The steps whose gradient an optimizer has taken, (): a variable.

    Its `iterations` counts updates, which are fewer where it accumulates the gradients of several
    steps.
    """
    own = inner(optimizer)
    counters = [variable for variable in own.variables if variable.name == "iteration"]
    return counters[0] if counters else own.iterations


def _regularized(optimizer, gradients, variables):
    """The gradients, and those of the regularizers that variables have."""
    regularized = [v for v in variables if v.regularizer is not None]
    if not regularized:
        return gradients
    with tf.GradientTape() as tape:
        penalties = [optimizer.scale_loss(v.regularizer(v)) for v in regularized]
    own = tape.gradient(penalties, variables)
    return [
        b if a is None else a if b is None else a + b for a, b in zip(gradients, own, strict=True)
    ]


def _applied(optimizer, gradients, variables, terms):
    replicas.apply(optimizer, gradients, variables)
    return ops.zeros((terms,), "bool")


def _all_finite(tensors):
    """Whether no entry of any tensor is NaN or infinite; None counts as finite."""
    # The values alone of a sparse gradient.
    parts = [getattr(x, "values", x) for x in keras.tree.flatten(tensors) if x is not None]
    if not parts:
        return ops.convert_to_tensor(True)
    return ops.all(ops.stack([ops.all(ops.isfinite(x)) for x in parts]))
