"""The functions that a server runs: sample, score, complete and trace.

They are TensorFlow functions of tensors only, with the checks of `requests` inside, because a
server has nothing else.
"""

from typing import Any

import tensorflow as tf

from mf_keras.export import requests
from mf_keras.models import SequenceGenerator, free_running
from mf_keras.outputs import Output
from mf_keras.outputs.output import without_padding
from mf_keras.types import Tensor

# Rows are computed in multiples of this many. Vectorised kernels treat the last entries of an array
# that is no multiple of their width otherwise, to rounding, and a DNC makes much of rounding where
# it sorts slots of almost equal usage: 0.04 nats were seen between batches of 1 and of 256. With
# whole vectors a row's numbers are the same in any batch.
ROWS = 16
# Rows that are computed at once. More of them wait, so that a request's memory is that of its
# response and of so many rows, and so that others' requests come in between.
CHUNK = 64
MAX_ROWS = 256  # of a request, where the caller does not say otherwise

SEED = tf.TensorSpec((None,), tf.int64, name="seed")
TEMPERATURE = tf.TensorSpec((None,), tf.float32, name="temperature")
LENGTHS = tf.TensorSpec((None,), tf.int64, name="lengths")


def endpoints(
    generator: SequenceGenerator,
    length: int,
    jit_compile: bool = False,
    max_rows: int = MAX_ROWS,
    unequal_lengths: bool = False,
) -> dict[str, Any]:
    """The functions of every endpoint, each with an input signature.

    Args:
        generator: what is served.
        length: T, the number of steps of every sequence.
        jit_compile: whether XLA compiles the loop over time, anew for every batch size.
        max_rows: rows of a request at most.
        unequal_lengths: whether `score` takes the number of steps of every sequence.

    Returns:
        A dict of `tf.function`s by name.
    """
    rows, output = _Rows(generator, length, jit_compile), generator.output

    def sample(seed, temperature, context=None):
        seed, temperature = requests.draw(requests.few("seed", seed, max_rows), temperature)
        samples, nll = rows.run(_thresholds(output, seed, temperature, length), context)
        return {"samples": samples, "nll": nll}

    def score(sequences, context=None):
        nll, _ = rows.force(requests.few("sequences", sequences, max_rows), None, context)
        return {"nll": nll}

    def score_unequal(sequences, lengths, context=None):
        nll, _ = rows.force(requests.few("sequences", sequences, max_rows), lengths, context)
        return {"nll": nll}

    def complete(prefix, seed, temperature, context=None):
        prefix = requests.few("prefix", prefix, max_rows)
        prefix = requests.steps("prefix", prefix, None, output)
        seed, temperature = requests.draw(seed, temperature)
        prefix = requests.prefix(prefix, seed, length)
        drawn = _thresholds(output, seed, temperature, length)
        samples, _ = rows.run(_forced(output, prefix, drawn), context)
        return {"samples": samples}

    def trace(sequences, context=None):
        _, kept = rows.force(requests.few("sequences", sequences, max_rows), None, context)
        return kept

    dtype, size = tf.dtypes.as_dtype(output.dtype), generator.context_size
    contexts = [tf.TensorSpec((None, size), tf.float32, name="context")] if size else []
    sequences = tf.TensorSpec((None, length, *output.step), dtype, name="sequences")
    prefix = tf.TensorSpec((None, None, *output.step), dtype, name="prefix")
    scoring = (score_unequal, [sequences, LENGTHS]) if unequal_lengths else (score, [sequences])
    signatures = {
        "sample": (sample, [SEED, TEMPERATURE]),
        "score": scoring,
        "complete": (complete, [prefix, SEED, TEMPERATURE]),
        "trace": (trace, [sequences]),
    }
    return {
        name: tf.function(function, input_signature=[*inputs, *contexts], autograph=False)
        for name, (function, inputs) in signatures.items()
    }


