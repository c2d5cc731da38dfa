import inspect
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import addressing, layouts
from tests import reference
from tests.backends import tf


class Sizes(NamedTuple):
    b: int  # batch
    r: int  # read heads
    h: int  # heads
    n: int  # slots
    w: int  # word size
    k: int  # shift range


small = st.integers(1, 3)
sizes = st.builds(
    Sizes, small, small, small, st.integers(1, 6), st.integers(1, 5), st.integers(0, 2)
)
seeds = st.integers(0, 2**32 - 1)


def _weighting(rng, *shape):
    """Non-negative, sums below 1."""
    weights = rng.uniform(0.05, 1.0, shape)
    return weights / weights.sum(-1, keepdims=True) * rng.uniform(0.3, 1.0, (*shape[:-1], 1))


def _link(rng, b, h, n):
    link = _weighting(rng, b, h, n, n) / n
    return link * (1.0 - np.eye(n))


def _taps(rng, b, h, k):
    taps = rng.uniform(0.1, 1.0, (b, h, 2 * k + 1))
    return taps / taps.sum(-1, keepdims=True)


def _lookup(rng, s):
    strengths = rng.uniform(1.0, 4.0, (s.b, s.h))
    return rng.normal(size=(s.b, s.n, s.w)), rng.normal(size=(s.b, s.h, s.w)), strengths


# Function name -> its inputs, all of them batch first.
INPUTS = {
    "oneplus": lambda rng, s: [rng.normal(size=(s.b, s.h, s.n)) * 5.0],
    "content_weights": lambda rng, s: [*_lookup(rng, s)],
    "content_weights, masked": lambda rng, s: [
        *_lookup(rng, s),
        rng.uniform(0.1, 1.0, (s.b, s.h, s.w)),
    ],
    "retention": lambda rng, s: [rng.uniform(size=(s.b, s.r)), _weighting(rng, s.b, s.r, s.n)],
    "update_usage": lambda rng, s: [
        rng.uniform(size=(s.b, s.n)),
        _weighting(rng, s.b, s.h, s.n),
        rng.uniform(size=(s.b, s.n)),
    ],
    "allocation_weights": lambda rng, s: [rng.uniform(size=(s.b, s.n))],
    "allocation_weights, many slots": lambda rng, s: [rng.uniform(0.9, 1.0, (s.b, 64 + s.n))],
    "allocation_of_heads": lambda rng, s: [
        rng.uniform(size=(s.b, s.n)),
        rng.uniform(size=(s.b, s.h)),
        rng.uniform(size=(s.b, s.h)),
    ],
    "write_weighting": lambda rng, s: [
        _weighting(rng, s.b, s.h, s.n),
        _weighting(rng, s.b, s.h, s.n),
        rng.uniform(size=(s.b, s.h)),
        rng.uniform(size=(s.b, s.h)),
    ],
    "deallocate": lambda rng, s: [
        rng.normal(size=(s.b, s.n, s.w)),
        rng.uniform(size=(s.b, s.n)),
    ],
    "update_link": lambda rng, s: [
        _link(rng, s.b, s.h, s.n),
        _weighting(rng, s.b, s.h, s.n),
        _weighting(rng, s.b, s.h, s.n),
    ],
    "update_precedence": lambda rng, s: [
        _weighting(rng, s.b, s.h, s.n),
        _weighting(rng, s.b, s.h, s.n),
    ],
    "follow_links": lambda rng, s: [_link(rng, s.b, s.h, s.n), _weighting(rng, s.b, s.r, s.n)],
    "read_weighting": lambda rng, s: [
        _weighting(rng, s.b, s.r, s.h, s.n),
        _weighting(rng, s.b, s.r, s.n),
        _weighting(rng, s.b, s.r, s.h, s.n),
        _taps(rng, s.b, s.r, s.h),
    ],
    "erase_and_write": lambda rng, s: [
        rng.normal(size=(s.b, s.n, s.w)),
        _weighting(rng, s.b, s.h, s.n),
        rng.uniform(size=(s.b, s.h, s.w)),
        rng.normal(size=(s.b, s.h, s.w)),
    ],
    "read": lambda rng, s: [rng.normal(size=(s.b, s.n, s.w)), _weighting(rng, s.b, s.r, s.n)],
    "interpolate": lambda rng, s: [
        _weighting(rng, s.b, s.h, s.n),
        _weighting(rng, s.b, s.h, s.n),
        rng.uniform(size=(s.b, s.h)),
    ],
    "least_recently_used_write": lambda rng, s: [
        _weighting(rng, s.b, s.h, s.n),
        _weighting(rng, s.b, s.h, s.n),
        rng.uniform(size=(s.b, s.h)),
    ],
    "shift": lambda rng, s: [_weighting(rng, s.b, s.h, s.n), _taps(rng, s.b, s.h, s.k)],
    "sharpen": lambda rng, s: [_weighting(rng, s.b, s.h, s.n), rng.uniform(1.0, 5.0, (s.b, s.h))],
    "sharpen_links": lambda rng, s: [
        _weighting(rng, s.b, s.r, s.h, s.n),
        rng.uniform(1.0, 5.0, (s.b, s.r, s.h)),
    ],
}
EACH = pytest.mark.parametrize("name", INPUTS)


