"""The equations of memory addressing: pure functions of tensors.

Sources, cited below by these short names:

* NTM: Graves, Wayne, Danihelka, "Neural Turing Machines", 2014, arXiv:1410.5401.
* DNC: Graves et al., "Hybrid computing using a neural network with dynamic external memory",
  Nature 538, 2016. Equation names are those of its Methods section.
* CS19: Csordas, Schmidhuber, "Improving Differentiable Neural Computers Through Memory Masking,
  De-allocation, and Link Distribution Sharpness Control", ICLR 2019, arXiv:1904.10278.
* MANN: Santoro et al., "One-shot Learning with Memory-Augmented Neural Networks", 2016,
  arXiv:1605.06065.

Shapes use the letters B batch, N memory slots, W word size, H heads (of either kind), R read heads,
and K the shift range. The functions run on any Keras backend, in any floating dtype, and can be
differentiated. Suffix `_t` marks the current time step and `_tm1` the one before.

Each equation is written here once, over a `layouts.Layout`, which has the axis of the batch. It can
be called in two ways:

    addressing.retention(free_gates, read_weights)  # batch first, arguments are checked
    eq = addressing.over(layout)
    eq.retention(free_gates, read_weights)  # in any layout, unchecked: what a cell's step does

The checked functions raise TypeError for an argument that is no tensor of floating-point numbers,
and ValueError for one whose shape is another than documented or does not fit those of the others.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from keras import ops

from mf_keras import layouts, validation
from mf_keras.layouts import Layout
from mf_keras.types import Function, Tensor

# Vectors shorter than this are treated as if they had this length, which keeps the cosine and its
# gradient finite at zero. It lies below the norm of a memory row at its initial value of 1e-6.
_MIN_NORM = 1e-6
_MIN_NORM_FLOAT16 = 1e-2  # its square is still a normal float16 number

# Up to this many slots, allocation compares all pairs, which is faster than a sort and its gathers.
# So it was, by about a quarter of a DNC step, with 20 slots under XLA on a CPU; where the two break
# even was not measured.
_COMPARE_ALL_PAIRS = 64

# What the order of allocation adds to a usage for every slot before; a few roundings of a usage.
_TIE = 2.0**-20
_NEVER_LEAST = 1e38  # finite, for `tf.debugging.enable_check_numerics`

# What the gradient of allocation takes a usage to be at least.
_MIN_USAGE = 1e-12
_MIN_USAGE_FLOAT16 = 1e-4

# `sharpen` takes an entry below this part of its row's peak for 0. Below the smallest normal number
# 1 / x overflows, and with it the gradient of log x.
_MIN_RATIO = 1e-37
_MIN_RATIO_FLOAT16 = 1e-4

_P = ParamSpec("_P")
_R = TypeVar("_R")
_EQUATIONS: dict[str, Function] = {}


def equation(
    **shapes: str,
) -> Callable[[Callable[Concatenate[Layout, _P], _R]], Callable[_P, _R]]:
    """A decorator that makes the checked batch-first function of an equation over a layout.

    The equation itself, under its name, becomes a function of `over(layout)`.

    Args:
        **shapes: name of an argument -> its dimensions, as for `validation.shapes`.
    """

    def decorate(function: Callable[Concatenate[Layout, _P], _R]) -> Callable[_P, _R]:
        name = function.__name__
        _EQUATIONS[name] = function
        signature = inspect.signature(function)
        public = signature.replace(parameters=list(signature.parameters.values())[1:])

        @functools.wraps(function)
        def batch_first(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            return function(layouts.BATCH_FIRST, *args, **kwargs)

        batch_first.__signature__ = public  # type: ignore[attr-defined]
        checked = validation.shapes(**shapes)(batch_first)
        checked.equation = name  # type: ignore[attr-defined]
        return checked

    return decorate


class Equations:
    """The equations of this module over one layout, as methods of the same names and arguments.

    Args:
        layout: where the batch lies.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        for name, function in _EQUATIONS.items():
            setattr(self, name, functools.partial(function, layout))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{name} is no equation of addressing.")

    def apply(self, function: Function, x: Tensor) -> Tensor:
        """`function(x)`; over the layout, if it is one of this module, such as `softmax`."""
        name = getattr(function, "equation", None)
        return function(x) if name is None else getattr(self, name)(x)


