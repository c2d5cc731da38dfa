"""The rows of a batch shared out to the cores of a CPU."""

import contextlib
import os
import threading

import tensorflow as tf

from mf_keras.backend import compilation

_shared = threading.local()  # the replicas of a strategy are threads


def on_cores(function, *batches):
    """`function` of the rows of a batch, on parts of it side by side, where loops are compiled.

    Parts of one shape are traced and compiled once.

    Args:
        function: takes nested structures of tensors (B, ...) and gives one, row by row.
        *batches: its arguments; None stands for itself.

    Returns:
        What `function(*batches)` does.
    """
    return together_on_cores(function, [batches])


def together_on_cores(function, groups):
    """`function` of the rows of several batches, one batch after the other; see `on_cores`.

    The batches are joined only where they do not get the same number of cores each: to join large
    ones, and to cut them again, takes as long as a good part of what is done with them.

    Args:
        function: takes nested structures of tensors (B, ...) and gives one, row by row.
        groups: a list of tuples of its arguments; None stands for itself, in every tuple.

    Returns:
        What `function` gives of the joined batches.
    """
    cores = count() if compilation.loops_are_compiled() else 1
    if cores % len(groups):
        groups = [join(groups)]
    each = cores // len(groups)
    parts = [part for group in groups for part in cut(group, share(_rows(group), each))]
    if len(parts) == 1:
        return function(*parts[0])
    once = tf.function(function, autograph=False)
    return join([once(*part) for part in parts])


def side_by_side(function, groups):
    """`[function(*arguments) for arguments in groups]`, each on its share of the cores.

    Where loops are compiled, what has arguments of the same shapes is traced and compiled once.

    Args:
        function: takes nested structures of tensors, and gives one.
        groups: a list of tuples of its arguments.
    """
    if not compilation.loops_are_compiled():
        return [function(*arguments) for arguments in groups]
    once = tf.function(function, autograph=False)
    with _sharing(len(groups)):
        return [once(*arguments) for arguments in groups]


@contextlib.contextmanager
def _sharing(groups):
    """Within, what is traced runs beside `groups` - 1 others like it."""
    before = getattr(_shared, "groups", 1)
    _shared.groups = before * groups
    try:
        yield
    finally:
        _shared.groups = before


def _rows(batches):
    """The number of rows, an int where it is known, else a tensor."""
    first = next(x for x in tf.nest.flatten(batches) if x is not None)
    return tf.shape(first)[0] if first.shape[0] is None else first.shape[0]


def count():
    """How many loops can run side by side: the cores that TensorFlow may use; 1 beside a GPU.

    Of things that run `side_by_side` each has its share, or all cores where they do not divide.
    """
    if tf.config.get_visible_devices("GPU"):
        return 1
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    threads = threads or int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0)) or usable_cores()
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    cores = max(1, threads // replicas)
    groups = getattr(_shared, "groups", 1)
    return cores if cores % groups else cores // groups


def usable_cores():
    """The cores that this process may run on, where the system tells; else those that there are."""
    if hasattr(os, "sched_getaffinity"):  # Linux alone
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def share(batch, parts):
    """Sizes of the parts that a batch is cut into, nearly equal: a list of ints or of tensors.

    Args:
        batch: number of rows, an int; or a scalar tensor, where it is not known while tracing. Then
            parts may be empty.
        parts: how many there are to be, at most; of fewer rows there are fewer.
    """
    if not tf.is_tensor(batch):
        parts = max(1, min(parts, batch))
    return [(batch + i) // parts for i in range(parts)]


def cut(batches, sizes):
    """A list of nested structures of tensors (B, ...), cut into parts of these sizes."""
    if len(sizes) == 1:
        return [batches]
    flat = tf.nest.flatten(batches)
    pieces = [
        [None] * len(sizes) if x is None else tf.split(x, sizes, num=len(sizes)) for x in flat
    ]
    return [tf.nest.pack_sequence_as(batches, part) for part in zip(*pieces, strict=True)]


def join(parts):
    """The inverse of `cut`."""
    return tf.nest.map_structure(
        lambda *pieces: None if pieces[0] is None else tf.concat(pieces, axis=0), *parts
    )