def _function(name, module=addressing):
    return getattr(module, name.partition(",")[0])


def _flat(outputs):
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _inputs(name, seed, s, dtype="float64"):
    return [x.astype(dtype) for x in INPUTS[name](np.random.default_rng(seed), s)]


def _in_layout(name, layout):
    """The bare equation over a layout, as a function of tensors (B, ...)."""
    bare = getattr(addressing.over(layout), name.partition(",")[0])

    def function(*tensors):
        moved = [tf.experimental.numpy.moveaxis(x, 0, layout.batch_axis) for x in tensors]
        outputs = _flat(bare(*moved))
        return tuple(tf.experimental.numpy.moveaxis(x, layout.batch_axis, 0) for x in outputs)

    return function


def _run(name, arrays, function=None):
    outputs = _flat((function or _function(name))(*map(tf.constant, arrays)))
    assert all(x.dtype == arrays[0].dtype for x in outputs)
    return [x.numpy() for x in outputs]


def _check_against_reference(name, arrays, rtol, atol, function=None):
    expected = _flat(_function(name, reference)(*[x.astype("float64") for x in arrays]))
    for x, y in zip(_run(name, arrays, function), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)


def _gradients(function, arrays):
    """Gradients of the sum of all outputs, each entry with its own factor."""
    tensors = [tf.constant(x) for x in arrays]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        outputs = _flat(function(*tensors))
        factors = [np.random.default_rng(1).normal(size=x.shape) for x in outputs]
        total = sum(
            tf.reduce_sum(tf.cast(f, x.dtype) * x) for f, x in zip(factors, outputs, strict=True)
        )
    gradients = tape.gradient(total, tensors, unconnected_gradients="zero")
    return [g.numpy() for g in gradients], factors


def _central_differences(function, arrays, factors, eps=1e-6):
    """The same by central differences; all shifted copies go through as one large batch."""
    copies = 2 * sum(x.size for x in arrays)
    tiled = [np.tile(x[None], (copies, *[1] * x.ndim)) for x in arrays]
    copy = 0
    for x in tiled:
        for entry in np.ndindex(x.shape[1:]):
            x[(copy, *entry)] += eps
            x[(copy + 1, *entry)] -= eps
            copy += 2
    outputs = _flat(function(*[tf.constant(x.reshape(-1, *x.shape[2:])) for x in tiled]))
    totals = 0.0
    for f, x in zip(factors, outputs, strict=True):
        totals = totals + (x.numpy().reshape(copies, *f.shape) * f).reshape(copies, -1).sum(1)
    slopes = (totals[0::2] - totals[1::2]) / (2 * eps)
    pieces = np.split(slopes, np.cumsum([x.size for x in arrays])[:-1])
    return [piece.reshape(x.shape) for piece, x in zip(pieces, arrays, strict=True)]


def _all_finite(arrays):
    return all(np.isfinite(np.asarray(x, "float64")).all() for x in arrays)


@EACH
@settings(max_examples=8)
@given(s=sizes, seed=seeds)
def test_equals_the_paper_in_float32(name, s, seed):
    _check_against_reference(name, _inputs(name, seed, s, "float32"), rtol=1e-5, atol=1e-6)


