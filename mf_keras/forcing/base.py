"""What the training algorithms share: one pass over a batch, building, compilation, saving."""

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mf_keras import backend, validation
from mf_keras.backend import strategies
from mf_keras.cells import check_dtype
from mf_keras.forcing import randomness
from mf_keras.forcing.checks import DataChecks
from mf_keras.forcing.data import CheckedData
from mf_keras.forcing.logs import Logs
from mf_keras.forcing.updates import Updates
from mf_keras.losses import binary_nll
from mf_keras.models.generator import SequenceGenerator
from mf_keras.models.transducer import SequenceTransducer, bit_errors


class Forward(NamedTuple):
    """What one teacher-forced pass gave."""

    nll: Any  # (B,), nats
    trace: Any  # the cell's named tuple with (B, T, ...) tensors
    correct: Any  # (B,) of bool, sequences without a wrong bit; None for a generator


def compiling_loops(step):
    """A step of a `Forcing` in which loops are compiled if `compile` was told so."""

    @functools.wraps(step)
    def run(self, data):
        with backend.compiling_loops(self._compiles_loops):
            return step(self, data)

    return run


class Forcing(Logs, CheckedData):
    """Trains a sequence model under `fit`; subclasses write `train_step`.

    Data are batches of x (B, T, units) for a `SequenceGenerator`, and of (x, y, sample_weight) for
    a `SequenceTransducer`. Arrays and `tf.data` datasets are checked: x (y for a transducer) must
    hold only 0 and 1.

    Logs of `fit` and `evaluate`, over whole sequences and whole epochs: `loss`; `nll`, nats per
    sequence; `bits_per_step` for a generator; for a transducer `correct_predictions`, the number of
    sequences so far whose every counted bit was right, and `bit_errors`, wrong bits per sequence.
    Callbacks of Keras that compare them cannot tell which way is better: give them `mode="min"`, or
    "max" for `correct_predictions` and accuracies.

    Under a `tf.distribute` strategy, in whose scope model and optimizers must be created, a step is
    what one replica would do with the global batch, to rounding: losses and metrics are its means
    and sums, whatever share of it a replica has, and gradients are clipped as a whole.

    Regularizers of weights, also of a discriminator's, count in every update and in no log. Losses
    that a layer adds by itself (`add_loss`) are not heard.

    Before any player's weights move, `fit` sees whether their gradient is finite. If not, the
    update is skipped: weights, momentum and `iterations` stay, as with a `LossScaleOptimizer`. The
    log `skipped_updates` counts the epoch's skipped updates of all players, the other logs leave
    values out that are not finite, and `StopOnNonFinite` ends a training that skips too many.
    """

    shortest = 1  # steps of a sequence
    watched = {}  # parts of the trace that discriminators see

    def __init__(self, model, **kwargs):
        if not isinstance(model, (SequenceGenerator, SequenceTransducer)):
            raise TypeError(
                "generator must be a SequenceGenerator or a SequenceTransducer, "
                f"got {type(model).__name__}."
            )
        dtype = check_dtype(kwargs.pop("dtype", None), model.cell)  # by it Keras scales losses
        super().__init__(**{"autocast": False, **kwargs, "dtype": dtype})
        self._distributed = tf.distribute.has_strategy()
        self._generates = isinstance(model, SequenceGenerator)
        self.generator = model
        self.built = model.built
        self._make_logs()
        self._updates = Updates(self._skipped, "model")
        self._compiles_loops = False

    def call(self, x, training=False):
        """The generator's logits."""
        return self.generator(x, training=training)

    def build(self, input_shape):
        """Build the generator for inputs of shape (B, T, D)."""
        if not self.generator.built:
            self.generator.build(input_shape)
            self.generator.built = True
        if self.compiled:
            self._build_optimizer()

    # Compilation and saving.

    def compile(
        self,
        optimizer="adam",
        jit_compile="auto",
        run_eagerly=False,
        steps_per_execution=1,
        **kwargs,
    ):
        """Configure training.

        Args:
            optimizer: a Keras optimizer for the generator.
            jit_compile: what XLA compiles. "loops": every loop over time by itself, for parts of
                the batch that run side by side on the cores of a CPU; "auto" is the same. True:
                the whole step as one program, which keeps little more than one core busy, but
                costs least beside the loops: for batches of a few sequences. False: nothing.
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
        strategies.check_steps(steps_per_execution, self._distributed)
        if not run_eagerly:
            strategies.check_whole_step(jit_compile, self._distributed)
        self._compiles_loops = jit_compile in ("auto", "loops") and not run_eagerly
        super().compile(
            optimizer=optimizer,
            jit_compile=jit_compile is True and not run_eagerly,
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
        if self._distributed:
            strategies.check_variables(self)
            strategies.check_optimizer("optimizer", self.optimizer, self.distribute_strategy)
        self._build_optimizer()

    def _build_optimizer(self):
        # An optimizer that is not built when a checkpoint is read would be reset.
        if self.generator.built and not self.optimizer.built:
            self.optimizer.build(self.generator.trainable_variables)

    def get_compile_config(self):
        """Arguments for `compile`, serialized; none of a model that is not compiled."""
        if not self.compiled:
            return {}
        optimizer = keras.optimizers.serialize(self.optimizer)
        return {"optimizer": optimizer, **self._compile_arguments}

    def compile_from_config(self, config):
        """Compile with what `get_compile_config` gave.

        Under a strategy, what only makes one replica faster is left out.
        """
        if self._distributed:
            loops = config["jit_compile"] and "loops"
            config = {**config, "jit_compile": loops, "steps_per_execution": 1}
        optimizer = keras.saving.deserialize_keras_object(config["optimizer"])
        self.compile(**{**config, "optimizer": optimizer})

    def export(self, *args, **kwargs):
        """The `export` of the generator or transducer that is trained."""
        return self.generator.export(*args, **kwargs)

    def save_own_variables(self, store):
        """Keep the random states, too, so that a resumed run is the same run."""
        super().save_own_variables(store)
        randomness.save(self, store)

    def load_own_variables(self, store):
        """Restore what `save_own_variables` kept."""
        super().load_own_variables(store)
        randomness.load(self, store)

    def get_config(self):
        """The constructor's arguments, the generator serialized."""
        return {
            **super().get_config(),
            "generator": keras.saving.serialize_keras_object(self.generator),
        }

    @classmethod
    def from_config(cls, config):
        """A model from what `get_config` gave."""
        generator = keras.saving.deserialize_keras_object(config["generator"])
        return cls(**{**config, "generator": generator, "dtype": None})  # the cell's own

    # Steps.

    @compiling_loops
    def test_step(self, data):
        """Metrics of one batch, free of any forcing term."""
        self._track(training=False, loss=self._forward(data, training=False).nll)
        return self._results(self._evaluation_names())

    @compiling_loops
    def predict_step(self, data):
        """The logits of one batch."""
        x, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self.generator(x, training=False)  # not `self`, which Keras would build in whole

    def _forward(self, data, training):
        """One teacher-forced pass over a batch; updates the metrics."""
        x, y, sample_weight = self._unpacked(data)
        keep = tuple(self.watched) if training else ()
        if self._generates:
            logits, trace = self.generator.teacher_force(x, training=training, keep=keep)
            return Forward(self._scored(x, logits, training), trace, correct=None)
        logits, trace = self.generator.trace(x, training=training, keep=keep)
        nll = binary_nll(y, logits, sample_weight)
        errors = bit_errors(y, logits, sample_weight)
        right = ops.equal(errors, 0.0)
        self._trackers["correct_predictions"].update_state(ops.cast(right, "float32"))
        self._track(training, nll=nll, bit_errors=errors)
        return Forward(nll, trace, right)

    def _unpacked(self, data):
        """(x, y, sample_weight) of a batch; a stream's are seen here for the first time."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        checks = self._checks()
        checks.alone("a batch", y, sample_weight)
        if not self._generates:
            checks.fitting("a batch", x, y, sample_weight)
        return x, y, sample_weight

    def _scored(self, x, logits, training):
        """The NLL of a generator's data, (B,); updates the metrics."""
        nll = binary_nll(x, logits)
        steps = ops.cast(ops.shape(x)[1], nll.dtype)
        self._track(training, nll=nll, bits_per_step=nll / (np.log(2.0) * steps))
        return nll

    # Data, and building by them.

    def _checks(self):
        size = self.generator.cell.input_size
        return DataChecks(self.generator.units, not self._generates, self.shortest, size)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Do nothing, since all is built already.

        Keras would average a batch over the replicas to build by, which fails between workers, and
        where the replicas have different numbers of rows.
        """

    def _build_for(self, x, training):
        """Build by the shape of the data; what is built in a step would not be saved whole."""
        if self.built:
            return
        build = self.build if training else self._build_to_predict
        if isinstance(x, tf.data.Dataset):
            x = x.element_spec
        elif isinstance(x, keras.utils.PyDataset):
            x = x[0]
        x = x[0] if isinstance(x, tuple) else x
        if not hasattr(x, "shape"):
            raise ValueError(
                "x must tell the shape of its batches, or build((None, T, D)) must be called "
                f"before, got a {type(x).__name__}."
            )
        with self.distribute_strategy.scope():
            build(tuple(x.shape))

    def _build_to_predict(self, input_shape):
        """Build what `evaluate` and `predict` need."""
        self.build(input_shape)


def get_optimizer(name, given):
    """A Keras optimizer from itself, its name or its configuration.

    Raises:
        ValueError: it is none that Keras knows.
    """
    try:
        found = keras.optimizers.get(given)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise ValueError(f"{name} must be a Keras optimizer, got {given!r}.") from error
    if not isinstance(found, keras.optimizers.Optimizer):
        raise ValueError(f"{name} must be a Keras optimizer, got {given!r}.")
    return found
