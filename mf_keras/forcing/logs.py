"""What the training algorithms tell of an epoch: means over its steps, and skipped updates."""

import keras
from keras import ops

from mf_keras.backend import replicas, strategies
from mf_keras.forcing.metrics import FiniteMean
from mf_keras.forcing.updates import SkippedUpdates, steps_taken


class Logs(keras.Model):
    """The logs of `Forcing`: tracked by its steps, read by Keras, kept in its files.

    A subclass gives `_generates`, whether its model is a `SequenceGenerator`, and `watched`, calls
    `_make_logs` when it is made, and `_track` in its steps.
    """

    def _make_logs(self):
        self._trackers = {
            name: keras.metrics.Sum(name) if name == "correct_predictions" else FiniteMean(name)
            for name in self._metric_names()
        }
        self._skipped = SkippedUpdates(self._players())

    def _metric_names(self):
        """Logs of `fit`; `correct_predictions` is summed, the others are averaged."""
        return self._evaluation_names()

    def _evaluation_names(self):
        """Logs of `evaluate`."""
        own = ["bits_per_step"] if self._generates else ["correct_predictions", "bit_errors"]
        return ["loss", "nll", *own]

    def _players(self):
        """Who moves weights: name -> terms of the loss."""
        costs = [part.cost for part in self.watched.values()]
        judges = [part.discriminator for part in self.watched.values()]
        return {"model": ("nll", *costs), **{judge: (f"{judge}_loss",) for judge in judges}}

    def _track(self, training=True, **values):
        """Update means by values of shape (B,) or (); in training by finite ones alone."""
        for name, value in values.items():
            mean = self._trackers[name]
            (mean.update_finite if training else mean.update_state)(value)

    def _results(self, names):
        """The values of metrics, of the whole batch also while a replica runs."""
        trackers = {name: self._trackers[name] for name in names}
        if not replicas.running():
            return {name: tracker.result() for name, tracker in trackers.items()}
        states = {name: [v.value for v in tracker.variables] for name, tracker in trackers.items()}
        states = replicas.total(states)
        results = {name: each.stateless_result(states[name]) for name, each in trackers.items()}
        return {name: self._log(value) for name, value in results.items()}

    def _log(self, value):
        """A value that is the same on all replicas, as Keras wants it in the logs."""
        if replicas.running() and strategies.has_workers(self.distribute_strategy):
            return ops.expand_dims(value, 0)  # Keras averages them over an axis of the replicas
        return value

    def get_metrics_result(self):
        """The values of all metrics, by name."""
        skipped = {self._skipped.name: self._log(self._skipped.result())}
        return {**self._results(self._trackers), **skipped}

    @property
    def metrics(self):
        """The metrics that `fit` and `evaluate` report and reset."""
        return [*self._trackers.values(), self._skipped]

    @property
    def skipped_updates(self):
        """What was skipped since training began, a `forcing.updates.SkippedUpdates`."""
        return self._skipped

    @property
    def trained_steps(self):
        """Training steps so far, with those whose update was skipped, which no optimizer counts."""
        return int(steps_taken(self.optimizer).numpy()) + int(self._skipped.steps.numpy())

    def save_own_variables(self, store):
        """Keep the means of the logs, too, so that an epoch that is broken off can be gone on with.

        `fit` resets them at the beginning of an epoch; see `train.resuming`.
        """
        super().save_own_variables(store)
        for name, variable in self._kept_logs().items():
            store[name] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store):
        """Restore what `save_own_variables` kept; files of before keep no logs."""
        saved = set(store.keys())
        # Keras refuses what it did not save itself.
        super().load_own_variables({key: store[key] for key in saved if key.isdigit()})
        for name, variable in self._kept_logs().items():
            if name in saved:
                variable.assign(store[name])

    def _kept_logs(self):
        """The variables behind the logs, by their names in a file."""
        means = {
            f"log_{name}_{index}": variable
            for name, tracker in self._trackers.items()
            for index, variable in enumerate(tracker.variables)
        }
        return {**means, "skipped_updates": self._skipped.total, "skipped": self._skipped.steps}
