"""The equations of memory addressing: pure functions of tensors.

Sources, cited below by these short names:

* NTM: Graves, Wayne, Danihelka, "Neural Turing Machines", 2014, arXiv:1410.5401.
* DNC: Graves et al., "Hybrid computing using a neural network with dynamic external memory",
  Nature 538, 2016. Equation names are those of its Methods section.
* CS19: Csordas, Schmidhuber, "Improving Differentiable Neural Computers Through Memory Masking,
  De-allocation, and Link Distribution Sharpness Control", ICLR 2019, arXiv:1904.10278.

Shapes use the letters B batch, N memory slots, W word size, H heads (of either kind), R read heads,
and K the shift range. Everything is batch first and written in `keras.ops` alone, so the functions
run on any Keras backend, in any floating dtype, and can be differentiated. Suffix `_t` marks the
current time step and `_tm1` the one before.

`batch_last` has those of a DNC's step once more, with the batch as the last axis.

All of them raise TypeError for an argument that is no tensor of floating-point numbers, and
ValueError for one whose shape is another than documented or does not fit those of the others.
"""

import numpy as np
from keras import ops

from mf_keras import allocation, validation

# Vectors shorter than this are treated as if they had this length, which keeps the cosine and its
# gradient finite at zero. It lies below the norm of a memory row at its initial value of 1e-6.
_MIN_NORM = 1e-6
_MIN_NORM_FLOAT16 = 1e-2  # its square is still a normal float16 number

# Up to this many slots, allocation compares all pairs, which is faster than a sort and its gathers.
# So it was, by about a quarter of a DNC step, with 20 slots under XLA on a CPU; where the two break
# even was not measured.
_COMPARE_ALL_PAIRS = 64

# `sharpen` takes an entry below this part of its row's peak for 0. Below the smallest normal number
# 1 / x overflows, and with it the gradient of log x.
_MIN_RATIO = 1e-37
_MIN_RATIO_FLOAT16 = 1e-4


def oneplus(x):
    """1 + log(1 + e^x), the DNC's map onto [1, inf) for strengths.

    Args:
        x: tensor of any shape.

    Returns:
        Tensor of the same shape, values >= 1.
    """
    validation.floating("x", x)
    return 1.0 + ops.softplus(x)


@validation.shapes(memory="BNW", keys="BHW", strengths="BH", masks="BHW")
def content_weights(memory, keys, strengths, masks=None):
    """Content-based addressing C(M, k, beta): softmax over slots of beta x cosine(key, row).

    DNC "content-based addressing"; NTM eq. 5 and 6. A zero key or a zero row has cosine 0, and its
    gradient is finite.

    Args:
        memory: (B, N, W), M.
        keys: (B, H, W), k.
        strengths: (B, H), beta.
        masks: optional (B, H, W) in [0, 1], the parts of the word that the lookup compares
            (CS19, memory masking): key and rows are both multiplied by the mask.

    Returns:
        (B, H, N), each row a distribution over the slots.
    """
    if masks is None:
        dots = _product_transposed(keys, memory)  # (B, H, N)
        row_squares = ops.expand_dims(ops.sum(ops.square(memory), axis=-1), 1)  # (B, 1, N)
    else:
        keys = keys * masks
        dots = _product_transposed(keys * masks, memory)
        row_squares = _product_transposed(ops.square(masks), ops.square(memory))  # (B, H, N)
    key_squares = ops.sum(ops.square(keys), axis=-1, keepdims=True)  # (B, H, 1)
    cosine = dots * inverse_norm(key_squares) * inverse_norm(row_squares)
    return softmax(cosine * ops.expand_dims(strengths, -1))


def softmax(x):
    """Softmax over the last axis; where that has size 1, as Keras warns about, it is just 1."""
    return ops.ones_like(x) if x.shape[-1] == 1 else ops.softmax(x, axis=-1)


def inverse_norm(squares):
    """1 / norm from squared norms of any shape; finite for 0, and so is its gradient."""
    half = squares.dtype == "float16"
    floor = _MIN_NORM_FLOAT16 if half else _MIN_NORM
    return ops.rsqrt(ops.maximum(squares, floor * floor))


@validation.shapes(free_gates="BR", read_weights="BRN")
def retention(free_gates, read_weights):
    """psi = prod over read heads of (1 - f w_r): how much of each slot the free gates keep.

    DNC "memory retention vector".

    Args:
        free_gates: (B, R) in [0, 1], f.
        read_weights: (B, R, N), the LAST step's read weightings.

    Returns:
        (B, N) in [0, 1].
    """
    return _product_over_heads(1.0 - ops.expand_dims(free_gates, -1) * read_weights)