@functools.cache
def over(layout: Layout) -> Equations:
    """The equations over a layout."""
    return Equations(layout)


@equation(x="...")
def oneplus(layout: Layout, x: Tensor) -> Tensor:
    """1 + log(1 + e^x), the DNC's map onto [1, inf) for strengths.

    Args:
        x: tensor of any shape.

    Returns:
        Tensor of the same shape, values >= 1.
    """
    return 1.0 + ops.softplus(x)


@equation(x="...")
def softmax(layout: Layout, x: Tensor) -> Tensor:
    """Softmax over the last axis besides the batch.

    Args:
        x: tensor (B, ..., N).

    Returns:
        Tensor of the same shape, each row a distribution.
    """
    return layout.softmax(x)


@equation(memory="BNW", keys="BHW", strengths="BH", masks="BHW")
def content_weights(
    layout: Layout, memory: Tensor, keys: Tensor, strengths: Tensor, masks: Tensor | None = None
) -> Tensor:
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
    product = layout.contract
    if masks is None:
        dots = product("hw,nw->hn", keys, memory)
        row_norms = inverse_norm(product("nw,nw->n", memory, memory))
        scaled = product("n,hn->hn", row_norms, dots)
    else:
        keys = keys * masks
        dots = product("hw,nw->hn", keys * masks, memory)
        row_norms = inverse_norm(product("hw,nw->hn", ops.square(masks), ops.square(memory)))
        scaled = row_norms * dots
    key_norms = inverse_norm(product("hw,hw->h", keys, keys))
    return layout.softmax(product("h,hn->hn", strengths * key_norms, scaled))


def inverse_norm(squares: Tensor) -> Tensor:
    """1 / norm from squared norms of any shape; finite for 0, and so is its gradient."""
    half = squares.dtype == "float16"
    floor = _MIN_NORM_FLOAT16 if half else _MIN_NORM
    # No `maximum`, as in `sharpen`.
    return ops.rsqrt(ops.where(squares >= floor * floor, squares, floor * floor))


@equation(free_gates="BR", read_weights="BRN")
def retention(layout: Layout, free_gates: Tensor, read_weights: Tensor) -> Tensor:
    """psi = prod over read heads of (1 - f w_r): how much of each slot the free gates keep.

    DNC "memory retention vector".

    Args:
        free_gates: (B, R) in [0, 1], f.
        read_weights: (B, R, N), the LAST step's read weightings.

    Returns:
        (B, N) in [0, 1].
    """
    return layout.product(1.0 - layout.contract("r,rn->rn", free_gates, read_weights))


@equation(usage="BN", write_weights="BHN", retention="BN")
def update_usage(layout: Layout, usage: Tensor, write_weights: Tensor, retention: Tensor) -> Tensor:
    """u_t = (u + w - u w) psi, with w = 1 - prod over write heads of (1 - w_h).

    DNC "usage vector". With one write head w is that head's weighting, as in the paper.

    Args:
        usage: (B, N), u of the last step.
        write_weights: (B, H, N), the LAST step's write weightings.
        retention: (B, N), psi.

    Returns:
        (B, N) in [0, 1].
    """
    written = 1.0 - layout.product(1.0 - write_weights)
    return (usage + written - usage * written) * retention


@equation(usage="BN")
def allocation_weights(layout: Layout, usage: Tensor) -> Tensor:
    """a[phi_j] = (1 - u[phi_j]) prod_{i<j} u[phi_i], phi the ascending order of usage.

    DNC "allocation weighting". The order is that of u_i + i 2^-20, then that of the slots. So
    usages that differ by rounding only, such as those of slots that were never written, count as
    tied, and the lower slot comes first: in every layout, on every machine. Usages that differ by
    less than 2^-20 for each slot between them are in slot order, too.

    Args:
        usage: (B, N) in [0, 1].

    Returns:
        (B, N), non-negative, sum <= 1.
    """
    if layout.size(usage, 0) <= _COMPARE_ALL_PAIRS:
        return _allocation_by_comparison(layout, usage)
    rows = ops.moveaxis(usage, layout.batch_axis, 0)
    return ops.moveaxis(_allocation_by_sorting(rows), 0, layout.batch_axis)


