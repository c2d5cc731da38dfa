"""Professor Forcing and Memory Forcing: free-running behaviour made like teacher-forced one."""

import keras
import tensorflow as tf
from keras import ops

from mf_keras import validation
from mf_keras.discriminator import SequenceDiscriminator
from mf_keras.forcing.adversary import Adversary
from mf_keras.forcing.base import Forcing
from mf_keras.generator import SequenceGenerator

DEFAULT_GATE = (0.75, 0.99)


class AdversarialForcing(Forcing):
    """Trains a generator on NLL and on what discriminators of its behaviour say.

    A step runs the generator twice over sequences of equal length: teacher-forced on the data, and
    free, on its own samples. Each discriminator sees one part of both traces. It minimises

        E[-log D(teacher-forced)] + E[-log(1 - D(free-running))]         (Memory Forcing, eq. 7)

    and the generator minimises NLL + sum of w C with C = E[-log D(free-running)] (eq. 8, 9).
    Samples are detached; the gradient of C flows through the free-running trace alone. Both players
    move on the weights from before the step.

    Subclasses name in `watched` the parts of the trace that a discriminator sees.
    """

    watched = ()
    shortest = 2  # one step is the same in both runs: nothing to tell apart

    def __init__(
        self,
        generator,
        discriminators,
        weights,
        gate,
        warm_up_steps,
        reverse_weight,
        label_smoothing,
        seed,
        **kwargs,
    ):
        if not isinstance(generator, SequenceGenerator):
            raise TypeError(
                f"generator must be a SequenceGenerator, got {type(generator).__name__}."
            )
        gate = _check_gate(gate)
        label_smoothing = validation.real_number("label_smoothing", label_smoothing, 0.0, 0.5)
        reverse_weight = validation.real_number("reverse_weight", reverse_weight, 0.0)
        warm_up_steps = validation.positive_int("warm_up_steps", warm_up_steps, minimum=0)
        for name, weight in zip(self.watched, weights, strict=True):
            validation.real_number(f"{name}_weight", weight, 0.0)
        seed = validation.seed("seed", seed)
        super().__init__(generator, **kwargs)
        self.gate = gate
        self.label_smoothing = label_smoothing
        self.reverse_weight = reverse_weight
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
            )
            for name, discriminator in zip(self.watched, discriminators, strict=True)
        }

    @property
    def hidden_discriminator(self):
        """The discriminator of hidden states, D_h."""
        return self.adversaries["hidden"].discriminator

    def _discriminator(self, name, discriminator):
        """The given discriminator or a new one, built for its part of the trace."""
        state = self.generator.cell.initial_state(1)
        shape = (None, None, *getattr(state, name).shape[1:])
        if discriminator is None:
            discriminator = SequenceDiscriminator()
        if not isinstance(discriminator, keras.layers.Layer):
            raise TypeError(
                f"{name}_discriminator must be a Keras model (B, T, ...) -> (B, 1), "
                f"got {type(discriminator).__name__}."
            )
        if not discriminator.built:
            discriminator.build(shape)
            discriminator.built = True
        try:
            probe = discriminator(ops.zeros((2, 2, *shape[2:])))
        except ValueError as error:
            raise ValueError(
                f"{name}_discriminator does not fit the generator's {name} of shape "
                f"(B, T, {', '.join(map(str, shape[2:]))}): {error}"
            ) from error
        validation.shape_of(f"output of {name}_discriminator", probe, (2, 1))
        return discriminator

    # Compilation.

    def compile(self, optimizer="adam", discriminator_optimizer=None, **kwargs):
        """Configure training; see `Forcing.compile`.

        Args:
            optimizer: a Keras optimizer for the generator.
            discriminator_optimizer: a Keras optimizer, cloned for each discriminator, or a dict
                with one for each, by name ("hidden", "memory"); None for Adam(1e-3).
            **kwargs: further arguments of `Forcing.compile`.

        Raises:
            ValueError: players share an optimizer, or the dict's names are others.
        """
        optimizer = keras.optimizers.get(optimizer)
        optimizers = self._discriminator_optimizers(discriminator_optimizer)
        players = [optimizer, *optimizers.values()]
        if discriminator_optimizer is optimizer or len(set(map(id, players))) < len(players):
            raise ValueError(
                "discriminator_optimizer must not be shared between players, each keeps its own "
                f"momentum; got {discriminator_optimizer!r}."
            )
        super().compile(optimizer, **kwargs)
        for name, adversary in self.adversaries.items():
            adversary.set_optimizer(self._scaled_if_needed(optimizers[name]))

    def _discriminator_optimizers(self, given):
        """One optimizer for each discriminator, by name."""
        if isinstance(given, dict):
            if set(given) != set(self.watched):
                raise ValueError(
                    f"discriminator_optimizer must have the names {sorted(self.watched)}, "
                    f"got {sorted(given)}."
                )
            return {name: keras.optimizers.get(given[name]) for name in self.watched}
        if given is None:
            given = keras.optimizers.Adam(1e-3)
        given = keras.optimizers.get(given)
        return {name: type(given).from_config(given.get_config()) for name in self.watched}

    def _scaled_if_needed(self, optimizer):
        """With float16, what `compile` does to the generator's optimizer."""
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        if scaled and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            return keras.optimizers.LossScaleOptimizer(optimizer)
        return optimizer

    def get_compile_config(self):
        """Arguments for `compile`, serialized."""
        optimizers = {
            name: keras.optimizers.serialize(adversary.optimizer)
            for name, adversary in self.adversaries.items()
        }
        return {**super().get_compile_config(), "discriminator_optimizer": optimizers}

    def compile_from_config(self, config):
        """Compile with what `get_compile_config` gave."""
        optimizers = {
            name: keras.optimizers.deserialize(optimizer)
            for name, optimizer in config["discriminator_optimizer"].items()
        }
        super().compile_from_config({**config, "discriminator_optimizer": optimizers})

    # Steps.

    def _metric_names(self):
        names = self._evaluation_names()
        for name in self.watched:
            names += [_cost(name), f"{name}_discriminator_loss", f"{name}_discriminator_accuracy"]
        return names

    def train_step(self, data):
        """One step of both players."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        variables = self.generator.trainable_variables
        with tf.GradientTape() as tape:
            nll, real = self._nll(x, None, None, training=True)
            mean_nll = ops.mean(nll)
            batch_size, length, _ = ops.shape(x)
            _, _, free = self.generator.free_run(
                ops.convert_to_tensor(batch_size),
                ops.convert_to_tensor(length),
                self.seed_generator,
            )
        scale = self.optimizer.scale_loss(ops.ones_like(mean_nll))
        targets, cotangents, costs = [mean_nll], [scale], 0.0
        for name, adversary in self.adversaries.items():
            weight = self.cost_weights[name] * self._warm()
            real_part, free_part = getattr(real, name), getattr(free, name)
            game = adversary.play(
                real_part, free_part, scale=scale * weight, reverse=self.reverse_weight > 0
            )
            targets.append(free_part)
            cotangents.append(game.to_imitation)
            costs = costs + weight * game.cost
            if self.reverse_weight:
                targets.append(real_part)
                cotangents.append(game.to_model * ops.cast(self.reverse_weight, real_part.dtype))
                costs = costs + weight * self.reverse_weight * game.reverse_cost
            self._track_game(name, game)
        gradients = tape.gradient(targets, variables, output_gradients=cotangents)
        self.optimizer.apply(gradients, variables)
        self._track(loss=nll + costs)
        return self.get_metrics_result()

    def _warm(self):
        """0 during the warm-up, 1 after it."""
        if not self.warm_up_steps:
            return 1.0
        return ops.cast(self.optimizer.iterations >= self.warm_up_steps, "float32")

    def _track_game(self, name, game):
        self._track(
            **{
                _cost(name): game.cost,
                f"{name}_discriminator_loss": game.discriminator_loss,
                f"{name}_discriminator_accuracy": game.accuracy,
            }
        )

    # Saving.

    def save_own_variables(self, store):
        """Keep the random state, which Keras leaves out, so that a resumed run is the same run."""
        super().save_own_variables(store)
        store["seed_state"] = ops.convert_to_numpy(self.seed_generator.state)

    def load_own_variables(self, store):
        """Restore what `save_own_variables` kept."""
        self.seed_generator.state.assign(store["seed_state"])

    def get_config(self):
        """The constructor's arguments, models serialized."""
        config = super().get_config()
        for name, adversary in self.adversaries.items():
            config[f"{name}_discriminator"] = keras.saving.serialize_keras_object(
                adversary.discriminator
            )
            config[f"{name}_weight"] = self.cost_weights[name]
        return {
            **config,
            "gate": self.gate,
            "warm_up_steps": self.warm_up_steps,
            "reverse_weight": self.reverse_weight,
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
        return cls(**config)


def _cost(name):
    """The log of a discriminator's cost: c_h, c_m."""
    return f"c_{name[0]}"


def _check_gate(gate):
    if gate is None:
        return None
    if not isinstance(gate, (tuple, list)) or len(gate) != 2:
        raise ValueError(f"gate must be (lower, upper) or None, got {gate!r}.")
    lower, upper = (validation.real_number("gate", value, 0.0, 1.0) for value in gate)
    return lower, upper
