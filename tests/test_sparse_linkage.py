import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import addressing, sparse_linkage
from tests import reference
from tests.backends import tf
from tests.cells import helpers

B, H, R, N = 2, 2, 3, 6

seeds = st.integers(0, 2**32 - 1)
counts = st.integers(1, N)


def problem(seed, links, dtype="float64"):
    """Random links (weights and slots), precedence, write weights, read weights."""
    rng = np.random.default_rng(seed)
    weights, slots = helpers.sparse_link(rng, B, H, links, N)
    weightings = [helpers.weighting(rng, B, heads, N) for heads in (H, H, R)]
    weights, *weightings = [x.astype(dtype) for x in (weights, *weightings)]
    return tf.nest.map_structure(tf.constant, (weights, slots, *weightings))


@settings(max_examples=20)
@given(seed=seeds, links=counts)
def test_an_update_keeps_the_strongest_links_of_the_dense_one(seed, links):
    weights, slots, precedence, writes, _ = problem(seed, links)
    dense = reference.dense_link(weights.numpy(), slots.numpy())
    expected = reference.update_sparse_link(dense, precedence.numpy(), writes.numpy(), links)
    weights, slots = sparse_linkage.update_link(weights, slots, precedence, writes)
    assert slots.dtype == tf.int32
    actual = reference.dense_link(weights.numpy(), slots.numpy())
    np.testing.assert_allclose(actual, expected, rtol=1e-12, atol=1e-15)


@settings(max_examples=20)
@given(seed=seeds, links=counts)
def test_links_stay_distinct_in_order_and_off_the_diagonal(seed, links):
    rng = np.random.default_rng(seed)
    weights = tf.zeros((B, H, links, N))
    slots = tf.zeros((B, H, links, N), "int32")
    precedence = tf.zeros((B, H, N))
    for _ in range(8):
        writes = tf.nn.softmax(tf.constant(20.0 * rng.normal(size=(B, H, N)), "float32"))
        weights, slots = sparse_linkage.update_link(weights, slots, precedence, writes)
        precedence = addressing.update_precedence(precedence, writes)
    assert (weights.numpy() >= -1e-6).all()
    assert (np.diff(weights.numpy(), axis=2) <= 0).all()
    for b, h, i in np.ndindex(B, H, N):
        linked = [j for j in slots.numpy()[b, h, :, i] if j]
        assert len(linked) == len(set(linked))
    link = reference.dense_link(weights.numpy(), slots.numpy())
    assert (np.diagonal(link, axis1=-2, axis2=-1) == 0).all()
    assert max(link.sum(-1).max(), link.sum(-2).max()) <= 1 + 1e-5


@settings(max_examples=20)
@given(seed=seeds, links=counts)
def test_following_is_that_of_the_dense_matrix(seed, links):
    weights, slots, _, _, reads = problem(seed, links)
    dense = reference.dense_link(weights.numpy(), slots.numpy())
    expected = reference.follow_links(dense, reads.numpy())
    for x, y in zip(sparse_linkage.follow_links(weights, slots, reads), expected, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-15)


def both(slots, weights, precedence, writes, reads):
    """A function of all that a step makes of the links."""
    weights, slots = sparse_linkage.update_link(weights, slots, precedence, writes)
    parts = [weights, *sparse_linkage.follow_links(weights, slots, reads)]
    return sum(tf.reduce_sum(tf.sin((k + 3.0) * x)) for k, x in enumerate(parts))


@pytest.mark.parametrize("links", [1, 2, N])
def test_gradients_are_those_of_central_differences(links):
    weights, slots, *weightings = problem(0, links)
    # A link of weight 0 has a gradient only if it exists, which no difference can see.
    sources = [tf.where(slots > 0, weights, 0.0), *weightings]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        value = both(slots, *sources)
    gradients = tape.gradient(value, sources)
    rng = np.random.default_rng(1)
    directions = [rng.normal(size=x.shape) for x in sources]
    directions[0] *= slots.numpy() > 0
    moved = [
        both(slots, *[x + e * d for x, d in zip(sources, directions, strict=True)])
        for e in (1e-6, -1e-6)
    ]
    slope = sum(float(tf.reduce_sum(g * d)) for g, d in zip(gradients, directions, strict=True))
    assert slope == pytest.approx(float(moved[0] - moved[1]) / 2e-6, rel=1e-6)


def test_xla_agrees_with_eager():
    weights, slots, precedence, writes, reads = problem(0, 3, "float32")

    def step(weights, slots, precedence, writes, reads):
        weights, slots = sparse_linkage.update_link(weights, slots, precedence, writes)
        return weights, slots, *sparse_linkage.follow_links(weights, slots, reads)

    arguments = (weights, slots, precedence, writes, reads)
    compiled = tf.function(step, jit_compile=True)(*arguments)
    for x, y in zip(compiled, step(*arguments), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_links_lead_from_each_write_to_the_next():
    weights, slots = tf.zeros((1, 1, 1, 4)), tf.zeros((1, 1, 1, 4), "int32")
    precedence, one_hot = tf.zeros((1, 1, 4)), lambda slot: tf.one_hot([[slot]], 4)
    for slot in (2, 0, 3):
        weights, slots = sparse_linkage.update_link(weights, slots, precedence, one_hot(slot))
        precedence = addressing.update_precedence(precedence, one_hot(slot))
    forward, backward = sparse_linkage.follow_links(weights, slots, one_hot(0))
    np.testing.assert_array_equal(forward[:, 0], one_hot(3))
    np.testing.assert_array_equal(backward[:, 0], one_hot(2))
