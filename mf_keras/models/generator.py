"""SequenceGenerator: an autoregressive model of sequences with a memory."""

from typing import Any, Self

import keras
import numpy as np
from keras import ops

from mf_keras import backend, checkpoints, validation
from mf_keras.cells import MemoryCell
from mf_keras.models import free_running, presets
from mf_keras.models.sequence_model import SequenceModel
from mf_keras.models.unroll import unroll
from mf_keras.outputs import Output
from mf_keras.outputs.output import prefix_conditions, without_padding
from mf_keras.types import ArrayLike, Chunk, Config, Keep, Path, Seed, State, Tensor


@keras.saving.register_keras_serializable(package="mf_keras")
class SequenceGenerator(SequenceModel):
    """Models sequences one step at a time: p(x) = prod_t p(x_t | x_1..x_{t-1}).

    A memory cell reads the sequence shifted right by one step, beginning with zeros, and gives the
    parameters of the next step's distribution, such as logits; those of step t depend on x[:, :t]
    only. One loop, `unroll`, serves all: teacher forcing feeds the data, free running feeds the
    model's own samples.

        generator = SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=1))
        logits = generator(x)                                   # (B, T, 1), of bits x (B, T, 1)
        images = generator.sample(16, length=784, seed=0)       # (16, 784, 1)

        output = outputs.Categorical(65)                        # of tokens x (B, T)
        generator = SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=65), output)

    Samples are a pure function of weights, seed and temperature. Temperature 0 takes the likeliest
    value at every step.

    The weights are created at once; no input shape is needed.

    Args:
        cell: a memory cell, e.g. `DNCCell`; its `units` is the size of `output`.
        output: what a step is, an `mf_keras.outputs.Output`; None for `Bernoulli(cell.units)`.
        chunk: None, or "sqrt" or a number of steps to train long sequences in little memory
            (gradient checkpointing): the gradient keeps only the states at the ends of such chunks,
            as `unroll` explains.
        dtype: None, or the cell's. The controller computes in its own: give it to that as well.
        context_size: C, numbers of a context (B, C) that the cell reads beside every step, such as
            a class. Then every x is a dict {"sequence": x, "context": (B, C)}, and `sample`,
            `free_run` and `complete` take `context=`. 0 for no context.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: `cell` is no memory cell, `output` no output, or `chunk` has the wrong type.
        ValueError: `cell` is built already, for inputs of another size than `output` has, `output`
            is of another size than the cell's units, `chunk` is below 1 or an unknown word, or
            `dtype` is not the cell's.
    """

    def __init__(
        self,
        cell: MemoryCell,
        output: Output | None = None,
        chunk: Chunk = None,
        dtype: Any = None,
        context_size: int = 0,
        **kwargs: Any,
    ) -> None:
        context_size = validation.positive_int("context_size", context_size, minimum=0)
        super().__init__(cell, output, chunk, dtype, **kwargs)
        self.context_size = context_size
        self.output_layers = list(self.output.layers)  # their weights are the generator's
        size = self.output.input_size + context_size
        if not cell.built:
            cell.build((None, size))
            cell.built = True
        if cell.input_size != size:
            raise ValueError(
                f"cell must read what it predicts, {self.output.description}, and a context of "
                f"{context_size} numbers: {size} in all; but this cell is built for inputs of size "
                f"{cell.input_size}."
            )
        self.built = True
        self._compiled_sample = backend.CompiledFor(
            self, lambda noise: self._free_run(noise, keep=())[0]
        )
        self._compiled_complete = backend.CompiledFor(self, self._complete)

    def call(self, x: ArrayLike, training: bool = False) -> Tensor:
        """The parameters (logits) of every step, teacher-forced.

        Args:
            x: (B, T, *step), in the output's form: (B, T, units) of 0/1, (B, T) of tokens; with a
                context a dict, as everywhere.
            training: passed on to the cell.

        Returns:
            (B, T, size); those of step t depend on x[:, :t] only.
        """
        logits, _ = self.teacher_force(x, training=training, keep=())
        return logits

    def teacher_force(
        self, x: ArrayLike, training: bool = False, keep: Keep = None
    ) -> tuple[Tensor, State]:
        """Parameters (logits) and trace with the data as input.

        Args:
            x: (B, T, *step).
            training: passed on to the cell.
            keep: names of the fields that the trace shall have; the others are None. None for all.
                The gradient needs their states all the same, unless there are chunks.

        Returns:
            `(logits, trace)`: (B, T, size), and the cell's named tuple with (B, T, ...) tensors.
        """
        return self.trace(self._checked(x), training=training, keep=keep)

    def trace(
        self, inputs: ArrayLike, training: bool = False, keep: Keep = None
    ) -> tuple[Tensor, State]:
        """`teacher_force` on data that have been checked, as for a `SequenceTransducer`."""
        options: dict[str, Any] = {"training": training, "keep": keep, "chunk": self.chunk}
        return free_running.teacher_force(self.cell, self.output, *parts_of(inputs), **options)

    def in_both_modes(
        self,
        x: Tensor,
        noise: Tensor,
        training: bool = False,
        keep: Keep = None,
        samples: bool = False,
    ) -> list[tuple[Any, ...]]:
        """Teacher forcing on x and free running from noise, side by side.

        Args:
            x: (B, T, *step).
            noise: (B, T, noise_size), uniform in [0, 1).
            training: passed on to the cell.
            keep: as in `teacher_force`.
            samples: whether to return the samples as well.

        Returns:
            `[(logits, trace), (logits, trace)]`, teacher-forced and free-running; of `samples`,
            `(samples, logits, trace)` each.
        """
        thresholds = self.output.thresholds(noise, temperature=1.0)
        options: dict[str, Any] = {"training": training, "keep": keep, "chunk": self.chunk}
        x, context = parts_of(x)
        options["samples"] = samples
        return free_running.in_both_modes(self.cell, self.output, x, thresholds, context, **options)

    def nll(
        self, x: ArrayLike, sample_weight: ArrayLike | None = None, training: bool = False
    ) -> Tensor:
        """Negative log-likelihood of whole sequences.

        Args:
            x: (B, T, *step).
            sample_weight: optional (B, T), for sequences of unequal length: 1 on the steps of a
                sequence, 0 on the padding at its end, which may hold anything.
            training: passed on to the cell.

        Returns:
            (B,), nats, summed over the steps that count, in at least float32.

        Raises:
            ValueError: an argument has another shape or other values. In a graph wrong values end
                its run (`tf.errors.InvalidArgumentError`), except where XLA compiles it as one
                program.
        """
        if sample_weight is not None:
            sequence, context = parts_of(x)
            sequence = backend.to_tensor("x", sequence)
            shape = (sequence.shape[0] or "B", sequence.shape[1] or "T")
            sample_weight = backend.to_tensor("sample_weight", sample_weight)
            validation.shape_of("sample_weight", sample_weight, shape)
            if backend.is_concrete(sample_weight):
                weights = ops.convert_to_numpy(sample_weight)
                validation.all_hold(prefix_conditions("sample_weight", weights))
            else:
                for right, words, value in prefix_conditions("sample_weight", sample_weight):
                    sample_weight = backend.required(sample_weight, right, words, value)
            sequence = without_padding(sequence, sample_weight)
            x = sequence if context is None else {"sequence": sequence, "context": context}
        x = self._checked(x)
        logits, _ = self.trace(x, training=training, keep=())
        return self.output.nll(parts_of(x)[0], logits, sample_weight)

    def sample(
        self,
        num_samples: int,
        length: int,
        seed: Seed,
        temperature: float | Tensor = 1.0,
        context: ArrayLike | None = None,
    ) -> Tensor:
        """Draw sequences from the model.

        Args:
            num_samples: how many.
            length: number of steps T.
            seed: int in [0, 2^32), or a `keras.random.SeedGenerator`. On TensorFlow Keras takes it
                modulo 2^31 - 2, so larger ones repeat the samples of smaller ones.
            temperature: divides the logits; 1 for the model itself, 0 for the mode of each step.
            context: (num_samples, C), if the generator has a context.

        Returns:
            (num_samples, length, *step).

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
        """
        num_samples = validation.positive_int("num_samples", num_samples)
        length = validation.positive_int("length", length)
        context = self._context(context, num_samples)
        thresholds = self._thresholds(num_samples, length, seed, temperature)
        return self._compiled_sample(free_running.with_context(thresholds, context))

    def free_run(
        self,
        batch_size: int | Tensor,
        length: int | Tensor,
        seed: Seed,
        temperature: float | Tensor = 1.0,
        keep: Keep = None,
        context: ArrayLike | None = None,
    ) -> tuple[Tensor, Tensor, State]:
        """Draw sequences and keep what the model did meanwhile.

        Samples are detached draws; gradients flow through logits and trace. Runs as it is called:
        step by step in eager code, compiled inside a compiled function.

        Args:
            batch_size: number of sequences B, an int or a scalar tensor.
            length: number of steps T, an int or a scalar tensor.
            seed: int >= 0, or a `keras.random.SeedGenerator`.
            temperature: as in `sample`.
            keep: names of the fields that the trace shall have, as in `teacher_force`.
            context: (B, C), if the generator has a context.

        Returns:
            `(samples, logits, trace)`: (B, T, *step); (B, T, size); the cell's named tuple with
            (B, T, ...) tensors.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
        """
        if not ops.is_tensor(batch_size):
            batch_size = validation.positive_int("batch_size", batch_size)
        if not ops.is_tensor(length):
            length = validation.positive_int("length", length)
        context = self._context(context, None if ops.is_tensor(batch_size) else batch_size)
        thresholds = self._thresholds(batch_size, length, seed, temperature)
        return self._free_run(free_running.with_context(thresholds, context), keep=keep)

    def complete(
        self,
        prefix: ArrayLike,
        length: int,
        seed: Seed,
        temperature: float | Tensor = 1.0,
        context: ArrayLike | None = None,
    ) -> Tensor:
        """Continue sequences from their beginnings.

        Args:
            prefix: (B, t0, *step).
            length: number of steps of the result, at least t0.
            seed: int >= 0, or a `keras.random.SeedGenerator`.
            temperature: as in `sample`.
            context: (B, C), if the generator has a context.

        Returns:
            (B, length, *step), beginning with the prefix.

        Raises:
            TypeError, ValueError: an argument has the wrong type, shape or range.
        """
        prefix = self._steps("prefix", prefix)
        context = self._context(context, prefix.shape[0])
        if prefix.shape[1] is None:
            raise ValueError("prefix must have a known number of steps, got one that is unknown.")
        length = validation.positive_int("length", length, minimum=prefix.shape[1])
        rest = length - prefix.shape[1]
        thresholds = self._thresholds(ops.shape(prefix)[0], rest, seed, temperature)
        if rest == 0:
            return prefix
        return self._compiled_complete(prefix, free_running.with_context(thresholds, context))

    def export(
        self,
        filepath: Any,
        length: int,
        card: dict[str, str] | None = None,
        overwrite: bool = False,
        jit_compile: bool = False,
        max_rows: int = 256,
        unequal_lengths: bool = False,
    ) -> None:
        """Write a SavedModel that TF Serving samples from, without Keras.

            generator.export("saved_models/digits/1", length=64)

        Unlike Keras' own `export`, it writes the signatures `sample` (also the default), `score`,
        `complete` and `trace`; the model card beside them describes their inputs and outputs.
        Seeds are the requests' own, one a row: they give other samples than `generator.sample`.
        Temperature 0 is refused; a small one, such as 1e-6, takes the likelier value at every step.

        The version also holds the generator itself, for `from_preset`; a server does not read it.
        `models.config` and `batching.config` for the server are written beside the version, unless
        they exist. The version itself is written aside and renamed.

        Args:
            filepath: ROOT/NAME/VERSION, VERSION an integer >= 1.
            length: T, the number of steps of every sequence.
            card: a dict of text by heading for the model card: `data`, `method`, `NLL`, `command`.
            overwrite: replace the version if it is there.
            jit_compile: let XLA compile the loop over time, anew for every batch size. A server
                needs XLA's compiler for it, which the official images may lack.
            max_rows: rows of a request at most; more are refused with INVALID_ARGUMENT. The
                server's `max_batch_size` must not be larger, and is written as this.
            unequal_lengths: let `score` take `lengths`, int64 (B,): how many steps of each sequence
                count. What follows is padding.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
            FileExistsError: the version is there, and `overwrite` is False.
        """
        from mf_keras import export  # a model does not need its deployment

        export.save(self, filepath, length, card, overwrite, jit_compile, max_rows, unequal_lengths)

    @classmethod
    def from_preset(cls, preset: Path) -> Self:
        """A trained generator, by its name or folder.

            generator = SequenceGenerator.from_preset("digits")

        Args:
            preset: the name of a model of `saved_models/`; or a folder that `save_to_preset` or
                `export` wrote, of one version or of several, of which the newest is taken. Code in
                it is never run.

        Raises:
            TypeError: `preset` is no path.
            ValueError: there is no such preset, or its file cannot be loaded.
        """
        file = presets.find(preset)
        model = checkpoints.load(file)
        if not isinstance(model, cls):
            raise ValueError(f"{file} holds a {type(model).__name__}, not a {cls.__name__}.")
        return model

    def save_to_preset(self, folder: Path) -> None:
        """Write the generator for `from_preset`, without optimizers.

        Args:
            folder: where; a generator there is replaced.

        Raises:
            TypeError: `folder` is no path.
            mf_keras.files.NotWrittenError: writing failed; an existing file is unchanged.
        """
        presets.save(self, folder)

    def _free_run(self, noise, state=None, keep=None):
        """Free running as a function of weights, thresholds and context (B, T, ...) only."""
        return free_running.free_run(
            self.cell, self.output, noise, state, keep=keep, chunk=self.chunk
        )

    def _complete(self, prefix, noise):
        context = noise[:, 0, self.output.noise_size :] if self.context_size else None
        inputs = free_running.shift_right(self.output.encode(prefix, self.cell.compute_dtype))
        inputs = free_running.with_context(inputs, context)
        _, _, state = unroll(self.cell, inputs, keep=())
        start = free_running.FreeRunningState(samples=prefix[:, -1], cell=state)
        samples, _, _ = self._free_run(noise, start, keep=())
        return ops.concatenate([prefix, samples], axis=1)

    def _thresholds(self, batch_size, length, seed, temperature):
        """What `output.draw` compares with, of shape (batch_size, length, noise_size)."""
        if not isinstance(seed, keras.random.SeedGenerator):
            seed = validation.seed("seed", seed)
        if backend.is_concrete(temperature):
            temperature = ops.convert_to_numpy(temperature)[()]
        if ops.is_tensor(temperature):
            validation.shape_of("temperature", temperature, ())
        else:
            temperature = validation.real_number("temperature", temperature, minimum=0.0)
        shape = (batch_size, length, self.output.noise_size)
        noise = keras.random.uniform(shape, seed=seed, dtype="float32")
        return self.output.thresholds(noise, temperature)

    def _checked(self, x):
        """Data as tensors; with a context a dict of them."""
        sequence, context = parts_of(x)
        sequence = self._steps("x", sequence)
        context = self._context(context, sequence.shape[0])
        return sequence if context is None else {"sequence": sequence, "context": context}

    def _context(self, context, batch_size):
        """A context as a tensor (B, C); None where the generator has none.

        Raises:
            TypeError: it is no tensor of numbers.
            ValueError: it is missing, or given to a generator without, or has another shape.
        """
        check_context("context", context, self.context_size, batch_size)
        return None if context is None else backend.to_tensor("context", context)

    def _steps(self, name, x):
        return self.output.to_steps(name, x, self.cell.compute_dtype)

    def get_config(self) -> Config:
        """The constructor's arguments, cell and output serialized."""
        return {**super().get_config(), "context_size": self.context_size}


def parts_of(x: Any, name: str = "x") -> tuple[Any, Any]:
    """`(sequence, context)` of data, which are a dict if there is a context.

    Args:
        x: the data.
        name: how errors call them.

    Raises:
        ValueError: a dict has other keys.
    """
    if not isinstance(x, dict):
        return x, None
    if set(x) != {"sequence", "context"}:
        raise ValueError(
            f'{name} must be an array, or a dict of "sequence" and "context", got a dict of '
            f"{sorted(map(str, x))}."
        )
    return x["sequence"], x["context"]


def check_context(name: str, context: Any, size: int, batch_size: int | None) -> None:
    """Check the shape of what a generator reads beside every step.

    Args:
        name: how errors call it.
        context: (B, C), or None.
        size: C of the generator; 0 for none.
        batch_size: B, where it is known.

    Raises:
        ValueError: it is missing, or not wanted, or has another shape.
    """
    if (context is None) != (size == 0):
        wanted = f"of shape (B, {size})" if size else "None, as the generator has context_size=0"
        found = "None" if context is None else f"one of shape {np.shape(context)}"
        raise ValueError(f"{name} must be {wanted}, got {found}.")
    if context is not None:
        validation.shape_of(name, context, (batch_size or "B", size))
