"""What the training algorithms share: one pass over a batch, compilation, building, saving."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import keras

from mf_keras import backend, validation
from mf_keras.backend import datasets, replicas
from mf_keras.cells import check_dtype, check_losses
from mf_keras.forcing.checked import checked, stream_checks
from mf_keras.forcing.data import Batch, data_of
from mf_keras.forcing.metrics import HasLogs, Logs
from mf_keras.forcing.updates import Updates, get_optimizer, set_settings, settings
from mf_keras.models import SequenceGenerator, SequenceTransducer
from mf_keras.states import KeepsStates, random_states
from mf_keras.types import Config, Shape, Tensor


class Forward(NamedTuple):
    """What one pass over a batch gave."""

    nll: Any  # (B,), nats
    loss: Any  # (B,), NLL and the losses of the cell's own
    logits: Any  # (B, T, size)
    trace: Any  # the cell's named tuple with (B, T, ...) tensors
    correct: Any  # (B,) of 0/1, sequences without an error; None for a generator


class Forcing(HasLogs, KeepsStates, keras.Model):
    """Trains a sequence model under `fit`; subclasses write `train_step`.

    Data are batches of x (B, T, *step) for a `SequenceGenerator`, and of (x, y, sample_weight) for
    a `SequenceTransducer`, in the form of the model's output. They are checked: arrays at once,
    streams as they come. Sequences of unequal length for a generator are padded at their ends:
    `fit(x, sample_weight=w)`, or a stream of (x, None, w), with w (B, T), 1 on the steps of a
    sequence and 0 on its padding. What the padding holds makes no difference.

    Logs of `fit` and `evaluate`, over whole sequences and whole epochs: `loss`; `nll`, nats per
    sequence; for a generator `nll_per_step` and `bits_per_step`, nats and bits per counted step;
    for a transducer `correct_predictions`, the number of sequences so far whose every counted step
    was right, and `bit_errors` (or the log that the output names), errors per sequence.
    The progress line shows a few of them, the history and callbacks have all. Callbacks of Keras
    that compare them, as `EarlyStopping("val_nll")`, `ModelCheckpoint` and `ReduceLROnPlateau` do,
    learn from `fit` which way is better; KerasTuner takes `Objective("val_nll", "min")`.

    Under a `tf.distribute` strategy, in whose scope model and optimizers must be created, a step is
    what one replica would do with the global batch, to rounding: losses and metrics are its means
    and sums, whatever share of it a replica has, and gradients are clipped as a whole.

    A cell may have losses of its own on the trace (`MemoryCell.trace_losses`). They are added to
    the NLL in every step and in `loss`, and each is a log, of `evaluate` too.

    Regularizers of weights, also of a discriminator's, count in every update and in no log. Losses
    that a layer adds by itself (`add_loss`) are not used.

    Before any player's weights move, `fit` sees whether their gradient is finite. If not, the
    update is skipped: weights, momentum and `iterations` stay, as with a `LossScaleOptimizer`. The
    log `skipped_updates` counts the epoch's skipped updates of all players, the other logs leave
    values out that are not finite, and `StopOnNonFinite` ends a training that skips too many.

    Args:
        model: what is trained.
        logs: names of the logs of `fit` beside those of `evaluate`.
        players: who moves weights: name -> terms of the loss; the model is the first.
        shortest: steps that a sequence must have.
        **kwargs: `name`, as for every Keras model.
    """

    trains: Any = (SequenceGenerator, SequenceTransducer)
    main_log = "nll"  # what is logged after `loss`, and shown in the progress line

    def __init__(
        self,
        model: Any,
        logs: Iterable[str] = (),
        players: Mapping[str, Sequence[str]] | None = None,
        shortest: int = 1,
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, self.trains):
            raise TypeError(
                "generator must be a SequenceGenerator or a SequenceTransducer, "
                f"got {type(model).__name__}."
            )
        dtype = check_dtype(kwargs.pop("dtype", None), model.cell)  # by it Keras scales losses
        super().__init__(**{"autocast": False, **kwargs, "dtype": dtype})
        self.generator: Any = model
        self.built = model.built
        self.data = data_of(model, shortest)
        self.compiles_loops: bool | str = False
        self.distributed = replicas.distributed()
        self._cell_losses = check_losses(model.cell)
        logs = list(logs)
        taken = sorted(set(self._cell_losses) & {*self.data.logs, *logs})
        if taken:
            raise ValueError(
                f"trace_loss_fields of the cell must not use the names of logs, got {taken}."
            )
        evaluation = ["loss", self.main_log, *self.data.logs, *self._cell_losses]
        self._logs = Logs(evaluation, logs, players, self.data.highest)
        self._updates = Updates(self._logs.skipped, "model")

    def call(self, x: Tensor, training: bool = False) -> Tensor:
        """The logits of the model that is trained."""
        return self.generator(x, training=training)

    # The steps, and what they are made of.

    @backend.step
    def test_step(self, data: Any) -> dict[str, Tensor]:
        """Metrics of one batch, free of any forcing term."""
        forward = self._forward(self._batch(data), training=False)
        self._logs.track({"loss": forward.loss}, training=False)
        return self._logs.results(training=False)

    @backend.step
    def predict_step(self, data: Any) -> Tensor:
        """The logits of one batch."""
        x = self.data.inputs(data)
        if self.distributed:
            (x,) = datasets.checked(
                (x,), lambda parts, _: self.data.conditions_of_inputs("x", *parts)
            )
        return self.generator(x, training=False)

    def _batch(self, data: Any) -> Batch:
        """The batch of a step; under a strategy, whose datasets nobody can look at, checked now."""
        batch = self.data.batch(data)
        if not self.distributed:
            return batch
        parts = keras.utils.unpack_x_y_sample_weight(data)
        return self.data.batch(datasets.checked(parts, *stream_checks(self.data, "x")))

    def _forward(self, batch: Batch, training: bool, keep: Sequence[str] = ()) -> Forward:
        """One teacher-forced pass over a batch; updates the metrics."""
        keep = self._kept(keep)
        logits, trace = self.generator.trace(batch.inputs, training=training, keep=keep)
        return self._scored(batch, logits, trace, training)

    def _scored(self, batch: Batch, logits: Tensor, trace: Any, training: bool) -> Forward:
        """What a pass gave; updates the metrics."""
        nll = self.generator.output.nll(batch.targets, logits, batch.sample_weight)
        measures = self.data.measures(batch, logits, nll)
        own = self._own_losses(batch, trace)
        self._logs.track({"nll": nll, **own}, training)
        self._logs.track(measures, training, self.data.measure_weight(batch, nll.dtype))
        loss = sum(own.values(), nll)
        return Forward(nll, loss, logits, trace, measures.get("correct_predictions"))

    def _kept(self, fields: Sequence[str]) -> tuple[str, ...]:
        """Fields of the trace, and those that the cell's own losses need."""
        needed = {field for fields in self._cell_losses.values() for field in fields}
        return (*fields, *sorted(needed - set(fields)))

    def _own_losses(self, batch: Batch, trace: Any) -> dict[str, Tensor]:
        """The losses of the cell's own, by name."""
        if not self._cell_losses:
            return {}
        found = self.generator.cell.trace_losses(trace, batch.sample_weight)
        return {name: found[name] for name in self._cell_losses}

    # Data: every method of Keras that takes some, on checked data.

    fit = checked(keras.Model.fit)
    evaluate = checked(keras.Model.evaluate)
    predict = checked(keras.Model.predict)
    train_on_batch = checked(keras.Model.train_on_batch)
    test_on_batch = checked(keras.Model.test_on_batch)
    predict_on_batch = checked(keras.Model.predict_on_batch)

    # Building.

    def build(self, input_shape: Shape) -> None:
        """Build the model that is trained for inputs of shape (B, T, ...)."""
        if not self.generator.built:
            self.generator.build(input_shape)
            self.generator.built = True
        if self.compiled:
            self._build_optimizer()

    def build_for(self, x: Any, training: bool) -> None:
        """Build by the shape of the data; what is built in a step would not be saved whole.

        Args:
            x: what `fit` was given.
            training: whether everything is needed, or only what evaluates and predicts.

        Raises:
            ValueError: x does not tell the shape of its batches.
        """
        if self.built or (self.generator.built and not training):
            return
        x = getattr(x, "element_spec", x)
        if isinstance(x, keras.utils.PyDataset):
            x = x[0]
        x = x[0] if isinstance(x, tuple) else x
        while isinstance(x, dict):
            x = next(iter(x.values()))
        if not hasattr(x, "shape"):
            raise ValueError(
                "x must tell the shape of its batches, or build((None, T, D)) must be called "
                f"before, got a {type(x).__name__}."
            )
        with replicas.scope_of(self):
            if training:
                self.build(tuple(x.shape))
            else:
                Forcing.build(self, tuple(x.shape))

    def _build_optimizer(self):
        # An optimizer that is not built when a checkpoint is read would be reset.
        if self.generator.built and not self.optimizer.built:
            self.optimizer.build(self.generator.trainable_variables)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Do nothing, since all is built already.

        Under a strategy Keras would average a batch over the replicas to build by, which fails
        between workers, and where replicas have different numbers of rows. There is no public way
        to tell it not to.
        """

    _symbolic_build = _maybe_symbolic_build  # its name on JAX

    # Compilation.

    def compile(
        self,
        optimizer: Any = "adam",
        jit_compile: bool | str = "auto",
        run_eagerly: bool = False,
        steps_per_execution: int = 1,
        **kwargs: Any,
    ) -> None:
        """Configure training.

        Args:
            optimizer: a Keras optimizer for the generator or transducer.
            jit_compile: what XLA compiles. "loops": every loop over time by itself, for parts of
                the batch that run side by side on the cores of a CPU. "auto": the same where the
                data say how long they are, and nothing where the number of steps is None in the
                `element_spec` of a dataset, since XLA compiles anew for every length. True:
                the whole step as one program, which keeps little more than one core busy, but
                costs least beside the loops: for batches of a few sequences. False: nothing.
                A first `fit` takes 10 to 20 s of CPU time to compile even a tiny model, and as
                much for every further length; see docs/guides/lengths.md.
            run_eagerly: run step by step in Python, for debugging; turns `jit_compile` off. Under a
                strategy every batch then needs a row for every replica.
            steps_per_execution: training steps in one call of the compiled function.
            **kwargs: further arguments of `keras.Model.compile`, except `loss` and `metrics`, which
                the algorithm gives.

        Raises:
            TypeError: `loss`, `metrics` or `weighted_metrics` is given, or an argument has the
                wrong type.
            ValueError: `optimizer` is none that Keras knows, `steps_per_execution` is below 1, or,
                under a strategy, one program for the whole step, several `steps_per_execution` or
                accumulated gradients are asked for, or model or optimizer were created outside of
                its scope.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(name, None) is not None:
                raise TypeError(f"{name} must not be given: {type(self).__name__} has its own.")
        steps_per_execution = validation.positive_int("steps_per_execution", steps_per_execution)
        if isinstance(jit_compile, str):
            validation.one_of("jit_compile", jit_compile, ("auto", "loops"))
        else:
            jit_compile = validation.boolean("jit_compile", jit_compile)
        validation.boolean("run_eagerly", run_eagerly)
        optimizer = get_optimizer("optimizer", optimizer)
        replicas.check_steps(steps_per_execution, self.distributed)
        if not run_eagerly:
            replicas.check_whole_step(jit_compile, self.distributed)
        self.compiles_loops = False
        if not run_eagerly and isinstance(jit_compile, str):
            self.compiles_loops = "auto" if jit_compile == "auto" else True
        super().compile(
            optimizer=optimizer,
            jit_compile=backend.whole_step(jit_compile, run_eagerly),
            run_eagerly=run_eagerly,
            steps_per_execution=steps_per_execution,
            **kwargs,
        )
        self._compile_arguments = {
            "jit_compile": jit_compile,
            "run_eagerly": run_eagerly,
            "steps_per_execution": steps_per_execution,
            **kwargs,
        }
        if self.distributed:
            replicas.check_variables(self)
            replicas.check_optimizer("optimizer", self.optimizer, self.distribute_strategy)
        self._build_optimizer()

    def get_compile_config(self) -> Config:
        """Arguments for `compile`, serialized; none of a model that is not compiled."""
        if not self.compiled:
            return {}
        found = settings(self.optimizer)
        more = {"optimizer_settings": found} if found else {}
        optimizer = keras.optimizers.serialize(self.optimizer)
        return {"optimizer": optimizer, **more, **self._compile_arguments}

    def compile_from_config(self, config: Config) -> None:
        """Compile with what `get_compile_config` gave.

        Under a strategy, what only makes one replica faster is left out.
        """
        if self.distributed:
            loops = "loops" if config["jit_compile"] is True else config["jit_compile"]
            config = {**config, "jit_compile": loops, "steps_per_execution": 1}
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        set_settings(optimizer, config.get("optimizer_settings", {}))
        config = {name: value for name, value in config.items() if name != "optimizer_settings"}
        self.compile(**{**config, "optimizer": optimizer})

    # Saving.

    def export(self, *args: Any, **kwargs: Any) -> Any:
        """The `export` of the generator or transducer that is trained."""
        return self.generator.export(*args, **kwargs)

    def states(self) -> dict[str, Any]:
        """The logs of the epoch, and the random states."""
        return {**self._logs.saved_variables(), **random_states(self)}

    def get_config(self) -> Config:
        """The constructor's arguments, the generator serialized."""
        return {
            **super().get_config(),
            "generator": keras.saving.serialize_keras_object(self.generator),
        }

    @classmethod
    def from_config(cls, config: Config) -> "Forcing":
        """A model from what `get_config` gave."""
        parts = {
            name: keras.saving.deserialize_keras_object(value)
            for name, value in config.items()
            if isinstance(value, dict)
        }
        return cls(**{**config, **parts, "dtype": None})  # the cell's own
