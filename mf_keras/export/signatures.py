"""The functions that a server runs: sample, score, complete and trace.

They are TensorFlow functions of tensors only, with checks inside, because a server has nothing
else. A check that fails is an InvalidArgument, and no numbers come back.
"""

from typing import Any

import tensorflow as tf

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
    cell, output, context_size = generator.cell, generator.output, generator.context_size
    dtype, fields = tf.dtypes.as_dtype(output.dtype), served_fields(cell)
    contexts = [tf.TensorSpec((None, context_size), tf.float32, name="context")]
    contexts = contexts if context_size else []
    sequences = tf.TensorSpec((None, length, *output.step), dtype, name="sequences")
    prefix = tf.TensorSpec((None, None, *output.step), dtype, name="prefix")

    @tf.function(autograph=False, jit_compile=jit_compile)
    def run(noise):
        samples, parameters, _ = free_running.free_run(cell, output, noise, keep=())
        return tf.cast(samples, dtype), _float32(output.nll(samples, parameters))

    @tf.function(autograph=False, jit_compile=jit_compile)
    def force(x, weights, context):
        x = tf.cast(x, output.carried(cell.compute_dtype))
        context = context if context_size else None
        parameters, trace = free_running.teacher_force(cell, output, x, context, keep=fields)
        return _float32(output.nll(x, parameters, weights)), {
            name: _float32(getattr(trace, name)) for name in fields
        }

    def run_rows(thresholds, context):
        """A free run of every row; the context lies beside the noise."""
        if context_size:
            context = _checked_context(context, tf.shape(thresholds)[0], context_size)
            thresholds = free_running.with_context(thresholds, context)
        return _in_chunks(run, thresholds)

    def force_rows(sequences, lengths, context):
        """A teacher-forced run of every row."""
        sequences = _few("sequences", sequences, max_rows)
        rows = tf.shape(sequences)[0]
        weights = tf.ones((rows, length))
        if lengths is not None:
            weights = _weights(lengths, rows, length)
            sequences = without_padding(sequences, weights)
        sequences = _checked_steps("sequences", sequences, length, output)
        context = tf.zeros((rows, 0)) if context is None else context
        context = _checked_context(context, rows, context_size)
        return _in_chunks(force, sequences, weights, context)

    def sample(seed, temperature, context=None):
        seed, temperature = _checked_draw(_few("seed", seed, max_rows), temperature)
        samples, nll = run_rows(_thresholds(output, seed, temperature, length), context)
        return {"samples": _long(samples, length), "nll": nll}

    def score(sequences, context=None):
        nll, _ = force_rows(sequences, None, context)
        return {"nll": nll}

    def score_unequal(sequences, lengths, context=None):
        nll, _ = force_rows(sequences, lengths, context)
        return {"nll": nll}

    def complete(prefix, seed, temperature, context=None):
        prefix = _few("prefix", prefix, max_rows)
        prefix = _checked_steps("prefix", prefix, None, output)
        seed, temperature = _checked_draw(seed, temperature)
        prefix = _checked_prefix(prefix, seed, length)
        drawn = _thresholds(output, seed, temperature, length)
        samples, _ = run_rows(_forced(output, prefix, drawn), context)
        return {"samples": _long(samples, length)}

    def trace(sequences, context=None):
        _, kept = force_rows(sequences, None, context)
        return {name: _long(x, length) for name, x in kept.items()}

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


def _few(name, x, max_rows):
    """`x`, refused where it has too many rows, before anything is computed from them."""
    rows = tf.shape(x)[0]
    return _required(x, rows <= max_rows, f"{name} must have at most {max_rows} rows, got", [rows])


def _checked_draw(seed, temperature):
    seed = _shaped("seed", seed, (None,))
    temperature = _shaped("temperature", temperature, (None,))
    counts = [tf.shape(seed)[0], tf.shape(temperature)[0]]
    words = "seed and temperature must have one entry a row, got so many seeds and temperatures:"
    seed, temperature = _required((seed, temperature), tf.equal(*counts), words, counts)
    right = tf.logical_and(temperature > 0.0, tf.math.is_finite(temperature))
    wrong = [tf.boolean_mask(temperature, ~right)]
    return _required(
        (seed, temperature), right, "temperature must be finite and above 0, got", wrong
    )


def _checked_steps(name, x, length, output):
    x = _shaped(name, x, (None, length, *output.step))
    right = output.valid(x)
    wrong = [tf.boolean_mask(x, ~right)]
    return _required(x, right, f"{name} must hold only {output.values}, got", wrong)


def _checked_context(context, rows, size):
    context = _shaped("context", context, (None, size))
    counts = [tf.shape(context)[0], rows]
    words = "context must have one entry a row, got so many, and so many rows:"
    context = _required(context, tf.equal(*counts), words, counts)
    finite = tf.math.is_finite(context)
    wrong = [tf.boolean_mask(context, ~finite)]
    return _required(context, finite, "context must be finite, got", wrong)


def _weights(lengths, rows, length):
    """(B, length), 1 on the steps of each sequence."""
    lengths = _shaped("lengths", lengths, (None,))
    counts = [tf.shape(lengths)[0], rows]
    words = "lengths must have one entry a row, got so many, and so many sequences:"
    lengths = _required(lengths, tf.equal(*counts), words, counts)
    right = (lengths >= 1) & (lengths <= length)
    wrong = [tf.boolean_mask(lengths, ~right)]
    lengths = _required(lengths, right, f"lengths must be from 1 to {length}, got", wrong)
    return tf.sequence_mask(lengths, length, tf.float32)


def _checked_prefix(prefix, seed, length):
    counts = [tf.shape(prefix)[0], tf.shape(seed)[0]]
    words = "prefix and seed must have one entry a row, got so many prefixes and seeds:"
    prefix = _required(prefix, tf.equal(*counts), words, counts)
    steps = tf.shape(prefix)[1]
    words = f"prefix must have at most {length} steps, got"
    return _required(prefix, steps <= length, words, [steps])


def _shaped(name, x, shape):
    """`x`, refused where its shape is another: a server feeds the graph with what it is sent."""
    return tf.ensure_shape(x, shape, name=name)


def _required(x, condition, words, values):
    """`x`, once the condition has been seen to hold.

    What is computed from `x` waits, so that no later failure comes first with other words.
    """
    check = tf.debugging.Assert(tf.reduce_all(condition), [words, *values], summarize=3)
    with tf.control_dependencies([check]):
        return tf.nest.map_structure(tf.identity, x)


def _float32(x):
    return tf.cast(x, tf.float32)


def _long(x, length):
    """`x` of shape (B, T, ...), with T known, so that the signature has it."""
    return tf.ensure_shape(x, (None, length, *x.shape[2:]))
