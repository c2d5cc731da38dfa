"""Professor and Memory Forcing: free-running behaviour made like teacher-forced behaviour."""

from collections.abc import Collection, Mapping
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversarial import AdversarialForcing
from mf_keras.forcing.adversary import DEFAULT_GATE
from mf_keras.models import SequenceGenerator
from mf_keras.types import Config, Tensor

# Field of the trace -> the name of its cost, where the papers have one; `c_FIELD` for others.
_COSTS = {"hidden": "c_h", "memory": "c_m"}


@keras.saving.register_keras_serializable(package="mf_keras")
class MemoryForcing(AdversarialForcing):
    """Memory Forcing (Asadulaev et al. 2018, eq. 9): the generator minimises NLL + C_h + C_m.

        model = MemoryForcing(SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=1)))
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=64, epochs=10)

    A step runs the generator twice, side by side: teacher-forced on the data, and free, on its own
    samples, over as many steps. Of padded sequences the discriminators see, in both modes, the
    steps of the data that count. The discriminators tell the two traces apart, and the
    generator makes the free-running one like the teacher-forced one. Samples are detached: the
    gradient of C flows through the free-running trace only.

    Logs beside those of `TeacherForcing`, for every watched field: its cost `c_h`, `c_m`, or
    `c_FIELD` (eq. 8, nats), `FIELD_discriminator_loss` (eq. 7, nats), `..._accuracy`, and
    `..._gate_open`, the share of steps in which the generator received its gradient; `loss` is NLL
    plus the weighted costs, whether the gates are open or not. `evaluate` is free of adversarial
    terms.

    Args:
        generator: a `SequenceGenerator`.
        hidden_discriminator: sees the hidden states (B, T, H); None for a `SequenceDiscriminator()`
            of the paper's sizes. It is built at once.
        memory_discriminator: sees the memory matrices (B, T, N, W); None as above.
        gate: (lower, upper) accuracy, on a moving average of each discriminator's: the generator
            receives its gradient only above `lower`, it learns only below `upper` (Professor
            Forcing: 0.75, 0.99); None for exactly eq. 9.
        hidden_weight: weight of C_h.
        memory_weight: weight of C_m.
        reverse_weight: weight of the reverse costs, which draw teacher-forced behaviour towards
            free-running one (Professor Forcing's C_t), in proportion to their forward ones.
        warm_up_steps: so many first steps of plain NLL; the discriminators learn meanwhile.
        label_smoothing: how far the target of teacher-forced behaviour lies below 1 (Salimans et
            al. 2016, arXiv:1606.03498, one-sided label smoothing).
        seed: of the free-running noise.
        watch: fields of the cell's trace that are watched, e.g. ("memory", "read_weights").
        discriminators: field -> discriminator, of watched fields other than these two.
        weights: field -> weight of its cost, of watched fields other than these two; 1 by default.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a discriminator does not fit its field of the trace, a field is not the cell's
            or not watched, or a number is out of range.
    """

    def __init__(
        self,
        generator: SequenceGenerator,
        hidden_discriminator: Any = None,
        memory_discriminator: Any = None,
        gate: Any = DEFAULT_GATE,
        hidden_weight: float = 1.0,
        memory_weight: float = 1.0,
        reverse_weight: float = 0.0,
        warm_up_steps: int = 0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        watch: Collection[str] = ("hidden", "memory"),
        discriminators: Mapping[str, Any] | None = None,
        weights: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(generator, SequenceGenerator):
            raise TypeError(
                f"generator must be a SequenceGenerator, got {type(generator).__name__}."
            )
        fields = _watched_fields(watch, generator.cell)
        own = {"hidden": hidden_discriminator, "memory": memory_discriminator}
        given = {**own, **_of_fields("discriminators", discriminators, fields)}
        own = {"hidden": hidden_weight, "memory": memory_weight}
        numbers = {**own, **_of_fields("weights", weights, fields)}
        numbers = {
            field: validation.real_number(f"{field}_weight", numbers.get(field, 1.0), 0.0)
            for field in fields
        }
        reverse_weight = validation.real_number("reverse_weight", reverse_weight, 0.0)
        super().__init__(
            generator,
            watched={field: f"{field}_discriminator" for field in fields},
            discriminators={field: given.get(field) for field in fields},
            weights=numbers,
            costs={field: _COSTS.get(field, f"c_{field}") for field in fields},
            gate=gate,
            warm_up_steps=warm_up_steps,
            label_smoothing=label_smoothing,
            seed=seed,
            shortest=2,  # one step is the same in both modes: nothing to tell apart
            **kwargs,
        )
        self.reverse_weight = reverse_weight
        self.watch = fields

    @property
    def hidden_discriminator(self) -> keras.layers.Layer:
        """The discriminator of hidden states, D_h."""
        return self.adversaries["hidden"].discriminator

    @property
    def memory_discriminator(self) -> keras.layers.Layer:
        """The discriminator of memory matrices, D_m."""
        return self.adversaries["memory"].discriminator

    @backend.step
    def train_step(self, data: Any) -> dict[str, Tensor]:
        """One step of all players: eq. 7 for each discriminator, eq. 9 for the generator."""
        batch, variables = self._batch(data), self.generator.trainable_variables

        def behave():
            (logits, real), (_, free) = self._both_modes(batch)
            nll = self._scored(batch, logits, real, training=True).loss  # with the cell's own
            real, free = ([getattr(trace, f) for f in self.watch] for trace in (real, free))
            return [replicas.mean(nll), *free, *(real if self.reverse_weight else ())], (nll, real)

        (mean_nll, *free), (nll, real), pull = backend.pullback(behave, variables)
        scale = self.optimizer.scale_loss(ops.ones_like(mean_nll))
        mask = None if batch.sample_weight is None else ops.cast(batch.sample_weight, "bool")
        loss, terms = nll, {"nll": mean_nll}
        to_free, to_real = [], []
        # One discriminator after the other: side by side they need twice the memory.
        before: list[Tensor] = []
        for index, (field, adversary) in enumerate(self.adversaries.items()):
            weight = self.cost_weights[field] * self._warm(nll.dtype)
            reverse = weight * self.reverse_weight if self.reverse_weight else None
            with backend.after(before):
                outcome = adversary.play(
                    real[index],
                    free[index],
                    scale=scale * weight,
                    reverse_scale=None if reverse is None else scale * reverse,
                    mask=mask,
                )
            loss = loss + weight * outcome.cost
            to_free.append(outcome.gradients["fake"])
            if reverse is not None:
                loss = loss + reverse * outcome.reverse_cost
                to_real.append(outcome.gradients["real"])
            terms[self._costs[field]] = outcome.gradients
            before = to_free[-1:]
            self._track_game(field, outcome)
        # Not before: both modes run side by side, and one of them alone would leave a core idle.
        with backend.after(before):
            gradients, _ = pull([scale, *to_free, *to_real])
        self._updates.apply(self.optimizer, gradients, variables, terms)
        self._logs.track({"loss": loss})
        return self.get_metrics_result()

    def _both_modes(self, batch):
        """Teacher forcing, and free running; each replica takes its rows of the noise."""
        x = batch.targets
        shape = (replicas.size(x), ops.shape(x)[1], self.generator.output.noise_size)
        noise = keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")
        noise = replicas.own(noise, x)
        keep = self._kept(self.watch)
        return self.generator.in_both_modes(batch.inputs, noise, training=True, keep=keep)

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        config = {**super().get_config(), "reverse_weight": self.reverse_weight}
        others = [field for field in self.watch if field not in _COSTS]
        for field in set(self.watch) & set(_COSTS):
            discriminator = self.adversaries[field].discriminator
            config[f"{field}_discriminator"] = keras.saving.serialize_keras_object(discriminator)
            config[f"{field}_weight"] = self.cost_weights[field]
        config["watch"] = list(self.watch)
        config["weights"] = {field: self.cost_weights[field] for field in others}
        config["discriminators"] = {
            field: keras.saving.serialize_keras_object(self.adversaries[field].discriminator)
            for field in others
        }
        return config


def _watched_fields(watch, cell):
    """`watch` as a tuple of fields of a trace of tensors.

    Raises:
        TypeError: it is no collection of names.
        ValueError: it is empty, or a name is none.
    """
    names = isinstance(watch, (tuple, list)) and all(isinstance(name, str) for name in watch)
    if not names:
        raise TypeError(f"watch must be names of fields of the trace, got {watch!r}.")
    known = [f for f in cell.state_type._fields if f not in ("controller", *cell.integer_fields)]
    unknown = [name for name in watch if name not in known]
    if unknown or not watch or len(set(watch)) < len(watch):
        raise ValueError(f"watch must name fields of the trace, {known}, once each, got {watch!r}.")
    return tuple(watch)


def _of_fields(argument, given, fields):
    """A mapping by watched fields other than "hidden" and "memory"; None is an empty one."""
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise TypeError(f"{argument} must map fields of the trace, got {given!r}.")
    wrong = [field for field in given if field not in fields or field in _COSTS]
    if wrong:
        raise ValueError(
            f"{argument} must be of watched fields other than {list(_COSTS)}, which have arguments "
            f"of their own; got {wrong}."
        )
    return given
