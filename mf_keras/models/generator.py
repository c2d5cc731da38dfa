"""SequenceGenerator: an autoregressive model of binary sequences with a memory."""

import keras
from keras import ops

from mf_keras import backend, validation
from mf_keras.cells import MemoryCell, check_dtype
from mf_keras.losses import binary_nll
from mf_keras.models import free_running
from mf_keras.models.unroll import check_chunk, unroll


@keras.saving.register_keras_serializable(package="mf_keras")
class SequenceGenerator(keras.Model):
    """Models binary sequences one step at a time: p(x) = prod_t p(x_t | x_1..x_{t-1}).

    A memory cell reads the sequence shifted right by one step, beginning with zeros, and gives the
    logits of the next step, so logit t depends on x[:, :t] alone. One loop, `unroll`, serves all:
    teacher forcing feeds the data, free running feeds the model's own samples.

        generator = SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=1))
        logits = generator(x)                                   # (B, T, 1)
        images = generator.sample(16, length=784, seed=0)       # (16, 784, 1)

    Samples are a pure function of weights, seed and temperature: step t is 1 where the noise
    u_t < sigmoid(logit_t / temperature). Temperature 0 takes the likelier value at every step, and
    0 where both are equally likely.

    The weights are created at once; no input shape is needed.

    Args:
        cell: a memory cell, e.g. `DNCCell`; its `units` is the size of a step of the sequences.
        chunk: None, or "sqrt" or a number of steps to train long sequences in little memory: the
            gradient keeps the states at the ends of such chunks alone, as `unroll` explains.
        dtype: None, or the cell's. The controller computes in its own: give it to that as well.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `cell` is no memory cell, or `chunk` has the wrong type.
        ValueError: `cell` is built already, for inputs of another size than `units`, or `chunk` is
            below 1 or an unknown word, or `dtype` is not the cell's.
    """

    def __init__(self, cell, chunk=None, dtype=None, **kwargs):
        if not isinstance(cell, MemoryCell):
            raise TypeError(f"cell must be a memory cell such as DNCCell, got {cell!r}.")
        chunk = check_chunk(chunk)
        # The cell casts its own weights, step by step; cast here, their gradients would be rounded.
        dtype = check_dtype(dtype, cell)
        super().__init__(**{"autocast": False, **kwargs, "dtype": dtype})
        self.cell = cell
        self.chunk = chunk
        self.units = cell.units
        if not cell.built:
            cell.build((None, cell.units))
            cell.built = True
        if cell.input_size != cell.units:
            raise ValueError(
                f"cell must read what it predicts, sequences of {cell.units} unit(s), but this "
                f"cell is built for inputs of size {cell.input_size}."
            )
        self.built = True
        self._compiled_sample = backend.CompiledFor(
            cell, lambda noise: self._free_run(noise, keep=())[0]
        )
        self._compiled_complete = backend.CompiledFor(cell, self._complete)

    def call(self, x, training=False):
        """Logits of every step, teacher-forced.

        Args:
            x: (B, T, units) of 0/1.
            training: passed on to the cell.

        Returns:
            (B, T, units); logit t depends on x[:, :t] alone.
        """
        logits, _ = self.teacher_force(x, training=training, keep=())
        return logits

    def teacher_force(self, x, training=False, keep=None):
        """Logits and trace with the data as input.

        Args:
            x: (B, T, units) of 0/1.
            training: passed on to the cell.
            keep: names of the fields that the trace shall have; the others are None. None for all.
                The gradient needs their states all the same, unless there are chunks.

        Returns:
            `(logits, trace)`: (B, T, units), and the cell's named tuple with (B, T, ...) tensors.
        """
        x = self._check("x", x)
        return free_running.teacher_force(
            self.cell, x, training=training, keep=keep, chunk=self.chunk
        )

    def nll(self, x, training=False):
        """Negative log-likelihood of whole sequences.

        Args:
            x: (B, T, units) of 0/1.
            training: passed on to the cell.

        Returns:
            (B,), nats, summed over T and units, in at least float32.

        Raises:
            ValueError: x has another shape or other values.
        """
        x = self._check("x", x)
        return binary_nll(x, self(x, training=training))

    def sample(self, num_samples, length, seed, temperature=1.0):
        """Draw sequences from the model.

        Args:
            num_samples: how many.
            length: number of steps T.
            seed: int >= 0, or a `keras.random.SeedGenerator`.
            temperature: divides the logits; 1 for the model itself, 0 for the mode of each step.

        Returns:
            (num_samples, length, units) of 0/1.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
        """
        num_samples = validation.positive_int("num_samples", num_samples)
        length = validation.positive_int("length", length)
        return self._compiled_sample(self._thresholds(num_samples, length, seed, temperature))

    def free_run(self, batch_size, length, seed, temperature=1.0, keep=None):
        """Draw sequences and keep what the model did meanwhile.

        Samples are detached draws; gradients flow through logits and trace. Runs as it is called:
        step by step in eager code, compiled inside a compiled function.

        Args:
            batch_size: number of sequences B, an int or a scalar tensor.
            length: number of steps T, an int or a scalar tensor.
            seed: int >= 0, or a `keras.random.SeedGenerator`.
            temperature: as in `sample`.
            keep: names of the fields that the trace shall have, as in `teacher_force`.

        Returns:
            `(samples, logits, trace)`: (B, T, units) of 0/1; (B, T, units); the cell's named tuple
            with (B, T, ...) tensors.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
        """
        if not ops.is_tensor(batch_size):
            batch_size = validation.positive_int("batch_size", batch_size)
        if not ops.is_tensor(length):
            length = validation.positive_int("length", length)
        thresholds = self._thresholds(batch_size, length, seed, temperature)
        return self._free_run(thresholds, keep=keep)

    def complete(self, prefix, length, seed, temperature=1.0):
        """Continue sequences from their beginnings.

        Args:
            prefix: (B, t0, units) of 0/1.
            length: number of steps of the result, at least t0.
            seed: int >= 0, or a `keras.random.SeedGenerator`.
            temperature: as in `sample`.

        Returns:
            (B, length, units) of 0/1, beginning with the prefix.

        Raises:
            TypeError, ValueError: an argument has the wrong type, shape or range.
        """
        prefix = self._check("prefix", prefix)
        if prefix.shape[1] is None:
            raise ValueError("prefix must have a known number of steps, got one that is unknown.")
        length = validation.positive_int("length", length, minimum=prefix.shape[1])
        rest = length - prefix.shape[1]
        if rest == 0:
            return prefix
        thresholds = self._thresholds(ops.shape(prefix)[0], rest, seed, temperature)
        return self._compiled_complete(prefix, thresholds)

    def export(self, filepath, length, card=None, overwrite=False, jit_compile=False):
        """Write a SavedModel that TF Serving samples from, without Keras.

            generator.export("saved_models/digits/1", length=64)

        In place of Keras' own `export`, it writes the signatures `sample` (also the default),
        `score`, `complete` and `trace`; the model card beside them says what they take and give.
        Seeds are the requests' own, one a row: they give other samples than `generator.sample`.
        Temperature 0 is refused; a small one, such as 1e-6, takes the likelier value at every step.

        Beside the version stand `models.config` and `batching.config` for the server; they are
        written where they are not there yet. The version itself is written aside and renamed.

        Args:
            filepath: ROOT/NAME/VERSION, VERSION an integer >= 1.
            length: T, the number of steps of every sequence.
            card: a dict of text by heading for the model card: `data`, `method`, `NLL`, `command`.
            overwrite: replace the version if it is there.
            jit_compile: let XLA compile the loop over time, anew for every batch size. A server
                needs XLA's compiler for it, which the official images may lack.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
            FileExistsError: the version is there, and `overwrite` is False.
            ImportError: the extra `[serving]` is not installed.
        """
        from mf_keras import export  # a model does not need its deployment

        export.save(self.cell, filepath, length, card, overwrite, jit_compile)

    def _free_run(self, thresholds, state=None, keep=None):
        """Free running as a function of weights and thresholds (B, T, units) alone."""
        return free_running.free_run(self.cell, thresholds, state, keep=keep, chunk=self.chunk)

    def _complete(self, prefix, thresholds):
        _, _, state = unroll(self.cell, free_running.shift_right(prefix), keep=())
        start = free_running.FreeRunningState(samples=prefix[:, -1], cell=state)
        samples, _, _ = self._free_run(thresholds, start, keep=())
        return ops.concatenate([prefix, samples], axis=1)

    def _thresholds(self, batch_size, length, seed, temperature):
        """What a logit must exceed for a 1, of shape (batch_size, length, units)."""
        if not isinstance(seed, keras.random.SeedGenerator):
            seed = validation.seed("seed", seed)
        if backend.is_concrete(temperature):
            temperature = ops.convert_to_numpy(temperature)[()]
        if ops.is_tensor(temperature):
            validation.shape_of("temperature", temperature, ())
        else:
            temperature = validation.real_number("temperature", temperature, minimum=0.0)
        noise = keras.random.uniform((batch_size, length, self.units), seed=seed, dtype="float32")
        return free_running.thresholds(noise, temperature)

    def _check(self, name, x):
        x = backend.to_tensor(name, x)
        validation.shape_of(name, x, ("B", "T", self.units))
        if backend.is_concrete(x):
            validation.binary_values(name, ops.convert_to_numpy(x))
        return ops.cast(x, self.cell.compute_dtype)

    def get_config(self):
        """The constructor's arguments, the cell serialized."""
        return {
            **super().get_config(),
            "cell": keras.saving.serialize_keras_object(self.cell),
            "chunk": self.chunk,
        }

    @classmethod
    def from_config(cls, config):
        """A generator from what `get_config` gave."""
        cell = keras.saving.deserialize_keras_object(config["cell"])
        return cls(**{**config, "cell": cell, "dtype": None})  # the cell's own
