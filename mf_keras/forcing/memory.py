"""Professor and Memory Forcing: free-running behaviour made like teacher-forced behaviour."""

from collections.abc import Collection, Mapping
from typing import Any

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import replicas
from mf_keras.forcing.adversarial import AdversarialForcing
from mf_keras.forcing.adversary import DEFAULT_GATE
from mf_keras.forcing.reinforce import baseline
from mf_keras.models import SequenceGenerator, free_running
from mf_keras.models.generator import parts_of
from mf_keras.models.unroll import dropout_masks
from mf_keras.types import Config, Tensor

# Logs of `score_function`: the sizes of two parts of the generator's gradient.
_SIZES = ("pathwise_gradient", "score_function_gradient")
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
    gradient of C flows through the free-running trace only, as in the papers and all ports. That is
    one of two parts of it. With f = -log D(behaviour), and samples y of the generator,

        grad C = E[grad f] + E[(f - b) grad log p(y)]

    and the second one, how the choice of samples changes the behaviour, is added by
    `score_function=True`, with the mean f of the other rows as b. It has no bias, but a variance
    that the first one does not have; the last step, which no behaviour depends on, is left out.

    Logs beside those of `TeacherForcing`, for every watched field: its cost `c_h`, `c_m`, or
    `c_FIELD` (eq. 8, nats), `FIELD_discriminator_loss` (eq. 7, nats), `..._accuracy`, and
    `..._gate_open`, the share of steps in which the generator received its gradient; `loss` is NLL
    plus the weighted costs, whether the gates are open or not. `evaluate` is free of adversarial
    terms. With `score_function`, which runs the free run twice, also
    `pathwise_gradient` and `score_function_gradient`: the lengths of the two parts of the gradient,
    both weighted and gated.

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
        score_function: whether the generator's gradient has its second part.
        discriminator_steps: updates of each discriminator for one of the generator's. All but the
            last see further free runs, from noise of their own, before the generator's gradient is
            taken. Each is a part of the compiled step, which takes longer to compile.
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
        score_function: bool = False,
        discriminator_steps: int = 1,
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
        score_function = validation.boolean("score_function", score_function)
        discriminator_steps = validation.positive_int("discriminator_steps", discriminator_steps)
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
            logs=_SIZES if score_function else (),
            shortest=2,  # one step is the same in both modes: nothing to tell apart
            **kwargs,
        )
        self.reverse_weight = reverse_weight
        self.watch = fields
        self.score_function = score_function
        self.discriminator_steps = discriminator_steps

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
        behave = self._apart if self.score_function else self._side_by_side
        mean_nll, nll, real, free, pull = behave(batch, variables)
        scale = self.optimizer.scale_loss(ops.ones_like(mean_nll))
        mask = None if batch.sample_weight is None else ops.cast(batch.sample_weight, "bool")
        loss, terms = nll, {"nll": mean_nll}
        to_free, to_real = [], []
        to_choices: Any = 0.0  # of log p of the samples, (B,)
        for _ in range(self.discriminator_steps - 1):
            self._teach(batch, real, mask)
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
            if self.score_function:
                excess = outcome.costs - baseline(outcome.costs, "leave_one_out")
                to_choices += scale * weight * outcome.gate_open * excess
            terms[self._costs[field]] = outcome.gradients
            before = to_free[-1:]
            self._track_game(field, outcome)
        # Not before: both modes run side by side, and one of them alone would leave a core idle.
        with backend.after(before):
            gradients = pull(scale, to_free, to_real, to_choices)
        self._updates.apply(self.optimizer, gradients, variables, terms)
        self._logs.track({"loss": loss})
        return self.get_metrics_result()

    def _teach(self, batch, real, mask):
        """Let the discriminators learn from another free run; the generator stays as it is."""
        thresholds = self.generator.output.thresholds(self._noise(batch.targets), 1.0)
        inputs = free_running.with_context(thresholds, parts_of(batch.inputs)[1])
        _, _, trace = free_running.free_run(
            self.generator.cell, self.generator.output, inputs, training=True, keep=self.watch
        )
        both = None if mask is None else ops.concatenate([mask, mask])
        for index, (field, adversary) in enumerate(self.adversaries.items()):
            adversary.learn(real[index], getattr(trace, field), both)

    def _side_by_side(self, batch, variables):
        """`(mean_nll, nll, real, free, pull)` of both modes, which run side by side.

        `pull(scale, to_free, to_real, _)` gives the generator's gradient.
        """
        keep = self._kept(self.watch)

        def behave():
            noise = self._noise(batch.targets)
            (logits, real), (_, free) = self.generator.in_both_modes(
                batch.inputs, noise, training=True, keep=keep
            )
            nll = self._scored(batch, logits, real, training=True).loss  # with the cell's own
            real, free = ([getattr(trace, f) for f in self.watch] for trace in (real, free))
            return [replicas.mean(nll), *free, *(real if self.reverse_weight else ())], (nll, real)

        (mean_nll, *free), (nll, real), pull = backend.pullback(behave, variables)

        def gradient(scale, to_free, to_real, _):
            return pull([scale, *to_free, *to_real])[0]

        return mean_nll, nll, real, free, gradient

    def _apart(self, batch, variables):
        """As `_side_by_side`, with the parts of the gradient apart, whose sizes are logged.

        The free run is run twice, for its trace and for the probabilities of its samples. `pull`
        also takes the cotangents (B,) of these.
        """
        generator, keep = self.generator, self._kept(self.watch)
        thresholds = generator.output.thresholds(self._noise(batch.targets), 1.0)
        inputs = free_running.with_context(thresholds, parts_of(batch.inputs)[1])
        masks = dropout_masks(generator.cell, inputs, training=True)

        def run(keep):
            options = {"training": True, "chunk": generator.chunk, "masks": masks, "keep": keep}
            return free_running.free_run(generator.cell, generator.output, inputs, **options)

        def behave():
            logits, trace = generator.trace(batch.inputs, training=True, keep=keep)
            nll = self._scored(batch, logits, trace, training=True).loss
            real = [getattr(trace, f) for f in self.watch]
            return [replicas.mean(nll), *(real if self.reverse_weight else ())], (nll, real)

        def behave_freely():
            trace = run(self.watch)[2]
            return [getattr(trace, f) for f in self.watch], None

        def choose():
            samples, logits, _ = run(())
            return [self._log_probabilities(batch, samples, logits)], None

        (mean_nll, *_), (nll, real), pull_real = backend.pullback(behave, variables)
        free, _, pull_free = backend.pullback(behave_freely, variables)
        _, _, pull_choices = backend.pullback(choose, variables)

        def gradient(scale, to_free, to_real, to_choices):
            rows = ops.cast(replicas.size(to_choices), to_choices.dtype)
            parts = [pull_free(to_free)[0], pull_choices([to_choices / rows])[0]]
            for name, part in zip(_SIZES, parts, strict=True):
                size = _length(replicas.summed(part)) / ops.cast(scale, "float32")
                self._logs.track({name: size})
            parts.append(pull_real([scale, *to_real])[0])
            return [_added(each) for each in zip(*parts, strict=True)]

        return mean_nll, nll, real, free, gradient

    def _noise(self, x):
        """Of the free run, (B, T, noise_size)."""
        shape = (replicas.size(x), ops.shape(x)[1], self.generator.output.noise_size)
        noise = keras.random.uniform(shape, seed=self.seed_generator, dtype="float32")
        return replicas.own(noise, x)

    def _log_probabilities(self, batch, samples, logits):
        """log p of the samples that a behaviour depends on, (B,): of the steps before the last."""
        counts = batch.sample_weight
        counts = ops.ones(ops.shape(batch.targets)[:2]) if counts is None else counts
        counts = ops.concatenate([counts[:, 1:], ops.zeros_like(counts[:, :1])], axis=1)
        return -self.generator.output.nll(samples, logits, counts)

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        config = {**super().get_config(), "reverse_weight": self.reverse_weight}
        config["score_function"] = self.score_function
        config["discriminator_steps"] = self.discriminator_steps
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


def _added(gradients):
    """The sum of gradients of one variable, of which some may be None."""
    known = [gradient for gradient in gradients if gradient is not None]
    return sum(known[1:], known[0]) if known else None


def _length(gradients):
    """The Euclidean length of the gradients of all variables together."""
    known = [ops.cast(gradient, "float32") for gradient in gradients if gradient is not None]
    return ops.sqrt(sum(ops.sum(ops.square(gradient)) for gradient in known))


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