@EACH
@settings(max_examples=8)
@given(s=sizes, seed=seeds)
def test_equals_the_paper_in_float64(name, s, seed):
    _check_against_reference(name, _inputs(name, seed, s), rtol=1e-10, atol=1e-13)


@EACH
@settings(max_examples=3)
@given(s=sizes, seed=seeds)
def test_the_batch_last_equals_the_paper_and_has_the_gradients_of_the_batch_first(name, s, seed):
    arrays = _inputs(name, seed, s)
    function = _in_layout(name, layouts.BATCH_LAST)
    _check_against_reference(name, arrays, rtol=1e-10, atol=1e-13, function=function)
    if name.endswith("many slots"):
        return  # takes long step by step
    actual, expected = (_gradients(each, arrays)[0] for each in (function, _function(name)))
    for x, y in zip(actual, expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


@EACH
@settings(max_examples=6)
@given(s=sizes, seed=seeds)
def test_gradients_are_those_of_central_differences(name, s, seed):
    s = s._replace(b=min(s.b, 2))
    arrays = _inputs(name, seed, s)
    gradients, factors = _gradients(_function(name), arrays)
    numerical = _central_differences(_function(name), arrays, factors)
    for x, y in zip(gradients, numerical, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


@EACH
def test_one_of_everything(name):
    arrays = _inputs(name, 0, Sizes(1, 1, 1, 1, 1, 0))
    for layout in layouts.BY_NAME.values():
        function = _in_layout(name, layout)
        _check_against_reference(name, arrays, rtol=1e-10, atol=1e-13, function=function)


@EACH
def test_the_batch_last_keeps_float32(name):
    arrays = _inputs(name, 0, Sizes(3, 2, 2, 4, 3, 0), "float32")
    _run(name, arrays, _in_layout(name, layouts.BATCH_LAST))


def test_the_public_functions_show_their_own_arguments_and_the_bare_ones_have_the_same():
    function = addressing.content_weights
    assert list(inspect.signature(function).parameters) == ["memory", "keys", "strengths", "masks"]
    bare = addressing.over(layouts.BATCH_LAST).content_weights
    assert inspect.signature(bare) == inspect.signature(function)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'strengths'"):
        function(tf.ones((1, 2, 3)), tf.ones((1, 1, 3)))
    with pytest.raises(AttributeError, match="content_weight is no equation of addressing"):
        _ = addressing.over(layouts.BATCH_LAST).content_weight


@pytest.mark.long
def test_xla_agrees_with_eager():
    s = Sizes(b=2, r=3, h=2, n=4, w=3, k=1)
    inputs = {name: _inputs(name, 0, s, "float32") for name in INPUTS}
    inputs["allocation_weights, ties"] = [np.float32([[0.5, 0.2, 0.5, 0.2], [0, 0, 1, 1]])]
    many = np.random.default_rng(0).choice([0.0, 0.25, 1.0], size=(2, 80), p=[0.01, 0.1, 0.89])
    inputs["allocation_weights, many ties"] = [many.astype("float32")]

    @tf.function(jit_compile=True)
    def compiled(inputs):
        return {name: _flat(_function(name)(*arrays)) for name, arrays in inputs.items()}

    outputs = compiled(tf.nest.map_structure(tf.constant, inputs))
    for name, arrays in inputs.items():
        for x, y in zip(outputs[name], _run(name, arrays), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6, err_msg=name)


# oneplus


def test_oneplus_is_finite_far_from_zero():
    x = tf.constant([-1e4, -50.0, 0.0, 50.0, 1e4])
    np.testing.assert_allclose(
        addressing.oneplus(x), [1.0, 1.0, 1.0 + np.log(2.0), 51.0, 10001.0], rtol=1e-6
    )


# content_weights


@settings(max_examples=10)
@given(s=sizes, seed=seeds)
def test_content_weights_are_distributions(s, seed):
    memory, keys, strengths = _inputs("content_weights", seed, s, "float32")
    weights = _run("content_weights", [memory, keys, strengths * 20])[0]
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-5, 1e-2, 1e3])
def test_content_weights_do_not_depend_on_the_length_of_keys_and_rows(scale):
    memory, keys, strengths = _inputs("content_weights", 0, Sizes(2, 1, 2, 4, 3, 0))
    expected = _run("content_weights", [memory, keys, strengths])[0]
    scaled = _run("content_weights", [memory * scale, keys * scale, strengths])[0]
    np.testing.assert_allclose(scaled, expected, rtol=1e-9)