@equation(usage="BN", allocation_gates="BH", write_gates="BH")
def allocation_of_heads(
    layout: Layout, usage: Tensor, allocation_gates: Tensor, write_gates: Tensor
) -> Tensor:
    """The allocation weighting of each write head; each sees what the heads before it would use.

    With one head, "allocation weighting" of the DNC. With several, as in DeepMind's code: after a
    head, usage is u + (1 - u) g^a g^w a.

    Args:
        usage: (B, N) in [0, 1].
        allocation_gates: (B, H) in [0, 1], g^a.
        write_gates: (B, H) in [0, 1], g^w.

    Returns:
        (B, H, N), each row non-negative, sum <= 1.
    """
    weights = [over(layout).allocation_weights(usage)]
    for gate in layout.unstack(allocation_gates * write_gates)[:-1]:
        usage = usage + layout.contract(",n->n", gate, (1.0 - usage) * weights[-1])
        weights.append(over(layout).allocation_weights(usage))
    return layout.stack(weights)


@equation(usage="BN")
def least_used(layout: Layout, usage: Tensor, count: int = 1) -> Tensor:
    """1 at the `count` slots of least usage, 0 elsewhere; no gradient flows through it.

    MANN eq. 6. Slots are in the order of u_i + i 2^-20, as for `allocation_weights`, so ties go to
    the lower slot. The equation read literally gives 1 to every slot as little used as the
    `count`-th one, which are all of them at the first step.

    Args:
        usage: (B, N), non-negative, of the order of 1.
        count: number of slots.

    Returns:
        (B, N) of 0 and 1.

    Raises:
        TypeError, ValueError: `count` is no integer from 1 to N.
    """
    return ops.cast(sum(_least_used(layout, usage, count)), usage.dtype)


@equation(usage="BN")
def each_least_used(layout: Layout, usage: Tensor, count: int = 1) -> Tensor:
    """The slots of `least_used` one by one: row j has a 1 at the slot of the j-th least usage.

    Args:
        usage: (B, N), non-negative, of the order of 1.
        count: number of slots.

    Returns:
        (B, count, N) of 0 and 1, each row of sum 1.

    Raises:
        TypeError, ValueError: `count` is no integer from 1 to N.
    """
    return ops.cast(layout.stack(_least_used(layout, usage, count)), usage.dtype)


@equation(read_weights="BHN", least_used="BHN", gate="BH")
def least_recently_used_write(
    layout: Layout, read_weights: Tensor, least_used: Tensor, gate: Tensor
) -> Tensor:
    """w^w = sigma(alpha) w^r_{t-1} + (1 - sigma(alpha)) w^lu_{t-1}.

    MANN eq. 7: a head writes where the head of the same number has just read, or to the least used
    slot.

    Args:
        read_weights: (B, H, N), the LAST step's read weightings.
        least_used: (B, H, N), the least used slots that each head may write to.
        gate: (B, H) in [0, 1], sigma(alpha).

    Returns:
        (B, H, N); rows sum to 1 where those of both weightings do.
    """
    return over(layout).interpolate(read_weights, least_used, gate)


@equation(allocation="BHN", content="BHN", allocation_gates="BH", write_gates="BH")
def write_weighting(
    layout: Layout,
    allocation: Tensor,
    content: Tensor,
    allocation_gates: Tensor,
    write_gates: Tensor,
) -> Tensor:
    """w^w = g^w (g^a a + (1 - g^a) c^w).

    DNC "write weighting".

    Args:
        allocation: (B, H, N), a.
        content: (B, H, N), c^w, the content weightings of the write heads.
        allocation_gates: (B, H) in [0, 1], g^a.
        write_gates: (B, H) in [0, 1], g^w.

    Returns:
        (B, H, N), each row sums to at most 1.
    """
    g_a, g_w = allocation_gates, write_gates
    return layout.contract("h,hn->hn", g_w * g_a, allocation) + layout.contract(
        "h,hn->hn", g_w * (1.0 - g_a), content
    )


