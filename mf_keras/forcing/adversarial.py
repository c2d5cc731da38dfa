"""What the algorithms with discriminators share: players, optimizers, gates, warm-up, saving."""

from typing import NamedTuple

import keras
from keras import ops

from mf_keras import validation
from mf_keras.backend import strategies
from mf_keras.forcing.adversary import Adversary
from mf_keras.forcing.base import Forcing, get_optimizer
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.updates import Updates, inner, steps_taken

DEFAULT_GATE = (0.75, 0.99)


class Part(NamedTuple):
    """How the arguments and the logs of a watched part of the trace are called."""

    discriminator: str
    weight: str
    cost: str


class AdversarialForcing(Forcing):
    """Trains a sequence model on NLL and on what discriminators of its behaviour say.

    Each discriminator sees one part of the trace. It minimises

        E[-log D(behaviour to imitate)] + E[-log(1 - D(imitation))]      (Memory Forcing, eq. 7)

    and the model minimises NLL + sum of w C with C = E[-log D(its behaviour)] (eq. 8, 9, 10). Both
    players move on the weights from before the step.

    Under a strategy the discriminators, their gates and the buffers of dynamics are the same on all
    replicas: accuracies are those of the global batch, and every replica pushes all of its dynamics
    in their order. All draw the same random numbers, those that one replica with the whole batch
    would draw, and each takes its rows of the noise, or its share of the sampled dynamics.

    Subclasses give in `watched` the parts of the trace that their discriminators see, by the
    trace's names, in `masks` whether they see padding, and write `train_step`.
    """

    masks = False

    def __init__(
        self,
        model,
        discriminators,
        weights,
        gate,
        warm_up_steps,
        label_smoothing,
        seed,
        **kwargs,
    ):
        gate = _check_gate(gate)
        label_smoothing = validation.real_number("label_smoothing", label_smoothing, 0.0, 0.5)
        warm_up_steps = validation.positive_int("warm_up_steps", warm_up_steps, minimum=0)
        weights = [
            validation.real_number(part.weight, weight, 0.0)
            for part, weight in zip(self.watched.values(), weights, strict=True)
        ]
        seed = validation.seed("seed", seed)
        super().__init__(model, **kwargs)
        self.gate = gate
        self.label_smoothing = label_smoothing
        self.warm_up_steps = warm_up_steps
        self.cost_weights = dict(zip(self.watched, weights, strict=True))
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.adversaries = {
            name: Adversary(
                self._discriminator(name, discriminator),
                gate,
                label_smoothing=label_smoothing,
                name=f"{name}_adversary",
                updates=Updates(self._skipped, self.watched[name].discriminator),
            )
            for name, discriminator in zip(self.watched, discriminators, strict=True)
        }

    def _discriminator(self, name, discriminator):
        """The given discriminator or a new one, built for its part of the trace."""
        argument = self.watched[name].discriminator
        shape = (None, None, *self.generator.cell.trace_shape(name))
        if discriminator is None:
            discriminator = SequenceDiscriminator()
        if not isinstance(discriminator, keras.layers.Layer):
            raise TypeError(
                f"{argument} must be a Keras model (B, T, ...) -> (B, 1), "
                f"got {type(discriminator).__name__}."
            )
        if not discriminator.built:
            discriminator.build(shape)
            discriminator.built = True
        options = {"mask": ops.ones((2, 2), "bool")} if self.masks else {}
        try:
            probe = discriminator(ops.zeros((2, 2, *shape[2:])), **options)
        except TypeError as error:
            if not self.masks:
                raise
            raise TypeError(
                f"{argument} must take a mask (B, T) beside its inputs: {error}"
            ) from error
        except ValueError as error:
            raise ValueError(
                f"{argument} does not fit the model's {name} of shape "
                f"(B, T, {', '.join(map(str, shape[2:]))}): {error}"
            ) from error
        validation.shape_of(f"output of {argument}", probe, (2, 1))
        return discriminator

    # Compilation.

    def compile(self, optimizer="adam", discriminator_optimizer=None, **kwargs):
        """Configure training; see `Forcing.compile`.

        Args:
            optimizer: a Keras optimizer for the generator or transducer.
            discriminator_optimizer: a Keras optimizer, cloned for each discriminator, or a dict
                with one for each, by what it watches ("hidden", "memory"); None for Adam(1e-3).
            **kwargs: further arguments of `Forcing.compile`.

        Raises:
            ValueError: players share an optimizer, the dict's names are others, or `optimizer` is
                a `keras.optimizers.MultiOptimizer`.
        """
        optimizer = get_optimizer("optimizer", optimizer)
        if isinstance(inner(optimizer), keras.optimizers.MultiOptimizer):
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
        for name, adversary in self.adversaries.items():
            own = self._scaled_if_needed(optimizers[name], adversary.discriminator)
            if self._distributed:
                argument = f"discriminator_optimizer ({name})"
                strategies.check_optimizer(argument, own, self.distribute_strategy)
            adversary.set_optimizer(own)

    def fit(self, *args, **kwargs):
        """As `Forcing`; averages of weights, where an optimizer keeps some, become the weights."""
        history = super().fit(*args, **kwargs)
        for adversary in self.adversaries.values():  # Keras does it for the model's alone
            weights = adversary.discriminator.trainable_variables
            # The averages of an optimizer that has never moved are zeros, and no weights.
            if int(inner(adversary.optimizer).iterations.numpy()) > 0:
                adversary.optimizer.finalize_variable_values(weights)
        return history

    def _discriminator_optimizers(self, given):
        """One optimizer for each discriminator, by name."""
        if isinstance(given, dict):
            if set(given) != set(self.watched):
                raise ValueError(
                    f"discriminator_optimizer must have the names {sorted(self.watched)}, "
                    f"got {sorted(given)}."
                )
            return {
                name: get_optimizer("discriminator_optimizer", given[name]) for name in self.watched
            }
        if given is None:
            given = keras.optimizers.Adam(1e-3)
        given = get_optimizer("discriminator_optimizer", given)
        return {name: type(given).from_config(given.get_config()) for name in self.watched}

    def _scaled_if_needed(self, optimizer, discriminator):
        """With float16, what `compile` does to the generator's optimizer."""
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        scaled = scaled or discriminator.dtype_policy.name == "mixed_float16"
        if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    def get_compile_config(self):
        """Arguments for `compile`, serialized; none of a model that is not compiled."""
        if not self.compiled:
            return {}
        optimizers = {
            name: keras.optimizers.serialize(adversary.optimizer)
            for name, adversary in self.adversaries.items()
        }
        return {**super().get_compile_config(), "discriminator_optimizer": optimizers}

    def compile_from_config(self, config):
        """Compile with what `get_compile_config` gave."""
        optimizers = {
            name: keras.saving.deserialize_keras_object(optimizer)
            for name, optimizer in config["discriminator_optimizer"].items()
        }
        super().compile_from_config({**config, "discriminator_optimizer": optimizers})

    # Steps.

    def _metric_names(self):
        names = self._evaluation_names()
        for part in self.watched.values():
            judged = ("loss", "accuracy", "heard")
            names += [part.cost, *(f"{part.discriminator}_{log}" for log in judged)]
        return names

    def _warm(self, dtype):
        """0 during the warm-up, 1 after it."""
        if not self.warm_up_steps:
            return 1.0
        return ops.cast(steps_taken(self.optimizer) >= self.warm_up_steps, dtype)

    def _track_game(self, name, game, played=None):
        """Update the logs of a discriminator, before the model's update of this step.

        `played` False leaves them as they are.
        """
        part = self.watched[name]
        values = {
            part.cost: game.cost,
            f"{part.discriminator}_loss": game.discriminator_loss,
            f"{part.discriminator}_accuracy": game.accuracy,
            f"{part.discriminator}_heard": game.heard * self._warm(game.heard.dtype),
        }
        for log, value in values.items():
            self._trackers[log].update_finite(value, sample_weight=played)

    # Saving.

    def load_own_variables(self, store):
        """As `Forcing`; files of before have one random state, by another name."""
        super().load_own_variables(store)
        if "seed_state" in set(store.keys()):
            self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        """The constructor's arguments, models serialized."""
        config = super().get_config()
        for name, part in self.watched.items():
            discriminator = self.adversaries[name].discriminator
            config[part.discriminator] = keras.saving.serialize_keras_object(discriminator)
            config[part.weight] = self.cost_weights[name]
        return {
            **config,
            "gate": self.gate,
            "warm_up_steps": self.warm_up_steps,
            "label_smoothing": self.label_smoothing,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config):
        """A model from what `get_config` gave."""
        config = {
            name: keras.saving.deserialize_keras_object(value) if isinstance(value, dict) else value
            for name, value in config.items()
        }
        return cls(**{**config, "dtype": None})  # the cell's own


def _check_gate(gate):
    if gate is None:
        return None
    if not isinstance(gate, (tuple, list)) or len(gate) != 2:
        raise ValueError(f"gate must be (lower, upper) or None, got {gate!r}.")
    lower, upper = (validation.real_number("gate", value, 0.0, 1.0) for value in gate)
    return lower, upper
