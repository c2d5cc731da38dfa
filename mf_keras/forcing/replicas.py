"""One training step on several replicas at once, under a `tf.distribute` strategy.

Each replica runs the step on its rows of the global batch, which lie in the order of the replicas.
These functions make of that the step that one replica with the whole batch would take. Without a
strategy they are what stands there on one replica: `ops.mean`, `tf.cond`, `optimizer.apply`.
"""

import tensorflow as tf
from keras import ops


def _context():
    """The replica that runs now; None without a strategy, and between the steps."""
    return tf.distribute.get_replica_context() if tf.distribute.has_strategy() else None


def running():
    """Whether this is the code of a replica, under a strategy."""
    return _context() is not None


def total(values):
    """A tensor, or a nested structure of tensors, summed over the replicas."""
    context = _context()
    if context is None:
        return values
    # With one device a worker, TensorFlow asks the tensors for theirs: a new op has one.
    return context.all_reduce("SUM", tf.nest.map_structure(tf.identity, values))


def size(rows):
    """The number of rows of the global batch, of which `rows` (B, ...) are this replica's."""
    return total(ops.shape(rows)[0])


def mean(values):
    """This replica's part of the mean of the global batch's values: the parts sum up to it.

    A replica without any rows, such as the last batch of an epoch may leave, has the part 0.

    Args:
        values: (B,).
    """
    if _context() is None:
        return ops.mean(values)
    return ops.sum(values) / ops.cast(size(values), values.dtype)


def gather(values):
    """The global batch, from this replica's rows: a tuple of tensors (B, ...)."""
    context = _context()
    if context is None:
        return values
    whole = []
    for rows in values:
        # There is no collective of bool.
        wire = tf.cast(rows, tf.int32) if rows.dtype == tf.bool else rows
        gathered = tf.cast(context.all_gather(wire, axis=0), rows.dtype)
        whole.append(tf.ensure_shape(gathered, (None, *rows.shape[1:])))
    return tuple(whole)


def own(whole, rows):
    """The rows of `whole`, (global B, ...), that belong beside this replica's `rows` (B, ...)."""
    context = _context()
    if context is None:
        return whole
    count = tf.shape(rows)[0]
    index, replicas = context.replica_id_in_sync_group, context.num_replicas_in_sync
    counts = context.all_reduce("SUM", tf.one_hot(index, replicas, dtype=tf.int32) * count)
    start = tf.reduce_sum(counts[:index])
    return whole[start : start + count]


def share(whole):
    """A part of what every replica has: the replicas' parts together are all of it, once.

    Args:
        whole: (n, ...), n known; the same on all replicas.
    """
    context = _context()
    if context is None:
        return whole
    count, index = whole.shape[0], context.replica_id_in_sync_group
    replicas = context.num_replicas_in_sync
    return whole[index * count // replicas : (index + 1) * count // replicas]


def cond(predicate, true_fn, false_fn):
    """`tf.cond`, for branches in which the replicas exchange tensors, as `apply` does.

    Args:
        predicate: () of bool, the same on all replicas.
        true_fn: what to call where it is True; returns tensors.
        false_fn: what to call where it is False; returns tensors of the same structure.
    """
    context = _context()
    if context is None:
        return tf.cond(predicate, true_fn, false_fn)

    def choose(strategy, predicate, true_fn, false_fn):
        # A replica cannot leave a branch to meet the others. So they meet here first, the branch
        # is taken by all of them as one, and each goes on inside it.
        def all_call(function):
            return strategy.extended.call_for_each_replica(lambda own: own(), args=(function,))

        predicate = strategy.experimental_local_results(predicate)[0]
        return tf.cond(predicate, lambda: all_call(true_fn), lambda: all_call(false_fn))

    return context.merge_call(choose, args=(predicate, true_fn, false_fn))


def summed(gradients):
    """The gradients of the whole batch, from this replica's parts of them; None stays None."""
    if _context() is None:
        return gradients
    known = iter(total([g for g in gradients if g is not None]))
    return [None if g is None else next(known) for g in gradients]


def apply(optimizer, gradients, variables):
    """Move variables by the gradients of the whole batch, as `summed` gives them.

    Keras' optimizers sum the gradients of the replicas after they have clipped each of them, and a
    `LossScaleOptimizer` asks the first replica alone whether they are finite. So the first replica
    gives the whole gradient, and the others nothing.
    """
    context = _context()
    if context is not None:
        first = tf.equal(context.replica_id_in_sync_group, 0)
        gradients = [None if g is None else tf.where(first, g, tf.zeros_like(g)) for g in gradients]
    optimizer.apply(gradients, variables)
