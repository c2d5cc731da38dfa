"""Temporal links in memory and time linear in the number of slots: the K strongest a slot.

The DNC's link matrix L (Nature 538, 2016, Methods) costs N^2. Rae et al., "Scaling Memory-Augmented
Neural Networks with Sparse Reads and Writes", 2016, arXiv:1610.09027, give the DNC sparse links.
This is the idea in a form of its own: one sparse matrix, row by row the K largest entries of what
the dense update would make of the last step's sparse matrix and of the K largest precedences.
Nothing else is approximated, so that with K = N it is the dense linkage. Everything is batch first.

A link matrix is two tensors, B batch, H write heads, K links, N slots:

    weights (B, H, K, N), L[i, j] at [b, h, k, i], the strongest first
    slots (B, H, K, N), int32, j + 1 at [b, h, k, i]; 0 where slot i has no k-th link

The slots stand last because XLA's CPU code is fast where the long axis is the last one. All zeros
is the matrix without links. No row names a slot twice.
"""

import numpy as np
from keras import ops

from mf_keras.layouts import at_slots
from mf_keras.types import Tensor

# Below every link, which is >= 0 but for rounding.
_NEVER = -1.0


def update_link(
    weights: Tensor, slots: Tensor, precedence: Tensor, write_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """L[i, j] = (1 - w_i - w_j) L[i, j] + w_i p_j, diagonal 0; then the K largest of every row.

    DNC "temporal link matrix". No gradient flows through the choice of the K.

    Args:
        weights: (B, H, K, N) of the last step.
        slots: (B, H, K, N) of the last step.
        precedence: (B, H, N), the OLD precedence p_{t-1}, of which the K largest entries count.
        write_weights: (B, H, N), the current w_t.

    Returns:
        `(weights, slots)`, the strongest links first.
    """
    num_links, num_slots = weights.shape[-2:]
    w_i = ops.expand_dims(write_weights, 2)  # (B, H, 1, N)
    kept = (1.0 - w_i - _write_weights_at(slots, write_weights)) * weights

    _, recent = ops.top_k(ops.stop_gradient(precedence), num_links)  # (B, H, K)
    recent = ops.cast(recent, "int32")
    p_j = ops.expand_dims(at_slots(precedence, recent), -1)  # (B, H, K, 1)
    recent = ops.expand_dims(recent, -1)
    off_diagonal = ops.cast(recent != np.arange(num_slots, dtype="int32"), weights.dtype)
    new = w_i * p_j * off_diagonal  # (B, H, K, N)
    recent = ops.broadcast_to(recent + 1, ops.shape(slots))

    # Where a row has the link already, it grows; the other links are candidates.
    same = ops.equal(ops.expand_dims(slots, 3), ops.expand_dims(recent, 2))  # (B, H, K, K, N)
    kept = kept + ops.sum(ops.cast(same, new.dtype) * ops.expand_dims(new, 2), axis=3)
    new = ops.where(ops.any(same, axis=2), _NEVER, new)
    return _strongest(
        ops.concatenate([kept, new], axis=2), ops.concatenate([slots, recent], axis=2), num_links
    )


def follow_links(weights: Tensor, slots: Tensor, read_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Forward and backward weightings f = L w_r and b = L^T w_r.

    DNC "forward weighting" and "backward weighting".

    Args:
        weights: (B, H, K, N).
        slots: (B, H, K, N).
        read_weights: (B, R, N), the LAST step's read weightings.

    Returns:
        `(forward, backward)`, each (B, R, H, N).
    """
    heads, num_links, num_slots = weights.shape[1:]
    reads = read_weights.shape[1]
    last = ops.transpose(read_weights, (0, 2, 1))  # (B, N, R)
    w_ij = ops.expand_dims(weights, -1)  # (B, H, K, N, 1)

    at_j = ops.take(ops.reshape(last, (-1, reads)), _rows(slots, num_slots), axis=0)
    at_j = ops.reshape(at_j, (-1, heads, num_links, num_slots, reads))
    forward = ops.sum(w_ij * at_j, axis=2)  # (B, H, N, R)

    from_i = w_ij * ops.reshape(last, (-1, 1, 1, num_slots, reads))  # (B, H, K, N, R)
    backward = ops.segment_sum(
        ops.reshape(from_i, (-1, reads)),
        _rows(slots, num_slots, heads),
        num_segments=ops.shape(weights)[0] * heads * num_slots,
    )
    backward = ops.reshape(backward, (-1, heads, num_slots, reads))
    return ops.transpose(forward, (0, 3, 1, 2)), ops.transpose(backward, (0, 3, 1, 2))


def _write_weights_at(slots, write_weights):
    """w_j for every link to a slot j: (B, H, K, N)."""
    heads, num_slots = write_weights.shape[1:]
    rows = _rows(slots, num_slots, heads)
    return ops.reshape(ops.take(ops.reshape(write_weights, (-1,)), rows), ops.shape(slots))


def _rows(slots, num_slots, heads=None):
    """Where each link's j stands in a flat (B N, ...) tensor, or with `heads` in (B H N, ...).

    A link that does not exist goes to j = 0; its weight is 0.
    """
    groups = ops.shape(slots)[0] * (heads or 1)
    first = ops.reshape(num_slots * ops.arange(groups, dtype="int32"), (-1, heads or 1, 1, 1))
    return ops.reshape(first + ops.maximum(slots - 1, 0), (-1,))


def _strongest(weights, slots, count):
    """The `count` largest of the weights (B, H, 2K, N) of each slot, with their slots, in order."""
    # Sorting by counting: a sort along a short axis is several times slower under XLA on a CPU.
    candidates = np.arange(weights.shape[2])
    keys = ops.stop_gradient(weights)
    x_a, x_b = ops.expand_dims(keys, 3), ops.expand_dims(keys, 2)
    earlier = (candidates[:, None] < candidates[None, :])[:, :, None]
    before = ops.logical_or(x_a > x_b, ops.logical_and(x_a == x_b, earlier))  # a goes before b
    rank = ops.sum(ops.cast(before, "int32"), axis=2)  # (B, H, 2K, N)
    places = np.arange(count, dtype="int32")[:, None, None]
    chosen = ops.expand_dims(rank, 2) == places  # (B, H, K, 2K, N)

    def pick(x):
        return ops.sum(ops.cast(chosen, x.dtype) * ops.expand_dims(x, 2), axis=3)

    return pick(weights), pick(slots)
