"""What an epoch of training is described by: means over its steps, and skipped updates."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mf_keras.backend import replicas
from mf_keras.types import Tensor


class FiniteMean(keras.metrics.Mean):
    """A mean that one bad step does not spoil for the rest of the epoch.

    `update_finite` leaves values that are NaN or infinite out; if there were no others, the mean is
    NaN. `update_state` takes everything, as in Keras.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.left_out = self.add_variable((), "zeros", self.dtype, name="left_out")

    def update_finite(self, values: Tensor, sample_weight: Tensor | None = None) -> None:
        """Take those of the values that are finite."""
        values = ops.cast(values, self.dtype)
        finite = ops.isfinite(values)
        counted = ops.ones_like(values)
        if sample_weight is not None:
            counted = counted * ops.cast(sample_weight, self.dtype)
            values = values * counted
        # The plain sum where it will do, so that the mean is bit-for-bit that of Keras.
        total, nothing = ops.sum(values), ops.zeros_like(values)
        kept = ops.sum(ops.where(finite, values, nothing))
        self.total.assign_add(ops.where(ops.isfinite(total), total, kept))
        self.count.assign_add(ops.sum(ops.where(finite, counted, nothing)))
        self.left_out.assign_add(ops.sum(1.0 - ops.cast(finite, self.dtype)))

    def reset_state(self) -> None:
        """Begin an epoch."""
        super().reset_state()
        self.left_out.assign(0.0)

    def result(self) -> Tensor:
        """The mean so far: 0 of nothing at all, NaN if all that there was was not finite."""
        # NaN is 0 / 0 where it is due. As a constant it would be taken for a fault in every step by
        # `tf.debugging.enable_check_numerics`.
        count = self.count.value
        unused = ops.logical_and(ops.equal(count, 0.0), ops.equal(self.left_out, 0.0))
        return self.total / ops.where(unused, ops.ones_like(count), count)


class SkippedUpdates(keras.metrics.Metric):
    """The log `skipped_updates`: the epoch's number of updates that were skipped, of all players.

    A player is what has weights and an optimizer: the model, a discriminator. The metric also
    counts the streak of skipped updates, across the ends of epochs, and in how many of them each
    term of the loss was itself not finite. Streaks are no part of what a model saves.

    Args:
        players: name of a player -> the terms of its loss. The first one is the model.

    Attributes:
        total: the epoch's number.
        steps: training steps so far, those whose update was skipped included.
        skipped_steps: those of them whose update of the model was skipped.
    """

    def __init__(self, players: Mapping[str, Sequence[str]]) -> None:
        super().__init__(name="skipped_updates")
        self.players = players
        once = {"aggregation": "only_first_replica"}  # all replicas skip the same updates
        self.total = self.add_variable((), "zeros", "float32", **once)
        self.skipped_steps = self.add_variable((), "zeros", "int32", **once)
        # Entry 0 counts the updates, the others the faults of each term.
        self._streaks, self._longest = (
            {
                player: self.add_variable((1 + len(terms),), "zeros", "int32", **once)
                for player, terms in players.items()
            }
            for _ in range(2)
        )
        self.steps = self.add_variable((), "zeros", "int32", **once)

    def update_state(self, player: str, skipped: Tensor, counts: Tensor, faults: Tensor) -> None:
        """Count one update.

        Args:
            player: whose.
            skipped: () of bool.
            counts: () of bool, whether a skipped one belongs to a streak.
            faults: (terms,) of bool, which of the player's terms were not finite.
        """
        self.total.assign_add(ops.cast(skipped, "float32"))
        if player == next(iter(self.players)):
            self.steps.assign_add(1)
            self.skipped_steps.assign_add(ops.cast(skipped, "int32"))
        streak, longest = self._streaks[player], self._longest[player]
        one = ops.concatenate([ops.ones((1,), "int32"), ops.cast(faults, "int32")])
        now = ops.where(ops.logical_and(skipped, counts), streak.value + one, ops.zeros_like(one))
        streak.assign(now)
        longest.assign(ops.where(now[0] > longest[0], now, longest.value))

    def reset_state(self) -> None:
        """Begin an epoch; streaks of skipped updates continue."""
        self.total.assign(0.0)

    def reset_streaks(self) -> None:
        """Forget what was skipped so far."""
        for variable in (*self._streaks.values(), *self._longest.values()):
            variable.assign(np.zeros(variable.shape, "int32"))

    def streaks(self) -> dict[str, tuple[int, list[str]]]:
        """For each player `(number of updates, terms)`, its longest streak, and what was at fault.

        Where no term was by itself, but their gradient was, it names all the player's terms.
        """
        found = {}
        for player, terms in self.players.items():
            length, *faults = np.asarray(ops.convert_to_numpy(self._longest[player])).tolist()
            guilty = [term for term, count in zip(terms, faults, strict=True) if count]
            found[player] = length, guilty or list(terms)
        return found

    def result(self) -> Tensor:
        """The epoch's number so far."""
        return self.total + 0.0  # a value: the variable itself is reset before the epoch is logged