@equation(memory="BNW", retention="BN")
def deallocate(layout: Layout, memory: Tensor, retention: Tensor) -> Tensor:
    """M psi: what the free gates release is also erased.

    CS19 "de-allocation".

    Args:
        memory: (B, N, W), M of the last step.
        retention: (B, N), psi.

    Returns:
        (B, N, W).
    """
    return layout.contract("n,nw->nw", retention, memory)


@equation(link="BHNN", precedence="BHN", write_weights="BHN")
def update_link(layout: Layout, link: Tensor, precedence: Tensor, write_weights: Tensor) -> Tensor:
    """L[i, j] = (1 - w_i - w_j) L[i, j] + w_i p_j, diagonal 0.

    DNC "temporal link matrix": L[i, j] is near 1 where slot i was written right after slot j.

    Args:
        link: (B, H, N, N) of the last step, H write heads.
        precedence: (B, H, N), the OLD precedence p_{t-1}.
        write_weights: (B, H, N), the current w_t.

    Returns:
        (B, H, N, N), values in [0, 1], row and column sums <= 1, diagonal exactly 0.
    """
    kept = (
        link
        - layout.contract("hi,hij->hij", write_weights, link)
        - layout.contract("hj,hij->hij", write_weights, link)
    )
    updated = kept + layout.contract("hi,hj->hij", write_weights, precedence)
    return updated * layout.constant(1.0 - np.eye(layout.size(link, 1)), updated.dtype)


@equation(precedence="BHN", write_weights="BHN")
def update_precedence(layout: Layout, precedence: Tensor, write_weights: Tensor) -> Tensor:
    """p_t = (1 - sum_i w_i) p + w: to what degree each slot was the last one written.

    DNC "precedence weighting".

    Args:
        precedence: (B, H, N) of the last step.
        write_weights: (B, H, N), the current w_t.

    Returns:
        (B, H, N), non-negative, sum <= 1.
    """
    kept = 1.0 - layout.sum(write_weights)
    return layout.contract("h,hn->hn", kept, precedence) + write_weights


