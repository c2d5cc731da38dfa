"""Sequences of unequal length: as streams, and in batches of a few lengths."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mf_keras.validation import boolean, positive_int


def padded_batches(
    sequences: tf.data.Dataset,
    batch_size: int,
    lengths: Sequence[int] | None = None,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Batches of sequences of unequal length, padded at the end with zeros of weight 0.

        train = data.text_lines("zinc.smi").shuffle(10_000, seed=0)
        batches = data.padded_batches(train, batch_size=32, lengths=(32, 48, 64, 128))

    A model is compiled for every shape of a batch. With `lengths` there are as few as these: a
    sequence is padded to the first of them that it fits in, and shares a batch with others of the
    same one, in the order in which they come. Without, every batch is as long as its longest
    sequence.

    Args:
        sequences: single examples: sequences x (T, ...), or triples (inputs, targets,
            sample_weight) whose first dimension is T, as of the algorithmic tasks and `babi`.
        batch_size: sequences in a batch.
        lengths: the numbers of steps that a batch may have, ascending; None for any.
        drop_remainder: leave out the last sequences of every length, which fill no batch: so there
            is but one shape a length. For training only: an evaluation should see all.

    Returns:
        A `tf.data.Dataset` of (x, None, sample_weight), or of (inputs, targets, sample_weight), of
        batches: x (B, T, ...), sample_weight (B, T) of float32, 1 on the steps of the sequence
        (those of triples as they were), 0 on the padding. It has a cardinality if `sequences` has:
        with `lengths` they are read once to count the batches.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `batch_size` or a length is below 1, lengths do not ascend, or an example has
            another structure.
        tf.errors.InvalidArgumentError: as the batches are drawn: a sequence is longer than the last
            of `lengths`, or has no step.
    """
    if not isinstance(sequences, tf.data.Dataset):
        kind = type(sequences).__name__
        raise TypeError(f"sequences must be a tf.data.Dataset of examples, got {kind}.")
    batch_size = positive_int("batch_size", batch_size)
    boolean("drop_remainder", drop_remainder)
    longest = None if lengths is None else _ascending(lengths)[-1]
    single = not isinstance(sequences.element_spec, tuple)
    _check_examples(sequences.element_spec)

    def weighted(*example):
        steps = tf.shape(example[0])[0]
        words = "sequences must have at least one step."
        tf.debugging.assert_positive(steps, words)
        if longest is not None:
            words = f"sequences must have at most {longest} steps, the last of lengths."
            tf.debugging.assert_less_equal(steps, longest, words)
        return (example[0], tf.ones((steps,), tf.float32)) if single else example

    examples = sequences.map(weighted)
    if lengths is None:
        batches = examples.padded_batch(batch_size, drop_remainder=drop_remainder)
    else:
        batches = examples.bucket_by_sequence_length(
            _steps,
            bucket_boundaries=[length + 1 for length in lengths],  # which are exclusive
            bucket_batch_sizes=[batch_size] * (len(lengths) + 1),
            pad_to_bucket_boundary=True,
            drop_remainder=drop_remainder,
        )
    batches = batches.map(_without_targets) if single else batches
    count = _num_batches(sequences, batch_size, lengths, drop_remainder)
    if count is None:
        return batches
    return batches.apply(tf.data.experimental.assert_cardinality(count))


def _num_batches(sequences, batch_size, lengths, drop_remainder):
    """How many batches there are; None where nobody knows. Keras warns of that in every `fit`."""
    size = int(sequences.cardinality())
    if size < 0:
        return None
    counts = np.array([size])
    if lengths is not None:
        steps = sequences.map(_steps).as_numpy_iterator()
        counts = np.bincount(np.searchsorted(lengths, np.fromiter(steps, "int64", size)))
    return int(np.sum(counts // batch_size if drop_remainder else -(-counts // batch_size)))


def stream_of(arrays: Sequence[np.ndarray], dtype: str) -> tf.data.Dataset:
    """A stream of arrays (T, ...) of unequal T, in their order, cast to `dtype`.

    Args:
        arrays: at least one; of one dtype, which they are stored in, and of equal shapes beyond T.
        dtype: that they are given in.

    Returns:
        A `tf.data.Dataset` of known cardinality.
    """
    joined = tf.constant(np.concatenate(arrays))  # once: within the function it would be copied
    ends = np.cumsum([len(array) for array in arrays])
    bounds = np.stack([ends - [len(array) for array in arrays], ends], axis=1)  # (n, 2)

    def sequence(start_and_end):
        cut = joined[start_and_end[0] : start_and_end[1]]
        return tf.cast(tf.ensure_shape(cut, (None, *joined.shape[1:])), dtype)

    return tf.data.Dataset.from_tensor_slices(bounds).map(sequence)


# Named: lambdas in calls over several lines make AutoGraph warn.
def _steps(first, *_):
    return tf.shape(first)[0]


def _without_targets(x, weights):
    return x, None, weights


def _ascending(lengths: Any) -> Sequence[int]:
    if not isinstance(lengths, (tuple, list)):
        raise TypeError(f"lengths must be a tuple of numbers of steps, got {lengths!r}.")
    for length in lengths:
        positive_int("lengths", length)
    if not lengths or list(lengths) != sorted(set(lengths)):
        raise ValueError(f"lengths must ascend, and be at least one, got {lengths!r}.")
    return lengths


def _check_examples(spec):
    parts = spec if isinstance(spec, tuple) else (spec,)
    single = all(isinstance(part, tf.TensorSpec) and part.shape.rank != 0 for part in parts)
    if len(parts) not in (1, 3) or not single or (isinstance(spec, tuple) and len(parts) == 1):
        raise ValueError(
            "sequences must be of examples x (T, ...) or (inputs, targets, sample_weight), "
            f"unbatched, got {spec}."
        )