def test_rows_of_the_initial_memory_have_a_cosine_of_one():
    memory = np.full((1, 2, 16), 1e-6, "float32")
    memory[:, 1] *= -1
    weights = _run("content_weights", [memory, np.ones((1, 1, 16), "float32"), np.float32([[2]])])
    np.testing.assert_allclose(weights[0], [[reference.softmax([2.0, -2.0])]], rtol=1e-5)


def test_a_zero_mask_hides_its_part_of_the_word():
    memory, keys, strengths, masks = _inputs("content_weights, masked", 0, Sizes(2, 1, 2, 4, 3, 0))
    masks[..., 0] = 0.0
    before = _run("content_weights", [memory, keys, strengths, masks])[0]
    memory[..., 0], keys[..., 0] = 7.0, -3.0
    np.testing.assert_allclose(
        _run("content_weights", [memory, keys, strengths, masks])[0], before, rtol=1e-12
    )


EACH_LAYOUT = pytest.mark.parametrize("layout", layouts.BY_NAME.values(), ids=lambda x: x.name)


@EACH_LAYOUT
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("zero", ["memory", "keys", "both", "masks"])
def test_content_weights_are_safe_at_zero(zero, masked, dtype, layout):
    name = "content_weights, masked" if masked else "content_weights"
    arrays = _inputs(name, 0, Sizes(2, 1, 2, 4, 3, 0), dtype)
    zeroed = {"memory": [0], "keys": [1], "both": [0, 1], "masks": [3]}[zero]
    if zeroed == [3] and not masked:
        zeroed = []
    for i in zeroed:
        arrays[i] = np.zeros_like(arrays[i])
    function = _in_layout(name, layout)
    assert _all_finite(_gradients(function, arrays)[0])
    if zeroed:
        np.testing.assert_allclose(_run(name, arrays, function)[0], 0.25, rtol=1e-3)


# retention and usage


@settings(max_examples=10)
@given(s=sizes, seed=seeds)
def test_retention_and_usage_stay_in_the_unit_interval(s, seed):
    psi = _run("retention", _inputs("retention", seed, s, "float32"))[0]
    usage, writes, _ = _inputs("update_usage", seed, s, "float32")
    for u in (usage, np.zeros_like(usage), np.ones_like(usage)):
        updated = _run("update_usage", [u, writes, psi])[0]
        assert ((psi >= 0) & (psi <= 1)).all()
        assert (updated >= 0).all()
        assert (updated <= 1 + 1e-6).all()


def _one_hot(slot, n=4):
    return np.eye(n, dtype="float32")[slot][None, None]


def test_a_full_write_makes_a_slot_used():
    usage = np.float32([[0.3, 0.3, 0.0, 1.0]])
    psi = _run("retention", [np.float32([[0.0]]), _one_hot(1)])[0]
    updated = _run("update_usage", [usage, _one_hot(1), psi])[0]
    np.testing.assert_allclose(updated, [[0.3, 1.0, 0.0, 1.0]], rtol=1e-6)


def test_a_freed_read_makes_a_slot_unused_even_if_it_was_written():
    usage = np.float32([[0.3, 0.3, 0.0, 1.0]])
    psi = _run("retention", [np.float32([[1.0]]), _one_hot(3)])[0]
    updated = _run("update_usage", [usage, _one_hot(3), psi])[0]
    np.testing.assert_allclose(updated, [[0.3, 0.3, 0.0, 0.0]], rtol=1e-6)


# allocation_weights