@validation.shapes(usage="BN", write_weights="BHN", retention="BN")
def update_usage(usage, write_weights, retention):
    """u_t = (u + w - u w) psi, with w = 1 - prod over write heads of (1 - w_h).

    DNC "usage vector". With one write head w is that head's weighting, as in the paper.

    Args:
        usage: (B, N), u of the last step.
        write_weights: (B, H, N), the LAST step's write weightings.
        retention: (B, N), psi.

    Returns:
        (B, N) in [0, 1].
    """
    written = 1.0 - _product_over_heads(1.0 - write_weights)
    return (usage + written - usage * written) * retention


@validation.shapes(usage="BN")
def allocation_weights(usage):
    """a[phi_j] = (1 - u[phi_j]) prod_{i<j} u[phi_i], phi the ascending order of usage.

    DNC "allocation weighting". The sort is stable: slots of equal usage are taken in slot order.

    Args:
        usage: (B, N) in [0, 1].

    Returns:
        (B, N), non-negative, sum <= 1.
    """
    few = usage.shape[-1] <= _COMPARE_ALL_PAIRS
    return allocation.by_comparison(usage) if few else allocation.by_sorting(usage)


@validation.shapes(link="BHNN", precedence="BHN", write_weights="BHN")
def update_link(link, precedence, write_weights):
    """L[i, j] = (1 - w_i - w_j) L[i, j] + w_i p_j, diagonal 0.

    DNC "temporal link matrix": L[i, j] is near 1 where slot i was written right after slot j.

    Args:
        link: (B, H, N, N) of the last step, H write heads.
        precedence: (B, H, N), the OLD precedence p_{t-1}.
        write_weights: (B, H, N), the current w_t.

    Returns:
        (B, H, N, N), values in [0, 1], row and column sums <= 1, diagonal exactly 0.
    """
    w_i = ops.expand_dims(write_weights, -1)  # (B, H, N, 1)
    w_j = ops.expand_dims(write_weights, -2)  # (B, H, 1, N)
    updated = (1.0 - w_i - w_j) * link + w_i * ops.expand_dims(precedence, -2)
    off_diagonal = 1.0 - np.eye(link.shape[-1])
    return updated * ops.cast(off_diagonal, updated.dtype)


@validation.shapes(precedence="BHN", write_weights="BHN")
def update_precedence(precedence, write_weights):
    """p_t = (1 - sum_i w_i) p + w: to what degree each slot was the last one written.

    DNC "precedence weighting".

    Args:
        precedence: (B, H, N) of the last step.
        write_weights: (B, H, N), the current w_t.

    Returns:
        (B, H, N), non-negative, sum <= 1.
    """
    return (1.0 - ops.sum(write_weights, axis=-1, keepdims=True)) * precedence + write_weights


@validation.shapes(link="BHNN", read_weights="BRN")
def follow_links(link, read_weights):
    """Forward and backward weightings f = L w_r and b = L^T w_r.

    DNC "forward weighting" and "backward weighting".

    Args:
        link: (B, H, N, N), H write heads.
        read_weights: (B, R, N), the LAST step's read weightings.

    Returns:
        `(forward, backward)`, each (B, R, H, N).
    """
    links = ops.unstack(link, axis=1)  # one (B, N, N) for each write head
    forward = [_product_transposed(read_weights, each) for each in links]
    backward = [_product(read_weights, each) for each in links]
    return ops.stack(forward, axis=2), ops.stack(backward, axis=2)


@validation.shapes(memory="BNW", write_weights="BHN", erase="BHW", add="BHW")
def erase_and_write(memory, write_weights, erase, add):
    """M_t = M prod_h (1 - w_h e_h^T) + sum_h w_h a_h^T: every head erases, then every head adds.

    DNC "memory write"; NTM eq. 3 and 4.

    Args:
        memory: (B, N, W) of the last step.
        write_weights: (B, H, N).
        erase: (B, H, W) in [0, 1], e.
        add: (B, H, W), a (the DNC's write vector v).

    Returns:
        (B, N, W).
    """
    w = ops.expand_dims(write_weights, -1)  # (B, H, N, 1)
    kept = _product_over_heads(1.0 - w * ops.expand_dims(erase, -2))  # (B, N, W)
    return memory * kept + ops.matmul(ops.transpose(write_weights, (0, 2, 1)), add)


