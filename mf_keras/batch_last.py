"""The DNC's equations on arrays whose last axis is the batch.

What they compute, and from which papers, stands in `addressing`; these are the same functions, for
many rows and few slots, where `unroll` runs them over time. Shapes: N slots (i and j in a pair of
them), W word size, R read heads, H write heads, B batch.
"""

import functools
import math
import operator

import numpy as np
from keras import ops

from mf_keras import addressing, allocation
from mf_keras.contraction import contract, settled, total


def content_weights(memory, keys, strengths):
    """C(M, k, beta): softmax over slots of beta x cosine(key, row).

    Args:
        memory: (N, W, B), M.
        keys: (R, W, B), k, of heads of either kind.
        strengths: (R, B), beta.

    Returns:
        (R, N, B).
    """
    dots = contract("rwb,nwb->rnb", keys, memory)
    rows = addressing.inverse_norm(contract("nwb,nwb->nb", memory, memory))
    heads = strengths * addressing.inverse_norm(contract("rwb,rwb->rb", keys, keys))
    return softmax(contract("rb,rnb->rnb", heads, contract("nb,rnb->rnb", rows, dots)))


@ops.custom_gradient
def softmax(x):
    """Softmax over the axis in the middle of three."""
    peak = settled(functools.reduce(ops.maximum, ops.unstack(x, axis=1)))
    powers = ops.exp(x - peak[:, None])
    result = powers / settled(total(ops.unstack(powers, axis=1)))[:, None]

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        weighted = result * upstream
        return weighted - result * settled(total(ops.unstack(weighted, axis=1)))[:, None]

    return result, gradient


def retention(free_gates, read_weights):
    """psi = prod over read heads of (1 - f w_r).

    Args:
        free_gates: (R, B), f.
        read_weights: (R, N, B), the LAST step's.

    Returns:
        (N, B).
    """
    return _product(1.0 - contract("rb,rnb->rnb", free_gates, read_weights))


def update_usage(usage, write_weights, retention):
    """u_t = (u + w - u w) psi, with w = 1 - prod over write heads of (1 - w_h).

    Args:
        usage: (N, B), u of the last step.
        write_weights: (H, N, B), the LAST step's.
        retention: (N, B), psi.

    Returns:
        (N, B).
    """
    written = 1.0 - _product(1.0 - write_weights)
    return (usage + written - usage * written) * retention


@ops.custom_gradient
def allocation_weights(usage):
    """a_j = (1 - u_j) prod_{i before j} u_i; the gradient as in `allocation.by_comparison`.

    Args:
        usage: (N, B) in [0, 1].

    Returns:
        (N, B).
    """
    usage = settled(usage)
    product = _product_before(usage, usage)
    positive = ops.maximum(usage, allocation.min_usage(usage.dtype))

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        s = settled(upstream * (1.0 - usage) * _product_before(usage, positive))
        return _sum_after(usage, s) / positive - upstream * product

    return (1.0 - usage) * product, gradient


def _product_before(usage, factors):
    """The product of the factors of the slots i that come before slot j: (N, B)."""
    one = ops.ones_like(usage)
    u, factors = ops.unstack(usage, axis=0), ops.unstack(factors, axis=0)
    chosen = [
        ops.where(_in_order(usage, u_i, i, operator.lt), factors[i], one) for i, u_i in enumerate(u)
    ]
    return functools.reduce(operator.mul, chosen)


def _sum_after(usage, terms):
    """The sum of the terms of the slots j that come after slot i: (N, B)."""
    zero = ops.zeros_like(usage)
    u, terms = ops.unstack(usage, axis=0), ops.unstack(terms, axis=0)
    return total(
        [
            ops.where(_in_order(usage, u_j, j, operator.gt), terms[j], zero)
            for j, u_j in enumerate(u)
        ]
    )


def _in_order(usage, u_i, i, order):
    """Whether slot i comes before every other slot (`lt`), or after it (`gt`): (N, B)."""
    slots = np.arange(usage.shape[0])[:, None]
    return ops.logical_or(
        ops.logical_and(order(u_i, usage), slots != i),  # to any rounding, not before itself
        ops.logical_and(u_i == usage, order(i, slots)),
    )


def update_link(link, precedence, write_weights):
    """L[i, j] = (1 - w_i - w_j) L[i, j] + w_i p_j, diagonal 0.

    Args:
        link: (H, N, N, B) of the last step.
        precedence: (H, N, B), the OLD precedence p_{t-1}.
        write_weights: (H, N, B), the current w_t.

    Returns:
        (H, N, N, B).
    """
    kept = (
        link
        - contract("hib,hijb->hijb", write_weights, link)
        - contract("hjb,hijb->hijb", write_weights, link)
    )
    updated = kept + contract("hib,hjb->hijb", write_weights, precedence)
    off_diagonal = 1.0 - np.eye(link.shape[1])[..., None]
    return updated * ops.cast(off_diagonal, updated.dtype)


def update_precedence(precedence, write_weights):
    """p_t = (1 - sum_i w_i) p + w.

    Args:
        precedence: (H, N, B) of the last step.
        write_weights: (H, N, B), the current w_t.

    Returns:
        (H, N, B).
    """
    written = contract("hnb,hnb->hb", write_weights, ops.ones_like(write_weights))
    return contract("hb,hnb->hnb", 1.0 - written, precedence) + write_weights


def follow_links(link, read_weights):
    """Forward and backward weightings f = L w_r and b = L^T w_r.

    Args:
        link: (H, N, N, B).
        read_weights: (R, N, B), the LAST step's.

    Returns:
        `(forward, backward)`, each (R, H, N, B).
    """
    forward = contract("hijb,rjb->rhib", link, read_weights)
    return forward, contract("hijb,rib->rhjb", link, read_weights)


def erase_and_write(memory, write_weights, erase, add):
    """M_t = M prod_h (1 - w_h e_h^T) + sum_h w_h a_h^T.

    Args:
        memory: (N, W, B) of the last step.
        write_weights: (H, N, B).
        erase: (H, W, B) in [0, 1], e.
        add: (H, W, B), a.

    Returns:
        (N, W, B).
    """
    kept = _product(1.0 - contract("hnb,hwb->hnwb", write_weights, erase))
    return memory * kept + contract("hnb,hwb->nwb", write_weights, add)


def read(memory, read_weights):
    """Read vectors r = sum_i w_i M_i.

    Args:
        memory: (N, W, B).
        read_weights: (R, N, B).

    Returns:
        (R, W, B).
    """
    return contract("rnb,nwb->rwb", read_weights, memory)


def _product(x):
    """The product over the first axis; its gradient needs no division."""
    return math.prod(ops.unstack(x, axis=0)[1:], start=x[0])