@settings(max_examples=10)
@given(s=sizes, seed=seeds, many=st.booleans())
def test_allocation_sums_to_one_minus_the_product_of_usage(s, seed, many):
    name = "allocation_weights, many slots" if many else "allocation_weights"
    usage = _inputs(name, seed, s, "float32")[0]
    allocation = _run(name, [usage])[0]
    assert (allocation >= 0).all()
    np.testing.assert_allclose(allocation.sum(-1), 1.0 - usage.prod(-1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("slots", [1, 2, 6, 64, 65, 100])
@pytest.mark.parametrize("value", [0.0, 0.5, 0.99])
def test_equal_usage_allocates_in_slot_order(slots, value):
    usage = np.full((2, slots), value, "float32")
    expected = (1.0 - value) * value ** np.arange(slots, dtype="float64")
    allocation = _run("allocation_weights", [usage])[0]
    np.testing.assert_allclose(allocation, [expected, expected], rtol=2e-5, atol=1e-37)


@EACH_LAYOUT
@pytest.mark.parametrize("slots", [6, 64, 65, 100])
def test_ties_allocate_in_slot_order(slots, layout):
    usage = np.random.default_rng(0).choice([0.5, 0.9, 0.99], size=(3, slots)).astype("float32")
    function = _in_layout("allocation_weights", layout)
    _check_against_reference(
        "allocation_weights", [usage], rtol=2e-5, atol=1e-37, function=function
    )


@EACH_LAYOUT
@pytest.mark.parametrize("slots", [6, 70])  # by comparison, by sorting
@pytest.mark.parametrize("value", [0.0, 1e-3, 0.5, 0.97])
def test_usages_equal_up_to_rounding_allocate_in_slot_order(value, slots, layout):
    tied = np.full((8, slots), value, "float32")
    up, down = np.nextafter(tied, np.float32(2)), np.nextafter(tied, np.float32(0))
    usage = np.random.default_rng(0).choice([0, 1, 2], size=tied.shape)
    usage = np.choose(usage, [down, tied, up])
    allocation = _run("allocation_weights", [usage], _in_layout("allocation_weights", layout))[0]
    before = np.cumprod(np.concatenate([np.ones((8, 1)), usage[:, :-1]], axis=1), axis=1)
    np.testing.assert_allclose(allocation, (1.0 - usage) * before, rtol=1e-5, atol=1e-37)


def test_a_usage_that_is_lower_by_more_than_a_tie_comes_first():
    usage = np.float32([[0.5, 0.5 - 4 * 2.0**-20]])
    assert _run("allocation_weights", [usage])[0].argmax() == 1


@EACH_LAYOUT
@pytest.mark.parametrize("slots", [6, 70])
def test_allocation_is_right_and_smooth_at_usage_zero_and_one(slots, layout):
    rng = np.random.default_rng(0)
    usage = rng.choice([0.0, 0.7, 1.0], size=(4, slots), p=[0.05, 0.05, 0.9]).astype("float32")
    usage[0], usage[1] = 1.0, 0.0
    function = _in_layout("allocation_weights", layout)
    _check_against_reference("allocation_weights", [usage], rtol=1e-5, atol=0, function=function)
    assert _all_finite(_gradients(function, [usage])[0])


def test_later_write_heads_allocate_other_slots():
    arrays = [np.float32([[0.9, 0.0, 0.5, 0.1]]), np.ones((1, 3), "f"), np.ones((1, 3), "f")]
    allocation = _run("allocation_of_heads", arrays)[0]
    np.testing.assert_allclose(allocation[0], np.eye(4)[[1, 3, 2]] * [[1], [0.9], [0.5]], atol=0.1)
    assert (allocation[0].argmax(-1) == [1, 3, 2]).all()


@pytest.mark.parametrize("slots", [6, 100])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_allocation_of_half_floats_is_smooth_at_usage_zero_and_one(dtype, slots):
    rng = np.random.default_rng(0)
    usage = rng.choice([0.0, 0.7, 1.0], size=(4, slots), p=[0.05, 0.05, 0.9])
    usage[0], usage[1] = 1.0, 0.0
    usage = tf.cast(usage, dtype)
    with tf.GradientTape() as tape:
        tape.watch(usage)
        weights = addressing.allocation_weights(usage)
    assert _all_finite(tf.cast(tape.gradient(weights, usage), "float32"))


def test_refuses_whole_numbers():
    whole = np.ones((2, 3), "int32")
    for call in (addressing.allocation_weights, addressing.oneplus):
        with pytest.raises(TypeError, match="must hold floating-point numbers, got int32"):
            call(whole)
    with pytest.raises(TypeError, match="x must be a tensor"):
        addressing.oneplus("x")


@EACH_LAYOUT
def test_the_least_used_slots_are_the_lower_ones_of_those_that_are_tied(layout):
    usage = np.float32([[0.5, 0.1, 0.0, 0.1, 0.9], [0.2, 0.2, np.nextafter(0.2, 0), 0.2, 0.2]])
    lying = usage if layout is layouts.BATCH_FIRST else usage.T
    for count, expected in ((1, [[2], [0]]), (2, [[1, 2], [0, 1]]), (3, [[1, 2, 3], [0, 1, 2]])):
        chosen = np.asarray(addressing.over(layout).least_used(tf.constant(lying), count))
        chosen = chosen if layout is layouts.BATCH_FIRST else chosen.T
        assert [list(np.flatnonzero(row)) for row in chosen] == expected


@EACH_LAYOUT
def test_each_of_the_least_used_slots_has_a_row_of_its_own(layout):
    usage = np.random.default_rng(0).choice([0.0, 0.3, 4.0], size=(3, 70)).astype("float32")
    lying = usage if layout is layouts.BATCH_FIRST else usage.T
    found = addressing.over(layout).each_least_used(tf.constant(lying), 3)
    found = np.moveaxis(np.asarray(found), layout.batch_axis, 0)
    np.testing.assert_array_equal(found, reference.least_used(usage, 3))


@pytest.mark.parametrize("count", [0, 6])
def test_there_must_be_as_many_slots_as_the_least_used_ones(count):
    for function in (addressing.least_used, addressing.each_least_used):
        with pytest.raises(ValueError, match="count must be an integer"):
            function(tf.zeros((2, 5)), count)


# links and precedence


def _write_for_a_while(s, seed, sharp):
    rng = np.random.default_rng(seed)
    link = tf.zeros((s.b, s.h, s.n, s.n))
    precedence = tf.zeros((s.b, s.h, s.n))
    for _ in range(8):
        logits = rng.normal(size=(s.b, s.h, s.n)) * (50.0 if sharp else 1.0)
        writes = tf.nn.softmax(tf.constant(logits, "float32")) * rng.choice([1.0, 0.5, 1e-3])
        link = addressing.update_link(link, precedence, writes)
        precedence = addressing.update_precedence(precedence, writes)
    return link.numpy(), precedence.numpy()


@settings(max_examples=10)
@given(s=sizes, seed=seeds, sharp=st.booleans())
def test_links_and_precedence_stay_weightings(s, seed, sharp):
    link, precedence = _write_for_a_while(s, seed, sharp)
    assert (np.diagonal(link, axis1=-2, axis2=-1) == 0).all()
    for weights in (link, np.swapaxes(link, -1, -2), precedence):
        assert (weights >= -1e-6).all()
        assert (weights.sum(-1) <= 1 + 1e-5).all()


def test_links_lead_from_each_write_to_the_next():
    link, precedence = np.zeros((1, 1, 4, 4), "float32"), np.zeros((1, 1, 4), "float32")
    for slot in (2, 0, 3):
        (link,) = _run("update_link", [link, precedence, _one_hot(slot)])
        (precedence,) = _run("update_precedence", [precedence, _one_hot(slot)])
    forward, backward = _run("follow_links", [link, _one_hot(0)])
    np.testing.assert_array_equal(precedence, _one_hot(3))
    np.testing.assert_array_equal(forward[:, 0], _one_hot(3))
    np.testing.assert_array_equal(backward[:, 0], _one_hot(2))


# erase_and_write and read


def test_a_read_returns_what_was_written():
    memory = np.random.default_rng(0).normal(size=(1, 4, 3)).astype("float32")
    ones, word = np.ones((1, 1, 3), "float32"), np.float32([[[1, -2, 3]]])
    (written,) = _run("erase_and_write", [memory, _one_hot(2), ones, word])
    np.testing.assert_array_equal(_run("read", [written, _one_hot(2)])[0], word)
    np.testing.assert_array_equal(written[:, [0, 1, 3]], memory[:, [0, 1, 3]])


def test_no_head_erases_what_another_adds():
    memory = np.ones((1, 4, 3), "float32")
    writes = np.concatenate([_one_hot(2), _one_hot(2)], axis=1)
    erase, add = np.ones((1, 2, 3), "float32"), np.ones((1, 2, 3), "float32")
    (written,) = _run("erase_and_write", [memory, writes, erase, add])
    np.testing.assert_array_equal(written[0, 2], [2, 2, 2])


# interpolate, shift, sharpen


@pytest.mark.parametrize("gate", [0.0, 1.0])
def test_a_closed_gate_keeps_the_old_weights_and_an_open_one_takes_the_new(gate):
    content, previous, _ = _inputs("interpolate", 0, Sizes(2, 1, 2, 4, 1, 0))
    gated = _run("interpolate", [content, previous, np.full((2, 2), gate)])[0]
    np.testing.assert_array_equal(gated, content if gate else previous)


@pytest.mark.parametrize(
    ("taps", "slot"), [([1, 0, 0], 3), ([0, 1, 0], 0), ([0, 0, 1], 1), ([0, 0, 0, 0, 1], 2)]
)
def test_shift_moves_by_the_offset_of_the_tap(taps, slot):
    moved = _run("shift", [_one_hot(0), np.float32([[taps]])])[0]
    np.testing.assert_array_equal(moved, _one_hot(slot))


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_shift_wraps_around_more_than_once(slots):
    s = Sizes(b=2, r=1, h=2, n=slots, w=1, k=5)
    arrays = _inputs("shift", 0, s)
    _check_against_reference("shift", arrays, rtol=1e-12, atol=0)
    np.testing.assert_allclose(_run("shift", arrays)[0].sum(-1), arrays[0].sum(-1), rtol=1e-12)


@pytest.mark.parametrize("num_taps", [2, 4])
def test_shift_refuses_an_even_number_of_taps(num_taps):
    with pytest.raises(ValueError, match="taps must have an odd"):
        addressing.shift(tf.ones((1, 1, 4)), tf.ones((1, 1, num_taps)))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("gamma", [1.0, 1.5, 30.0])
def test_sharpen_is_safe_at_zero(gamma, dtype):
    weights = np.array([[[0, 0, 0], [0, 0.5, 0.5], [0, 0, 1]]], dtype)
    gammas = np.full((1, 3), gamma, dtype)
    np.testing.assert_allclose(_run("sharpen", [weights, gammas])[0], weights, rtol=1e-3)
    assert _all_finite(_gradients(addressing.sharpen, [weights, gammas])[0])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_sharpen_has_finite_gradients_next_to_zero(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    weights = np.array([[[1, tiny, 4 * tiny], [1, np.finfo(dtype).tiny, 0]]], dtype)
    for gamma in (1.5, 30.0):
        gammas = np.full((1, 2), gamma, dtype)
        assert _all_finite(_gradients(addressing.sharpen, [weights, gammas])[0])


def test_a_high_power_does_not_empty_a_weighting():
    weights = np.full((1, 1, 50), 0.02, "float32")
    weights[0, 0, 7] = 0.025
    sharp = _run("sharpen", [weights, np.float32([[200.0]])])[0]
    np.testing.assert_allclose(sharp.sum(-1), 1.0, rtol=1e-6)
    assert sharp[0, 0, 7] > 0.999
    assert _all_finite(_gradients(addressing.sharpen, [weights, np.float32([[200.0]])])[0])


@settings(max_examples=10)
@given(s=sizes, seed=seeds, gamma=st.floats(1.0, 100.0))
def test_sharpened_weights_are_distributions_with_a_higher_peak(s, seed, gamma):
    weights = _inputs("sharpen", seed, s, "float32")[0]
    sharp = _run("sharpen", [weights, np.full((s.b, s.h), gamma, "float32")])[0]
    assert (sharp >= 0).all()
    np.testing.assert_allclose(sharp.sum(-1), 1.0, rtol=1e-5)
    share = weights / weights.sum(-1, keepdims=True)
    assert (sharp.max(-1) >= share.max(-1) - 1e-6).all()