class Logs:
    """The metrics of a training algorithm, by name.

    Args:
        evaluation: names of the logs of `evaluate`, and of `fit` too.
        training: names of further logs of `fit`.
        players: as for `SkippedUpdates`.
        highest: names of the logs that are the better the higher they are, beside accuracies.
    """

    def __init__(
        self,
        evaluation: Iterable[str],
        training: Iterable[str] = (),
        players: Mapping[str, Sequence[str]] | None = None,
        highest: Collection[str] = ("correct_predictions",),
    ) -> None:
        self._evaluation = tuple(evaluation)
        self._highest = tuple(highest)
        self._means = {
            name: keras.metrics.Sum(name) if name == "correct_predictions" else FiniteMean(name)
            for name in (*self._evaluation, *training)
        }
        self.skipped = SkippedUpdates(players or {"model": ("nll",)})

    @property
    def directions(self) -> dict[str, str]:
        """Name of a log -> "min" or "max", whichever is better; gates and sizes are in neither."""
        highest = [n for n in self._means if n in self._highest or n.endswith("_accuracy")]
        neither = ("_gate_open", "_gradient", "entropy", "reward")
        gates = [name for name in self._means if name.endswith(neither)]
        lowest = [name for name in (*self._means, self.skipped.name) if name not in gates]
        return {**dict.fromkeys(lowest, "min"), **dict.fromkeys(highest, "max")}

    def line(self, logs: Mapping[str, float]) -> dict[str, float]:
        """What the progress line shows of the logs, so few that it fits 100 columns.

        In `fit` the loss, where it is more than the NLL, the NLL, `gate`, the share of steps in
        which a discriminator's gate was open, the NLL of validation, and updates that were skipped;
        in `evaluate` the NLL and the logs that replace it for users.
        """
        if self.skipped.name not in logs:
            return {name: logs[name] for name in self._evaluation[1:3] if name in logs}
        gates = [value for name, value in logs.items() if name.endswith("_gate_open")]
        found = {"loss": logs["loss"]} if gates else {}
        main = self._evaluation[1]  # the NLL, or the return of a policy
        found[main] = logs[main]
        if gates:
            found["gate"] = sum(gates) / len(gates)
        if f"val_{main}" in logs:
            found[f"val_{main}"] = logs[f"val_{main}"]
        if logs[self.skipped.name]:
            found[self.skipped.name] = logs[self.skipped.name]
        return found

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """All of them, for Keras."""
        return [*self._means.values(), self.skipped]

    def track(
        self,
        values: Mapping[str, Tensor],
        training: bool = True,
        sample_weight: Tensor | None = None,
    ) -> None:
        """Update means by values of shape (B,) or (); in training by finite ones only.

        Args:
            values: by name.
            training: whether values that are not finite are left out.
            sample_weight: how much the values count.
        """
        for name, value in values.items():
            mean = self._means[name]
            if isinstance(mean, FiniteMean) and training:
                mean.update_finite(value, sample_weight)
            else:
                mean.update_state(value, sample_weight)

    def results(self, training: bool) -> dict[str, Tensor]:
        """The values of the metrics of `fit`, or of `evaluate`; those of the whole batch.

        Also while a replica runs, whose metrics hold its own part.
        """
        means = self._means if training else {name: self._means[name] for name in self._evaluation}
        if replicas.running():
            states = {name: [v.value for v in mean.variables] for name, mean in means.items()}
            states = replicas.total(states)
            found = {name: mean.stateless_result(states[name]) for name, mean in means.items()}
        else:
            found = {name: mean.result() for name, mean in means.items()}
        if training:
            found[self.skipped.name] = self.skipped.result()
        return {name: replicas.log(value) for name, value in found.items()}

    def saved_variables(self) -> dict[str, Any]:
        """The variables behind the logs, by their names in a file.

        With them an epoch that was interrupted can be resumed; see `train.runs`.
        """
        means = {
            f"log_{name}_{index}": variable
            for name, mean in self._means.items()
            for index, variable in enumerate(mean.variables)
        }
        own = {
            "skipped_updates": self.skipped.total,
            "skipped": self.skipped.skipped_steps,
            "trained_steps": self.skipped.steps,
        }
        return {**means, **own}


class HasLogs:
    """What a model that trains inherits from, before `keras.Model`, to report its `Logs`.

    The model makes them, as `_logs`, in its constructor.
    """

    _logs: Logs

    @property
    def logs(self) -> Logs:
        """The logs, by name; which way each is better, and what the progress line shows."""
        return self._logs

    def get_metrics_result(self) -> dict[str, Tensor]:
        """The values of all logs of `fit`, by name."""
        return self._logs.results(training=True)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics that `fit` and `evaluate` report and reset."""
        return self._logs.metrics

    @property
    def skipped_updates(self) -> SkippedUpdates:
        """What was skipped since training began."""
        return self._logs.skipped

    @property
    def trained_steps(self) -> int:
        """Training steps so far, those included whose update was skipped."""
        return int(self._logs.skipped.steps.numpy())
