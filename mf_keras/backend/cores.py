"""The rows of a batch shared out to the cores of a CPU."""

import os

import tensorflow as tf


def count():
    """How many loops can run side by side: the cores that TensorFlow may use; 1 beside a GPU."""
    if tf.config.list_physical_devices("GPU"):
        return 1
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    threads = threads or int(os.environ.get("TF_NUM_INTRAOP_THREADS", 0))
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return max(1, (threads or len(os.sched_getaffinity(0))) // replicas)


def share(batch):
    """Sizes of the parts that a batch is cut into, nearly equal: a list of ints or of tensors.

    Args:
        batch: number of rows, an int; or a scalar tensor, where it is not known while tracing. Then
            parts may be empty.
    """
    parts = count() if tf.is_tensor(batch) else max(1, min(count(), batch))
    return [(batch + i) // parts for i in range(parts)]


def cut(tensors, sizes, axis):
    """A list of tensors cut along an axis: for each part, the list of its pieces."""
    if len(sizes) == 1:
        return [tensors]
    return list(zip(*(tf.split(x, sizes, axis, num=len(sizes)) for x in tensors), strict=True))


def join(parts, axis):
    """The inverse of `cut`."""
    if len(parts) == 1:
        return parts[0]
    return [tf.concat(pieces, axis) for pieces in zip(*parts, strict=True)]
