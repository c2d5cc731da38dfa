"""What the algorithms with discriminators share: adversaries, their optimizers, logs, files."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversary import Adversary, Outcome, check_gate
from mf_keras.forcing.base import Forcing
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.updates import (
    Updates,
    copied,
    get_optimizer,
    inner,
    set_settings,
    settings,
)
from mf_keras.types import Config, Tensor


class AdversarialForcing(Forcing):
    """Trains a sequence model on NLL and on the costs that discriminators of its behaviour set.

    Each discriminator sees one field of the trace. It minimises

        E[-log D(behaviour to imitate)] + E[-log(1 - D(imitation))]      (Memory Forcing, eq. 7)

    and the model minimises NLL + sum of w C with C = E[-log D(its behaviour)] (eq. 8, 9, 10). Both
    players move on the weights from before the step.

    Under a strategy the discriminators, their gates and the buffers of dynamics are the same on all
    replicas: accuracies are those of the global batch, and every replica pushes all of its dynamics
    in their order. All draw the same random numbers, those that one replica with the whole batch
    would draw, and each takes its rows of the noise, or its share of the sampled dynamics.

    Args:
        model: what is trained.
        watched: field of the trace -> the prefix of its discriminator's logs, e.g. "hidden" ->
            "hidden_discriminator".
        discriminators: field -> a discriminator, or None for a `SequenceDiscriminator()`.
        weights: field -> the weight of its cost.
        costs: field -> the name of its cost's log.
        gate: (lower, upper) accuracy, or None.
        warm_up_steps: so many first steps of plain NLL.
        label_smoothing: how far the target of behaviour to imitate lies below 1.
        seed: of all noise.
        masks: whether the discriminators take a mask.
        logs: names of further logs of `fit`.
        players: further players, as for `Forcing`; the subclass adds them to `adversaries`.
        **kwargs: as for `Forcing`.
    """

    _fits = False  # whether `fit` runs

    def __init__(
        self,
        model: Any,
        watched: Mapping[str, str],
        discriminators: Mapping[str, Any],
        weights: Mapping[str, float],
        costs: Mapping[str, str],
        gate: Any,
        warm_up_steps: int,
        label_smoothing: float,
        seed: int,
        masks: bool = False,
        logs: Sequence[str] = (),
        players: Mapping[str, Sequence[str]] | None = None,
        **kwargs: Any,
    ) -> None:
        gate = check_gate(gate)
        label_smoothing = validation.real_number("label_smoothing", label_smoothing, 0.0, 0.5)
        warm_up_steps = validation.positive_int("warm_up_steps", warm_up_steps, minimum=0)
        seed = validation.seed("seed", seed)
        suffixes = ("loss", "accuracy", "gate_open")
        of_discriminators = [
            log
            for field, prefix in watched.items()
            for log in (costs[field], *(f"{prefix}_{suffix}" for suffix in suffixes))
        ]
        players = {
            "model": (self.main_log, *costs.values()),
            **{prefix: (f"{prefix}_loss",) for prefix in watched.values()},
            **(players or {}),
        }
        super().__init__(model, logs=[*of_discriminators, *logs], players=players, **kwargs)
        self.gate = gate
        self.label_smoothing = label_smoothing
        self.warm_up_steps = warm_up_steps
        self.cost_weights = dict(weights)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._watched = dict(watched)
        self._costs = dict(costs)
        self.adversaries = {
            field: self._adversary(field, prefix, discriminators[field], masks)
            for field, prefix in watched.items()
        }

    def _adversary(self, field, prefix, discriminator, masks):
        return Adversary(
            _fitting(prefix, discriminator, field, self.generator.cell, masks),
            self.gate,
            Updates(self._logs.skipped, prefix),
            label_smoothing=self.label_smoothing,
            name=f"{field}_adversary",
        )

    @property
    def non_trainable_variables(self) -> list[Any]:
        """As of every Keras model, with what a step changes besides and Keras must know."""
        adversaries = getattr(self, "adversaries", {})  # none while the model is being made
        optimizers = [adversary.optimizer for adversary in adversaries.values()]
        return [*super().non_trainable_variables, *backend.unknown_to_keras(optimizers)]

    @property
    def trainable_weights(self) -> list[Any]:
        """Those of all players; while `fit` runs, the model's, which Keras gives its optimizer."""
        return self.generator.trainable_weights if self._fits else super().trainable_weights

    # What a step is made of.

    def _warm(self, dtype: str) -> Any:
        """0 during the warm-up, 1 after it."""
        if not self.warm_up_steps:
            return 1.0
        taken = self.skipped_updates.steps - self.skipped_updates.skipped_steps
        return ops.cast(taken >= self.warm_up_steps, dtype)

    def _track_game(self, field: str, outcome: Outcome, played: Tensor | None = None) -> None:
        """Update the logs of a discriminator, before the model's update of this step.

        `played` False leaves them as they are.
        """
        prefix = self._watched[field]
        values = {
            self._costs[field]: outcome.cost,
            f"{prefix}_loss": outcome.discriminator_loss,
            f"{prefix}_accuracy": outcome.accuracy,
            f"{prefix}_gate_open": outcome.gate_open * self._warm(outcome.gate_open.dtype),
        }
        self._logs.track(values, sample_weight=played)

    # Compilation.

    def compile(  # type: ignore[override]  # its second argument is another
        self, optimizer: Any = "adam", discriminator_optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Configure training; see `Forcing.compile`.

        Args:
            optimizer: a Keras optimizer for the generator or transducer.
            discriminator_optimizer: a Keras optimizer, of which each discriminator, and a critic,
                gets a copy, or a dict with one for each, by what it watches ("hidden", "memory"),
                or "critic"; None for Adam(1e-3).
            **kwargs: further arguments of `Forcing.compile`.

        Raises:
            ValueError: players share an optimizer, the dict's names are others, one that is to be
                copied is built already, or `optimizer` is a `keras.optimizers.MultiOptimizer`.
        """
        optimizer = get_optimizer("optimizer", optimizer)
        # Which is new in Keras 3.15.
        if isinstance(inner(optimizer), getattr(keras.optimizers, "MultiOptimizer", ())):
            # Keras hands it the weights of all players at the end of `fit`, where it fails.
            raise ValueError(
                f"optimizer must be one optimizer for the whole model, got {optimizer!r}."
            )
        optimizers = self._discriminator_optimizers(discriminator_optimizer)
        players = [optimizer, *optimizers.values()]
        if discriminator_optimizer is optimizer or len(set(map(id, players))) < len(players):
            raise ValueError(
                "discriminator_optimizer must not be shared between players, each keeps its own "
                f"momentum; got {discriminator_optimizer!r}."
            )
        super().compile(optimizer, **kwargs)
        for field, adversary in self.adversaries.items():
            own = self._scaled_if_needed(optimizers[field], adversary.discriminator)
            if self.distributed:
                argument = f"discriminator_optimizer ({field})"
                replicas.check_optimizer(argument, own, self.distribute_strategy)
            adversary.set_optimizer(own)

    def _discriminator_optimizers(self, given):
        """One optimizer for each discriminator, by the field that it watches."""
        fields = list(self.adversaries)
        if isinstance(given, dict):
            if set(given) != set(fields):
                raise ValueError(
                    f"discriminator_optimizer must have the names {sorted(fields)}, "
                    f"got {sorted(given)}."
                )
            return {name: get_optimizer("discriminator_optimizer", given[name]) for name in fields}
        given = keras.optimizers.Adam(1e-3) if given is None else given
        given = get_optimizer("discriminator_optimizer", given)
        return {name: copied("discriminator_optimizer", given) for name in fields}

    def _scaled_if_needed(self, optimizer, discriminator):
        """With float16, what `compile` does to the generator's optimizer."""
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        scaled = scaled or discriminator.dtype_policy.name == "mixed_float16"
        if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `Forcing`; averages of weights, where an optimizer keeps some, become the weights."""
        self._fits = True
        try:
            history = super().fit(*args, **kwargs)
        finally:
            self._fits = False
        for adversary in self.adversaries.values():  # Keras does it for the model's only
            # The averages of an optimizer that has never moved are zeros, and no weights.
            if int(inner(adversary.optimizer).iterations.numpy()) > 0:
                weights = adversary.discriminator.trainable_variables
                adversary.optimizer.finalize_variable_values(weights)
        return history

    def get_compile_config(self) -> Config:
        """Arguments for `compile`, serialized; none of a model that is not compiled."""
        if not self.compiled:
            return {}
        optimizers = {
            name: keras.optimizers.serialize(adversary.optimizer)
            for name, adversary in self.adversaries.items()
        }
        found = {
            name: settings(adversary.optimizer) for name, adversary in self.adversaries.items()
        }
        more = {"discriminator_settings": found} if any(found.values()) else {}
        return {**super().get_compile_config(), "discriminator_optimizer": optimizers, **more}

    def compile_from_config(self, config: Config) -> None:
        """Compile with what `get_compile_config` gave."""
        optimizers = {
            name: keras.saving.deserialize_keras_object(optimizer)
            for name, optimizer in config["discriminator_optimizer"].items()
        }
        for name, found in config.get("discriminator_settings", {}).items():
            set_settings(optimizers[name], found)
        config = {name: value for name, value in config.items() if name != "discriminator_settings"}
        super().compile_from_config({**config, "discriminator_optimizer": optimizers})

    # Saving.

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        return {
            **super().get_config(),
            "gate": self.gate,
            "warm_up_steps": self.warm_up_steps,
            "label_smoothing": self.label_smoothing,
            "seed": self.seed,
        }


def _fitting(argument, discriminator, field, cell, masks):
    """A discriminator, the given one or a new one, built for its field of the trace.

    Raises:
        TypeError: it is no Keras model, or takes no mask where one is given.
        ValueError: it does not fit the field.
    """
    features = cell.trace_shape(field)
    if discriminator is None:
        discriminator = SequenceDiscriminator()
    if not isinstance(discriminator, keras.layers.Layer):
        raise TypeError(
            f"{argument} must be a Keras model (B, T, ...) -> (B, 1), "
            f"got {type(discriminator).__name__}."
        )
    if not discriminator.built:
        discriminator.build((None, None, *features))
        discriminator.built = True
    options = {"mask": ops.ones((2, 2), "bool")} if masks else {}
    try:
        probe = discriminator(ops.zeros((2, 2, *features)), **options)
    except TypeError as error:
        if not masks:
            raise
        raise TypeError(f"{argument} must take a mask (B, T) beside its inputs: {error}") from error
    except Exception as error:  # whatever a model of another kind raises
        raise ValueError(
            f"{argument} does not fit the model's {field} of shape "
            f"(B, T, {', '.join(map(str, features))}): {error}"
        ) from error
    validation.shape_of(f"output of {argument}", probe, (2, 1))
    return discriminator
