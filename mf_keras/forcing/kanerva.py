"""KanervaMemoryForcing: Memory Forcing on the memory of a Kanerva Machine."""

from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.callbacks.stopping import checked_callbacks, with_stop
from mf_keras.forcing.adversary import DEFAULT_GATE, Adversary, check_gate
from mf_keras.forcing.checked import give_directions
from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.metrics import HasLogs, Logs
from mf_keras.forcing.updates import Updates, copied, get_optimizer, set_settings, settings
from mf_keras.models import KanervaMachine
from mf_keras.models.image_sets import TrainsOnImageSets
from mf_keras.models.kanerva_machine import LOSSES
from mf_keras.states import random_states
from mf_keras.types import Config, Tensor

_GAME = tuple(f"memory_discriminator_{part}" for part in ("loss", "accuracy", "gate_open"))


@keras.saving.register_keras_serializable(package="mf_keras")
class KanervaMemoryForcing(HasLogs, TrainsOnImageSets):
    """Trains a `KanervaMachine` on its own loss and on a discriminator of memories.

    Memory Forcing (Asadulaev et al. 2018, eq. 7 to 9), where the memory is that of the Kanerva
    Machine:

    * teacher-forced: the mean R of the memory, after the images of a set were written;
    * free: the mean of a new memory, after as many images were written that the machine drew from
      the first one.

    The discriminator D tells the two apart; the machine minimises its loss + `weight` C, with
    C = E[-log D(free)]. D sees the last memory only, and so no order of the images. The pixels that
    are drawn are 0 or 1; the gradient of C takes them for their probabilities (the straight-through
    estimator of Bengio et al. 2013, arXiv:1308.3432), since otherwise nothing of it would reach the
    decoder.

        model = KanervaMemoryForcing(machine)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=8)  # x (episodes, T, ...) of 0 and 1

    Logs beside those of the machine: `c_m`, `memory_discriminator_loss`, `..._accuracy` and
    `..._gate_open`, as of `MemoryForcing`. `evaluate` has the machine's.

    Args:
        machine: a `KanervaMachine`; its encoder must be built.
        discriminator: sees memories (B, 1, N, C); None for a `SequenceDiscriminator()`.
        gate: (lower, upper) accuracy, as for `MemoryForcing`; None for none.
        weight: of C.
        seed: of the pixels that are drawn.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the encoder is not built, or a number is out of range.
    """

    compiles_loops = False  # apart from the step, which XLA compiles as a whole
    _fits = False  # whether `fit` runs

    def __init__(
        self,
        machine: KanervaMachine,
        discriminator: Any = None,
        gate: Any = DEFAULT_GATE,
        weight: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if not isinstance(machine, KanervaMachine):
            raise TypeError(f"machine must be a KanervaMachine, got {type(machine).__name__}.")
        if discriminator is None:
            discriminator = SequenceDiscriminator()
        if not isinstance(discriminator, keras.layers.Layer):
            raise TypeError(
                "discriminator must be a Keras model (B, 1, N, C) -> (B, 1), "
                f"got {type(discriminator).__name__}."
            )
        weight = validation.real_number("weight", weight, 0.0)
        seed, gate = validation.seed("seed", seed), check_gate(gate)
        if not machine.built:
            if not machine.encoder.built:
                raise ValueError("machine must be built, or its encoder; got one that is not.")
            machine.build((None, None, *machine.encoder.input_shape[1:]))
        features = machine.memory.memory_size, machine.code_size
        try:
            if not discriminator.built:
                discriminator.build((None, None, *features))
            probe = discriminator(ops.zeros((2, 1, *features)))
        except ValueError as error:
            raise ValueError(
                f"discriminator does not fit memories of shape (B, 1, {features[0]}, "
                f"{features[1]}): {error}"
            ) from error
        validation.shape_of("output of discriminator", probe, (2, 1))
        super().__init__(**kwargs)
        self.machine, self.gate, self.weight, self.seed = machine, gate, weight, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        players = {"model": ("bound", "c_m"), _GAME[0].removesuffix("_loss"): (_GAME[0],)}
        self._logs = Logs(("loss", *LOSSES), ("c_m", *_GAME), players)
        model, player = players
        self._updates = Updates(self._logs.skipped, model)
        self.adversary = Adversary(discriminator, gate, Updates(self._logs.skipped, player))
        self.built = True

    def trained(self) -> KanervaMachine:
        """The machine."""
        return self.machine

    def call(self, x: Tensor, training: bool = False) -> dict[str, Tensor]:
        """The losses of the machine, (B,) each."""
        return self.machine(x, training=training)

    @property
    def non_trainable_variables(self) -> list[Any]:
        """As of every Keras model, with what a step changes besides and Keras must know."""
        adversary = getattr(self, "adversary", None)  # none while the model is being made
        optimizers = [adversary.optimizer] if adversary else []
        return [*super().non_trainable_variables, *backend.unknown_to_keras(optimizers)]

    @property
    def trainable_weights(self) -> list[Any]:
        """Those of both players; while `fit` runs, the machine's, for its optimizer."""
        return self.machine.trainable_weights if self._fits else super().trainable_weights

    def fit(self, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """As `KanervaMachine.fit`; a streak of skipped updates ends it (`StopOnNonFinite`)."""
        self._fits = True
        try:
            return super().fit(*args, **kwargs)
        finally:
            self._fits = False

    # The steps.

    @backend.step
    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One step of both players, on the weights from before it."""
        x, variables = _images(data), self.machine.trainable_variables

        def behave():
            codes = self.machine.encode(x, training=True)
            written = self.machine.write(codes, training=True)
            losses = self.machine.losses_of(x, codes, written, training=True)
            free = self._rewritten(x, written)
            real = ops.expand_dims(written.memory, 1)
            return [ops.mean(self.machine.objective(losses)), free], (losses, real)

        (loss, free), (losses, real), pull = backend.pullback(behave, variables)
        scale = self.optimizer.scale_loss(ops.ones_like(loss))
        outcome = self.adversary.play(real, free, scale=scale * self.weight)
        gradients, _ = pull([scale, outcome.gradients["fake"]])
        terms = {"bound": losses["bound"], "c_m": outcome.cost}
        self._updates.apply(self.optimizer, gradients, variables, terms)
        game = (outcome.discriminator_loss, outcome.accuracy, outcome.gate_open)
        self._logs.track({"loss": loss + self.weight * outcome.cost, "c_m": outcome.cost})
        self._logs.track({**losses, **dict(zip(_GAME, game, strict=True))})
        return self._logs.results(training=True)

    @backend.step
    def test_step(self, data: Any) -> dict[str, Tensor]:
        """The losses of the machine on one batch."""
        losses = self.machine(_images(data), training=False)
        self._logs.track({"loss": self.machine.objective(losses), **losses}, training=False)
        return self._logs.results(training=False)

    def _rewritten(self, x, written):
        """The mean (B, 1, N, C) of the memory of as many images as x has, drawn from `written`."""
        codes = self.machine.draw(written, ops.shape(x)[1])
        probabilities = ops.sigmoid(self.machine.decode(codes, x, training=True))
        uniform = keras.random.uniform(ops.shape(x), dtype=x.dtype, seed=self.seed_generator)
        pixels = ops.cast(uniform < probabilities, x.dtype)
        images = probabilities + ops.stop_gradient(pixels - probabilities)
        state = self.machine.write(self.machine.encode(images, training=True), training=True)
        return ops.expand_dims(state.memory, 1)

    def check_data(self, name: str, x: Any) -> Any:
        """As `KanervaMachine.check_data`."""
        return self.machine.check_data(name, x)

    def _callbacks_of(self, given: Any, fits: bool) -> Any:
        """Those of `fit` begin with a `StopOnNonFinite`, and are told which way a log is better."""
        listed = with_stop(given) if fits else checked_callbacks(given)
        give_directions(listed, self.logs.directions)
        return listed

    # Compilation.

    def compile(
        self, optimizer: Any = "adam", discriminator_optimizer: Any = None, **kwargs: Any
    ) -> None:
        """Configure training.

        Args:
            optimizer: a Keras optimizer for the machine.
            discriminator_optimizer: one for the discriminator; None for Adam(1e-3).
            **kwargs: further arguments of `keras.Model.compile`, except `loss` and `metrics`.

        Raises:
            TypeError: `loss`, `metrics` or `weighted_metrics` is given.
            ValueError: an optimizer is none that Keras knows, or both are the same.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(name, None) is not None:
                raise TypeError(f"{name} must not be given: {type(self).__name__} has its own.")
        optimizer = get_optimizer("optimizer", optimizer)
        given = "discriminator_optimizer"
        if discriminator_optimizer is None:
            discriminator_optimizer = keras.optimizers.Adam(1e-3)
        other = get_optimizer(given, discriminator_optimizer)
        if other is optimizer:
            raise ValueError(f"{given} must not be shared between players, got {other!r}.")
        super().compile(optimizer=optimizer, **kwargs)
        self.adversary.set_optimizer(other if other.built else copied(given, other))
        if not self.optimizer.built:
            self.optimizer.build(self.machine.trainable_variables)
        self._compile_arguments = kwargs

    def get_compile_config(self) -> Config:
        """Arguments for `compile`, serialized; none of a model that is not compiled."""
        if not self.compiled:
            return {}
        players = {"optimizer": self.optimizer, "discriminator_optimizer": self.adversary.optimizer}
        found = {name: keras.optimizers.serialize(each) for name, each in players.items()}
        more = {f"{name}_settings": settings(each) for name, each in players.items()}
        return {**found, **more, **self._compile_arguments}

    def compile_from_config(self, config: Config) -> None:
        """Compile with what `get_compile_config` gave."""
        players = ("optimizer", "discriminator_optimizer")
        found = {name: keras.saving.deserialize_keras_object(config[name]) for name in players}
        for name, optimizer in found.items():
            set_settings(optimizer, config[f"{name}_settings"])
        names = {f"{name}_settings" for name in players}
        config = {name: value for name, value in config.items() if name not in names}
        self.compile(**{**config, **found})

    # Logs and saving.

    def states(self) -> dict[str, Any]:
        """The logs of the epoch, and the random states."""
        return {**self._logs.saved_variables(), **random_states(self)}

    def get_config(self) -> Config:
        """The constructor's arguments, machine and discriminator serialized."""
        return {
            **super().get_config(),
            "machine": keras.saving.serialize_keras_object(self.machine),
            "discriminator": keras.saving.serialize_keras_object(self.adversary.discriminator),
            "gate": self.gate,
            "weight": self.weight,
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: Config) -> "KanervaMemoryForcing":
        """A model from what `get_config` gave."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("machine", "discriminator")
        }
        return cls(**{**config, **parts})


def _images(data):
    """The sets of a batch, which Keras may give in a tuple."""
    return keras.utils.unpack_x_y_sample_weight(data)[0]
