import numpy as np
import pytest
import tensorflow as tf

from mf_keras import backend
from mf_keras.backend.tensorflow import execution
from tests.backend.tensorflow.loops import XLA_ROUNDS, assert_close, problem, run


@pytest.mark.long
@pytest.mark.parametrize(
    ("parts", "chunk", "known"),
    # Parts are made around the loop and chunks in it, so that not every pair is compiled.
    [
        *((1, None, True), (2, None, False), (3, None, True), (8, None, False)),
        *((1, 2, False), (2, 2, True), (3, 2, False), (8, 2, True)),
    ],
)
def test_compiled_parts_of_a_batch_give_what_the_whole_does(parts, chunk, known, monkeypatch):
    monkeypatch.setattr(execution, "count", lambda: parts)
    step, weights, start, inputs = problem(5, batch=5)
    expected = run(step, weights, start, inputs)
    specs = tf.nest.map_structure(
        lambda x: tf.TensorSpec(x.shape if known else [None] * len(x.shape), x.dtype),
        (start, inputs),
    )

    def call(start, inputs):
        # The sizes of a step's features are always known.
        start = tf.nest.map_structure(lambda x: tf.ensure_shape(x, (None, 3)), start)
        inputs = [
            tf.ensure_shape(x, (None, None, x.shape[-1] or n))
            for x, n in zip(inputs, (3, 1), strict=True)
        ]
        return run(step, weights, start, tuple(inputs), chunk=chunk)

    compiled = tf.function(backend.compiled(call), input_signature=specs)
    assert_close(compiled(start, inputs), expected, **XLA_ROUNDS)


def test_none_stands_for_itself_on_every_core(monkeypatch):
    monkeypatch.setattr(execution, "count", lambda: 2)

    @tf.function(autograph=False)
    def call(x):
        with backend.compiling_loops():
            return backend.on_cores(lambda x, mask: ({"twice": x + x}, mask), x, None)

    doubled, nothing = call(tf.range(5))
    np.testing.assert_array_equal(doubled["twice"], [0, 2, 4, 6, 8])
    assert nothing is None


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_several_batches_give_what_they_would_joined(count, known, monkeypatch):
    monkeypatch.setattr(execution, "count", lambda: count)
    seen = []

    def function(x, nothing):
        seen.append(x.shape[0])
        return 2 * x, nothing

    spec = tf.TensorSpec((None, 2), "int32")

    @tf.function(autograph=False, input_signature=None if known else [spec, spec])
    def call(first, second):
        with backend.compiling_loops():
            return backend.together_on_cores(function, [(first, None), (second, None)])

    first, second = tf.reshape(tf.range(10), (5, 2)), tf.reshape(tf.range(6), (3, 2))
    doubled, nothing = call(first, second)
    np.testing.assert_array_equal(doubled, 2 * np.concatenate([first, second]))
    assert nothing is None
    if known:  # each shape is traced once; joined only where the cores do not divide
        assert sorted(seen) == {1: [8], 2: [3, 5], 3: [2, 3], 4: [1, 2, 3]}[count]


def test_a_single_row_of_an_unknown_batch_leaves_parts_empty(monkeypatch):
    monkeypatch.setattr(execution, "count", lambda: 3)
    step, weights, start, inputs = problem(4, batch=1)
    spec = tf.TensorSpec((None, None, 3), "float64")

    @tf.function(input_signature=[spec], autograph=False)
    def compiled(x):
        rows = tf.shape(x)[1]
        some = {name: tf.ones((rows, 3), "float64") for name in start}
        with backend.compiling_loops():
            return run(step, weights, some, (x, x[..., :1] > 0))

    ones = {name: tf.ones((1, 3), "float64") for name in start}
    x = inputs[0]
    assert_close(compiled(x), run(step, weights, ones, (x, x[..., :1] > 0)), **XLA_ROUNDS)


@pytest.mark.parametrize(
    ("batch", "parts", "sizes"), [(64, 2, [32, 32]), (5, 3, [1, 2, 2]), (2, 8, [1, 1])]
)
def test_a_batch_is_shared_out_evenly(batch, parts, sizes):
    assert execution.share(batch, parts) == sizes
    unknown = [int(size) for size in execution.share(tf.constant(batch), parts)]
    assert sum(unknown) == batch
    assert len(unknown) == parts


def test_the_number_of_cores_is_what_tensorflow_may_use(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert execution.count() == 3
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0"])
    assert execution.count() == 1


@pytest.mark.parametrize(("count", "each"), [(1, 1), (2, 1), (3, 3), (4, 2)])
def test_what_runs_side_by_side_is_traced_once_and_shares_the_cores(count, each, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", str(count))
    seen = []

    def function(x, nothing):
        seen.append(execution.count())
        return {"twice": 2 * x}, nothing

    def call(*tensors):
        return backend.side_by_side(function, [(x, None) for x in tensors])

    tensors = tf.range(3), tf.range(3, 6)
    results = backend.compiled(call)(*tensors)
    assert seen == [each]
    assert execution.count() == count
    for x, (result, nothing) in zip(tensors, results, strict=True):
        np.testing.assert_array_equal(result["twice"], 2 * x)
        assert nothing is None
    results = call(*tensors)  # eagerly, as it stands there
    assert seen == [each, count, count]
    np.testing.assert_array_equal(results[1][0]["twice"], [6, 8, 10])


def test_loops_are_compiled_only_where_it_is_asked_for_and_a_graph_is_made():
    seen = []

    def look():
        seen.append(backend.loops_are_compiled())
        return tf.zeros(())

    tf.function(look)()
    with backend.compiling_loops():
        look()
        tf.function(look)()
        with backend.compiling_loops(wanted=False):  # of an outer one, nothing is taken back
            tf.function(lambda: look())()
    look()
    assert seen == [False, False, True, True, False]


def test_counts_cores_where_the_system_tells_of_no_affinity(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.delattr("os.sched_getaffinity")  # as on macOS
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    assert execution.count() == 6
