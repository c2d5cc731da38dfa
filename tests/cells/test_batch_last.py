import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import DNCCell, NTMCell, backend, unroll
from mf_keras.backend.tensorflow import execution as cores
from mf_keras.cells import dnc
from mf_keras.cells.batch_last import BatchLastDNC
from mf_keras.models import free_running
from tests.cells import helpers
from tests.small import LouderInTraining

SIZES = {"units": 3, "memory_size": 5, "word_size": 4, "num_reads": 2}
B, T = 8, 5


def make(controller=keras.layers.GRUCell, **options):
    cell = DNCCell(controller(6, dtype=options.get("dtype")), **{**SIZES, **options})
    cell.build((None, 3))
    return helpers.randomize(cell, np.random.default_rng(0))


def sequences(dtype="float32"):
    return tf.constant(np.random.default_rng(1).normal(size=(B, T, 3)).astype(dtype))


def everything(cell, x, mask=None, **options):
    """Outputs, trace, final state, and the gradients of a function of all of them."""
    start, rng = cell.initial_state(B), np.random.default_rng(2)
    # Rows of 1e-6 have a direction that a rounding error changes; equal usages have an order.
    start = start._replace(
        memory=tf.cast(rng.normal(size=start.memory.shape), start.memory.dtype),
        usage=tf.cast(rng.uniform(size=start.usage.shape), start.usage.dtype),
    )

    with tf.GradientTape() as tape:
        tape.watch((x, start))
        sources = [v.value for v in cell.trainable_variables], x, start
        results = unroll(cell, x, initial_state=start, mask=mask, **options)
        seen = [part for part in keras.tree.flatten(results) if part is not None]
        loss = sum(tf.reduce_sum(tf.sin(tf.cast(part, "float64"))) for part in seen)
    return results, tape.gradient(loss, sources, unconnected_gradients="zero")


def both(cell, x, monkeypatch, **options):
    """`everything` with the batch last, compiled, and with the batch first, step by step."""
    monkeypatch.setattr(dnc, "_MANY_ROWS", 1)
    fast = backend.compiled(lambda x: everything(cell, x, **options))(x)
    return fast, everything(cell, x, **options)


def close(actual, expected, tolerance):
    pairs = zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True)
    for a, b in pairs:
        if a is None:
            assert b is None
            continue
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


def test_computes_what_the_cell_does_and_tells_the_controller_whether_it_is_trained(monkeypatch):
    cell, x = make(LouderInTraining, dtype="float64"), sequences("float64")
    close(*both(cell, x, monkeypatch, training=True), 1e-10)


def test_with_an_lstm_two_write_heads_a_learned_memory_masks_and_chunks(monkeypatch):
    mask = np.random.default_rng(3).uniform(size=(B, T)) < 0.6
    options = {"mask": mask, "chunk": 2, "keep": ("hidden", "memory", "link")}
    more = {"num_writes": 2, "num_reads": 1, "learn_initial_memory": True, "clip": None}
    cell = make(keras.layers.LSTMCell, dtype="float64", **more)
    close(*both(cell, sequences("float64"), monkeypatch, **options), 1e-10)


def test_in_half_precision(monkeypatch):
    keras.config.set_dtype_policy("mixed_float16")
    fast, slow = both(make(), sequences(), monkeypatch)
    close(fast[0], slow[0], 0.05)
    assert all(np.isfinite(np.asarray(g, "float32")).all() for g in keras.tree.flatten(fast[1]))


def test_free_running_samples_the_same(monkeypatch):
    cell = DNCCell(keras.layers.GRUCell(6), 2, memory_size=5, word_size=4, num_reads=2)
    cell.build((None, 2))
    helpers.randomize(cell, np.random.default_rng(0), scale=1.0)
    limits = tf.constant(np.random.default_rng(4).normal(size=(B, T, 2)).astype("float32"))
    monkeypatch.setattr(dnc, "_MANY_ROWS", 1)
    fast = backend.compiled(lambda: free_running.free_run(cell, limits))()
    monkeypatch.setattr(dnc, "_MANY_ROWS", 10**6)
    slow = backend.compiled(lambda: free_running.free_run(cell, limits))()
    np.testing.assert_array_equal(fast[0], slow[0])
    close(fast[1:], slow[1:], 1e-5)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_shapes_may_be_unknown_and_parts_of_the_batch_empty(rows, monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: 2)
    cell = make()
    x = sequences()[:rows]
    run = tf.function(
        backend.compiled(lambda x: unroll(cell, x)),
        input_signature=[tf.TensorSpec((None, None, 3), "float32")],
    )
    close(run(x), unroll(cell, x), 1e-5)


def test_is_for_many_rows_few_slots_and_compiled_loops_alone():
    class Subclass(DNCCell):
        """May compute something else."""

    def is_fast(rows, kind=DNCCell, **options):
        cell = kind(keras.layers.GRUCell(6), **{**SIZES, **options})
        return isinstance(cell.in_loop(rows)[0], BatchLastDNC)

    assert not is_fast(8)  # nothing is compiled here
    with tf.Graph().as_default(), backend.compiling_loops():
        assert is_fast(8)
        assert is_fast(None)
        assert not is_fast(7)
        for options in (
            {"memory_size": 33},
            {"word_size": 33},
            {"linkage": "sparse"},
            {"linkage": None},
            {"masked_lookup": True},
            {"erase_on_deallocation": True},
            {"sharpen_links": True},
        ):
            assert not is_fast(8, **options), options
        assert not is_fast(8, Subclass)
        assert not is_fast(8, NTMCell)