@validation.shapes(memory="BNW", read_weights="BRN")
def read(memory, read_weights):
    """Read vectors r = sum_i w_i M_i.

    DNC "memory read"; NTM eq. 2.

    Args:
        memory: (B, N, W).
        read_weights: (B, R, N).

    Returns:
        (B, R, W).
    """
    return _product(read_weights, memory)


@validation.shapes(content="BHN", previous="BHN", gate="BH")
def interpolate(content, previous, gate):
    """w_g = g w_c + (1 - g) w_{t-1}.

    NTM eq. 7.

    Args:
        content: (B, H, N), content weighting.
        previous: (B, H, N), last step's weighting.
        gate: (B, H) in [0, 1].

    Returns:
        (B, H, N).
    """
    gate = ops.expand_dims(gate, -1)
    return gate * content + (1.0 - gate) * previous


@validation.shapes(weights="BHN", taps="BHK")
def shift(weights, taps):
    """Circular convolution of each weighting with its shift distribution.

    NTM eq. 8. Mass on the tap of offset +1 moves slot 0 to slot 1.

    Args:
        weights: (B, H, N).
        taps: (B, H, 2K + 1), the shift distribution, ordered from offset -K to +K.

    Returns:
        (B, H, N), with the same sum where the taps sum to 1.

    Raises:
        ValueError: the number of taps is even.
    """
    num_taps = taps.shape[-1]
    if num_taps % 2 == 0:
        raise ValueError(f"taps must have an odd last dimension 2K + 1, got shape {taps.shape}.")
    shift_range = num_taps // 2
    return sum(
        taps[..., k : k + 1] * ops.roll(weights, k - shift_range, axis=-1) for k in range(num_taps)
    )


@validation.shapes(weights="BHN", gamma="BH")
def sharpen(weights, gamma):
    """w^gamma / sum w^gamma. A row of zeros stays zeros; gradients are finite everywhere.

    NTM eq. 9, and the sharpness control S(d, s) of CS19 for links.

    Args:
        weights: (B, H, N), non-negative.
        gamma: (B, H), >= 1.

    Returns:
        (B, H, N), each row sums to 1, or is 0 where the weighting was.
    """
    # The result does not depend on the scale of the row. Dividing by its largest entry first keeps
    # a high power from underflowing to an empty weighting.
    peak = ops.stop_gradient(ops.max(weights, axis=-1, keepdims=True))
    scaled = weights / ops.where(peak > 0, peak, ops.ones_like(peak))
    positive = scaled > (_MIN_RATIO_FLOAT16 if scaled.dtype == "float16" else _MIN_RATIO)
    base = ops.where(positive, scaled, ops.ones_like(scaled))
    powered = ops.exp(ops.expand_dims(gamma, -1) * ops.log(base))
    powered = ops.where(positive, powered, ops.zeros_like(powered))
    total = ops.sum(powered, axis=-1, keepdims=True)  # 0, or at least 1
    return powered / ops.maximum(total, 1.0)


# The products of weightings or keys with a matrix. Their gradient with respect to the matrix is a
# sum of outer products, one a head, which is written as such: XLA's CPU backend takes long for the
# batched product in its place, whose first factor is transposed and has few rows.


@ops.custom_gradient
def _product(rows, matrix):
    """(B, H, N) times (B, N, W): (B, H, W)."""

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        to_rows = ops.matmul(upstream, ops.transpose(matrix, (0, 2, 1)))
        return to_rows, _sum_of_outer_products(rows, upstream)

    return ops.matmul(rows, matrix), gradient


@ops.custom_gradient
def _product_transposed(rows, matrix):
    """(B, H, W) times the transposed (B, N, W): (B, H, N)."""

    def gradient(*args, upstream=None):
        upstream = args[0] if upstream is None else upstream
        return ops.matmul(upstream, matrix), _sum_of_outer_products(upstream, rows)

    return ops.matmul(rows, ops.transpose(matrix, (0, 2, 1))), gradient


def _sum_of_outer_products(x, y):
    """sum over the heads of x_h y_h^T: (B, H, N) and (B, H, W) to (B, N, W)."""
    pairs = zip(ops.unstack(x, axis=1), ops.unstack(y, axis=1), strict=True)
    return sum(ops.expand_dims(a, 2) * ops.expand_dims(b, 1) for a, b in pairs)


def _product_over_heads(x):
    """Product over axis 1, by plain multiplication: its gradient needs no division."""
    heads = ops.unstack(x, axis=1)
    product = heads[0]
    for head in heads[1:]:
        product = product * head
    return product