@equation(link="BHNN", read_weights="BRN")
def follow_links(layout: Layout, link: Tensor, read_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Forward and backward weightings f = L w_r and b = L^T w_r.

    DNC "forward weighting" and "backward weighting".

    Args:
        link: (B, H, N, N), H write heads.
        read_weights: (B, R, N), the LAST step's read weightings.

    Returns:
        `(forward, backward)`, each (B, R, H, N).
    """
    forward = layout.contract("hij,rj->rhi", link, read_weights)
    return forward, layout.contract("hij,ri->rhj", link, read_weights)


@equation(backward="BRHN", content="BRN", forward="BRHN", read_modes="BRM")
def read_weighting(
    layout: Layout, backward: Tensor, content: Tensor, forward: Tensor, read_modes: Tensor
) -> Tensor:
    """w^r = pi_1 b + pi_2 c^r + pi_3 f, summed over the write heads.

    DNC "read weighting".

    Args:
        backward: (B, R, H, N), b, of every write head.
        content: (B, R, N), c^r, the content weightings of the read heads.
        forward: (B, R, H, N), f.
        read_modes: (B, R, 2H + 1), pi: H backward, content, H forward; sums to 1.

    Returns:
        (B, R, N), each row sums to at most 1.
    """
    heads = layout.size(backward, 1)
    pi_b, pi_c, pi_f = layout.split(read_modes, [heads, 1, heads], 1)
    return (
        layout.contract("rh,rhn->rn", pi_b, backward)
        + layout.contract("r,rn->rn", ops.squeeze(pi_c, layout.axis(1)), content)
        + layout.contract("rh,rhn->rn", pi_f, forward)
    )


@equation(memory="BNW", write_weights="BHN", erase="BHW", add="BHW")
def erase_and_write(
    layout: Layout, memory: Tensor, write_weights: Tensor, erase: Tensor, add: Tensor
) -> Tensor:
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
    kept = layout.product(1.0 - layout.contract("hn,hw->hnw", write_weights, erase))
    return memory * kept + layout.contract("hn,hw->nw", write_weights, add)


@equation(memory="BNW", read_weights="BRN")
def read(layout: Layout, memory: Tensor, read_weights: Tensor) -> Tensor:
    """Read vectors r = sum_i w_i M_i.

    DNC "memory read"; NTM eq. 2.

    Args:
        memory: (B, N, W).
        read_weights: (B, R, N).

    Returns:
        (B, R, W).
    """
    return layout.contract("rn,nw->rw", read_weights, memory)


@equation(content="BHN", previous="BHN", gate="BH")
def interpolate(layout: Layout, content: Tensor, previous: Tensor, gate: Tensor) -> Tensor:
    """w_g = g w_c + (1 - g) w_{t-1}.

    NTM eq. 7.

    Args:
        content: (B, H, N), content weighting.
        previous: (B, H, N), last step's weighting.
        gate: (B, H) in [0, 1].

    Returns:
        (B, H, N).
    """
    return layout.contract("h,hn->hn", gate, content) + layout.contract(
        "h,hn->hn", 1.0 - gate, previous
    )


@equation(weights="BHN", taps="BHK")
def shift(layout: Layout, weights: Tensor, taps: Tensor) -> Tensor:
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
    num_taps = layout.size(taps, 1)
    if num_taps % 2 == 0:
        raise ValueError(f"taps must have an odd last dimension 2K + 1, got shape {taps.shape}.")
    offsets = range(-(num_taps // 2), num_taps // 2 + 1)
    moved = [ops.roll(weights, offset, axis=layout.last) for offset in offsets]
    return layout.contract("hk,hkn->hn", taps, layout.stack(moved, 1))


@equation(weights="BHN", gamma="BH")
def sharpen(layout: Layout, weights: Tensor, gamma: Tensor) -> Tensor:
    """w^gamma / sum w^gamma. A row of zeros stays zeros; gradients are finite everywhere.

    NTM eq. 9.

    Args:
        weights: (B, H, N), non-negative.
        gamma: (B, H), >= 1.

    Returns:
        (B, H, N), each row sums to 1, or is 0 where the weighting was.
    """
    # The result does not depend on the scale of the row. Dividing by its largest entry first keeps
    # a high power from underflowing to an empty weighting.
    peak = layout.max(ops.stop_gradient(weights))
    scaled = weights / ops.where(peak > 0, peak, ops.ones_like(peak))
    positive = scaled > (_MIN_RATIO_FLOAT16 if scaled.dtype == "float16" else _MIN_RATIO)
    base = ops.where(positive, scaled, ops.ones_like(scaled))
    powered = ops.exp(layout.contract("h,hn->hn", gamma, ops.log(base)))
    powered = ops.where(positive, powered, ops.zeros_like(powered))
    # 0, or at least 1; no `maximum`, whose gradient frameworks divide differently where both tie.
    total = layout.sum(powered)
    total = ops.where(total > 0, total, ops.ones_like(total))
    return layout.contract("h,hn->hn", 1.0 / total, powered)


@equation(weights="BRHN", sharpness="BRH")
def sharpen_links(layout: Layout, weights: Tensor, sharpness: Tensor) -> Tensor:
    """S(d, s) = d^s / sum d^s of each forward or backward weighting, as `sharpen`.

    CS19 "sharpness of temporal link distributions".

    Args:
        weights: (B, R, H, N), non-negative, of every read and write head.
        sharpness: (B, R, H), >= 1.

    Returns:
        (B, R, H, N), each row sums to 1, or is 0 where the weighting was.
    """
    reads, writes, slots = (layout.size(weights, i) for i in range(3))
    rows = layout.reshape(weights, (reads * writes, slots))
    sharp = over(layout).sharpen(rows, layout.reshape(sharpness, (reads * writes,)))
    return layout.reshape(sharp, (reads, writes, slots))


# The two ways to compute an allocation weighting. Their gradients are finite everywhere.


def _order_keys(layout: Layout, usage: Tensor) -> Tensor:
    """What the order of allocation goes by, in at least float32, without a gradient."""
    dtype = "float32" if usage.dtype in ("float16", "bfloat16") else usage.dtype
    ties = _TIE * np.arange(layout.size(usage, 0))
    return ops.cast(ops.stop_gradient(usage), dtype) + layout.constant(ties, dtype)


def _least_used(layout: Layout, usage: Tensor, count: int) -> list[Tensor]:
    """1 at the slot of the least usage, then at that of the second least, and so on: int32."""
    count = validation.positive_int("count", count, maximum=layout.size(usage, 0))
    keys = _order_keys(layout, usage)
    slots = layout.constant(np.arange(layout.size(usage, 0)), "int32")
    found = []
    for _ in range(count):
        least = ops.expand_dims(ops.argmin(keys, axis=layout.last), layout.last)
        chosen = ops.equal(slots, ops.cast(least, "int32"))
        keys = ops.where(chosen, ops.cast(_NEVER_LEAST, keys.dtype), keys)
        found.append(ops.cast(chosen, "int32"))
    return found


def _positive(usage: Tensor) -> Tensor:
    """Usage that is at least tiny."""
    return ops.maximum(usage, _MIN_USAGE_FLOAT16 if usage.dtype == "float16" else _MIN_USAGE)


def _allocation_by_sorting(usage: Tensor) -> Tensor:
    """In time N log N, of usage (B, N)."""
    keys = _order_keys(layouts.BATCH_FIRST, usage)
    order = ops.argsort(keys, axis=-1)  # stable
    ascending = layouts.at_slots(usage, order)
    allocation = (1.0 - ascending) * _exclusive_cumprod(ascending)
    return layouts.at_slots(allocation, ops.argsort(order, axis=-1))


def _exclusive_cumprod(x: Tensor) -> Tensor:
    """[1, x_0, x_0 x_1, ...] over the last axis of (B, N), in log2(N) multiplications.

    The usual cumulative product has a gradient that divides by x, which is NaN at an unused slot.
    """
    size = x.shape[-1]
    x = ops.concatenate([ops.ones_like(x[:, :1]), x[:, :-1]], axis=-1)
    offset = 1
    while offset < size:
        x = ops.concatenate([x[:, :offset], x[:, offset:] * x[:, :-offset]], axis=-1)
        offset *= 2
    return x


def _allocation_by_comparison(layout: Layout, usage: Tensor) -> Tensor:
    """a_j = (1 - u_j) prod_{i before j} u_i without a sort: N^2 work, all of it elementwise.

    The gradient is derived by hand, with s_j = (dL/da_j) a_j:

        dL/du_i = -(dL/da_i) prod_{k before i} u_k + sum_{j after i} s_j / u_i
    """

    @ops.custom_gradient
    def allocate(usage):
        usage = layout.materialize(usage)
        keys = layout.materialize(_order_keys(layout, usage))
        product = _product_before(layout, keys, usage)
        # A product without one of its factors is the product divided by it. That a factor of 0
        # stands for a tiny one makes this right where one factor is 0, and where more are.
        positive = _positive(usage)

        def gradient(*args, upstream=None):
            upstream = args[0] if upstream is None else upstream
            a_j = (1.0 - usage) * _product_before(layout, keys, positive)
            s_j = layout.materialize(upstream * a_j)
            return _sum_after(layout, keys, s_j) / positive - upstream * product

        return (1.0 - usage) * product, gradient

    return allocate(usage)


def _product_before(layout: Layout, keys: Tensor, factors: Tensor) -> Tensor:
    """The product of the factors of the slots i that come before slot j."""

    def factor(i, slot_i, j, slot_j):
        (key_i, factor_i), (key_j, _) = slot_i, slot_j
        return ops.where(_before(i, key_i, j, key_j), factor_i, ops.ones_like(factor_i))

    return layout.product_over_pairs(factor, keys, factors)


def _sum_after(layout: Layout, keys: Tensor, terms: Tensor) -> Tensor:
    """The sum of the terms of the slots i that come after slot j."""

    def term(i, slot_i, j, slot_j):
        (key_i, term_i), (key_j, _) = slot_i, slot_j
        return ops.where(_before(j, key_j, i, key_i), term_i, ops.zeros_like(term_i))

    return layout.sum_over_pairs(term, keys, terms)


def _before(i: Any, key_i: Tensor, j: Any, key_j: Tensor) -> Tensor:
    """Whether slot i comes before slot j, in a total order."""
    # XLA may compute a key twice, to another rounding; a slot never comes before itself.
    return ops.logical_or(
        ops.logical_and(key_i < key_j, i != j), ops.logical_and(key_i == key_j, i < j)
    )