class _Rows:
    """A generator's two loops over time, over all rows of a request.

    Args:
        generator: what is served.
        length: T, the number of steps of every sequence.
        jit_compile: whether XLA compiles the loops.
    """

    def __init__(self, generator: SequenceGenerator, length: int, jit_compile: bool) -> None:
        self.cell, self.output = generator.cell, generator.output
        self.length, self.context_size = length, generator.context_size
        self.fields = served_fields(self.cell)
        options: dict[str, Any] = {"autograph": False, "jit_compile": jit_compile}
        self._run = tf.function(self._run_chunk, **options)
        self._force = tf.function(self._force_chunk, **options)

    def run(self, thresholds, context):
        """Samples (B, T, *step) and their NLL (B,); the context lies beside the noise."""
        if self.context_size:
            context = requests.context(context, tf.shape(thresholds)[0], self.context_size)
            thresholds = free_running.with_context(thresholds, context)
        samples, nll = _in_chunks(self._run, thresholds)
        return self._long(samples), nll

    def force(self, sequences, lengths, context):
        """NLL (B,) of teacher-forced sequences, and a dict of what the memory did."""
        count = tf.shape(sequences)[0]
        weights = tf.ones((count, self.length))
        if lengths is not None:
            weights = requests.weights(lengths, count, self.length)
            sequences = without_padding(sequences, weights)
        sequences = requests.steps("sequences", sequences, self.length, self.output)
        context = tf.zeros((count, 0)) if context is None else context
        context = requests.context(context, count, self.context_size)
        nll, kept = _in_chunks(self._force, sequences, weights, context)
        return nll, {name: self._long(x) for name, x in kept.items()}

    def _run_chunk(self, noise):
        samples, parameters, _ = free_running.free_run(self.cell, self.output, noise, keep=())
        nll = self.output.nll(samples, parameters)
        return tf.cast(samples, self.output.dtype), _float32(nll)

    def _force_chunk(self, x, weights, context):
        cell, output = self.cell, self.output
        x = tf.cast(x, output.carried(cell.compute_dtype))
        context = context if self.context_size else None
        parameters, trace = free_running.teacher_force(cell, output, x, context, keep=self.fields)
        kept = {name: _float32(getattr(trace, name)) for name in self.fields}
        return _float32(output.nll(x, parameters, weights)), kept

    def _long(self, x):
        """`x` of shape (B, T, ...), with T known, so that the signature has it."""
        return tf.ensure_shape(x, (None, self.length, *x.shape[2:]))


def served_fields(cell: Any) -> tuple[str, ...]:
    """The fields of a cell's trace that `trace` returns.

    Raises:
        TypeError: the cell's `served_fields` name a part of its state that is no single tensor.
    """
    state = cell.initial_state(1)
    names = tuple(name for name in cell.served_fields if name in state._fields)
    for name in names:
        if not tf.is_tensor(getattr(state, name)):
            raise TypeError(
                f"served_fields of {type(cell).__name__} must name tensors of its state, of which "
                f"{name} is none."
            )
    return names


def _in_chunks(function, *arrays):
    """`function(*arrays)` of a batch, arrays (B, ...), by `CHUNK` rows at once at most.

    The chunks have equally many rows, a multiple of `ROWS`; what is missing are zeros.
    """
    rows = tf.shape(arrays[0])[0]
    # Rounded up without negative numbers, which ONNX divides otherwise.
    chunks = tf.maximum(1, (rows + CHUNK - 1) // CHUNK)
    size = ROWS * ((rows + chunks * ROWS - 1) // (chunks * ROWS))

    def cut(x):
        padding = [[0, chunks * size - rows]] + [[0, 0]] * (len(x.shape) - 1)
        shape = tf.concat([[chunks, size], tf.shape(x)[1:]], axis=0)
        return tf.ensure_shape(tf.reshape(tf.pad(x, padding), shape), (None, None, *x.shape[1:]))

    pieces = [cut(x) for x in arrays]
    concrete = function.get_concrete_function(
        *(tf.TensorSpec((None, *x.shape[2:]), x.dtype) for x in pieces)
    )
    results = tf.nest.map_structure(
        lambda y: tf.TensorArray(y.dtype, chunks, element_shape=y.shape),
        concrete.structured_outputs,
    )

    def one_chunk(i, results):
        write = lambda all, y: all.write(i, y)  # noqa: E731
        return i + 1, tf.nest.map_structure(write, results, function(*(x[i] for x in pieces)))

    _, results = tf.while_loop(
        lambda i, _: i < chunks, one_chunk, (0, results), parallel_iterations=1, name="chunks"
    )

    def joined(result):
        stacked = result.stack()  # (chunks, size, ...)
        return tf.reshape(stacked, tf.concat([[-1], tf.shape(stacked)[2:]], axis=0))[:rows]

    return tf.nest.map_structure(joined, results)


def _thresholds(output: Output, seed: Tensor, temperature: Tensor, length: int) -> Tensor:
    """(B, length, noise_size), row by row from the row's own seed and temperature.

    The generator is named, since the default one differs between kinds of devices.
    """

    def noise_of_row(seed):
        shape = (length, output.noise_size)
        return tf.random.stateless_uniform(
            shape, seed=tf.stack([seed, tf.zeros_like(seed)]), alg="philox"
        )

    noise = tf.map_fn(noise_of_row, seed, fn_output_signature=tf.float32)
    return output.thresholds(noise, temperature[:, tf.newaxis, tf.newaxis])


def _forced(output: Output, prefix: Tensor, thresholds: Tensor) -> Tensor:
    """Thresholds with which the samples are the prefix, and then what they would be.

    So completion is one free run over all steps, for a prefix of any length, none and all included,
    and a sample's own beginning is continued as the sample was.
    """
    known = output.forced(prefix)  # (B, t0, noise_size)
    whole = tf.concat([known, thresholds[:, tf.shape(known)[1] :]], axis=1)
    return tf.ensure_shape(whole, thresholds.shape)


def _float32(x):
    return tf.cast(x, tf.float32)
