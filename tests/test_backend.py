import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import backend
from mf_keras.backend.tensorflow import execution as cores
from mf_keras.backend.tensorflow.scan import _chunk_length

XLA_ROUNDS = {"rtol": 1e-9, "atol": 1e-12}  # otherwise than TensorFlow


def problem(time, batch=2, size=3):
    """A step with weights, two carries and two inputs, one of them a mask."""
    rng = np.random.default_rng(0)
    weights = keras.Variable(rng.normal(size=(size, size)), dtype="float64")
    start = {"h": rng.normal(size=(batch, size)), "sum": rng.normal(size=(batch, size))}
    inputs = (rng.normal(size=(time, batch, size)), rng.uniform(size=(time, batch, 1)) > 0.3)

    def step(carry, inputs_t):
        x, mask = inputs_t
        h = tf.tanh(carry["h"] @ weights + x)
        new = {"h": h, "sum": carry["sum"] + h * h}
        return {name: tf.where(mask, new[name], carry[name]) for name in new}

    as_tensors = tf.nest.map_structure(tf.constant, (start, inputs))
    return step, weights, *as_tensors


def swap(x):
    """The first two axes changed for each other."""
    return tf.transpose(x, (1, 0, 2))


def run(step, weights, start, inputs, keep=None, chunk=None, sums=None):
    """Results, and gradients of a function of everything that is returned."""
    sources = [weights.value, start, inputs[0]]

    def scan(start, inputs):
        inputs = tf.nest.map_structure(swap, inputs)
        stacked, last = backend.scan(step, [weights], start, inputs, keep, chunk, sums=sums)
        return {name: None if x is None else swap(x) for name, x in stacked.items()}, last

    with tf.GradientTape() as tape:
        tape.watch(sources)
        # Rows come first where they are shared out to the cores.
        stacked, last = backend.on_cores(scan, start, tf.nest.map_structure(swap, inputs))
        stacked = {name: None if x is None else swap(x) for name, x in stacked.items()}
        results = [stacked["h"], last["h"], last["sum"]]
        loss = sum(tf.reduce_sum(tf.sin(x * (i + 2.0))) for i, x in enumerate(results))
    return stacked, last, tape.gradient(loss, sources)


def by_loop(step, weights, start, inputs):
    """The same by a Python loop under one tape."""
    sources = [weights.value, start, inputs[0]]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        carry, states = start, []
        for t in range(len(inputs[0])):
            carry = step(carry, (inputs[0][t], inputs[1][t]))
            states.append(carry["h"])
        results = [tf.stack(states), carry["h"], carry["sum"]]
        loss = sum(tf.reduce_sum(tf.sin(x * (i + 2.0))) for i, x in enumerate(results))
    return results, tape.gradient(loss, sources)


def assert_close(actual, expected, rtol=1e-12, atol=1e-14):
    for x, y in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol, atol)


@pytest.mark.parametrize("time", [1, 2, 7, 9])
@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7, 20, "sqrt"])
def test_every_chunk_gives_the_results_and_gradients_of_a_plain_loop(time, chunk):
    arguments = problem(time)
    (states, h, total), expected = by_loop(*arguments)
    stacked, last, gradients = run(*arguments, chunk=chunk)
    assert_close([stacked["h"], last["h"], last["sum"]], [states, h, total])
    assert_close(gradients, expected)


@pytest.mark.parametrize("sums", [None, {"h": False, "sum": True}])
@pytest.mark.parametrize("chunk", [None, 2])
def test_what_is_not_kept_is_none_and_changes_nothing(chunk, sums):
    arguments = problem(5)
    keep = {"h": True, "sum": False}
    stacked, last, gradients = run(*arguments, keep=keep, chunk=chunk, sums=sums)
    assert stacked["sum"] is None
    everything = run(*arguments)
    assert_close([stacked["h"], last, gradients], [everything[0]["h"], *everything[1:]])


@pytest.mark.parametrize("jit_compile", [False, True])
def test_chunks_work_compiled_and_for_lengths_unknown_while_tracing(jit_compile):
    step, weights, start, inputs = problem(7)
    specs = [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in inputs]
    compiled = tf.function(
        lambda *inputs: run(step, weights, start, inputs, chunk="sqrt"),
        input_signature=specs,
        jit_compile=jit_compile,
    )
    for length in (7, 4):
        some = [x[:length] for x in inputs]
        assert_close(compiled(*some), run(step, weights, start, some))


@pytest.mark.parametrize(
    ("parts", "chunk", "known"),
    # Parts are made around the loop and chunks in it, so that not every pair is compiled.
    [
        *((1, None, True), (2, None, False), (3, None, True), (8, None, False)),
        *((1, 2, False), (2, 2, True), (3, 2, False), (8, 2, True)),
    ],
)
def test_compiled_parts_of_a_batch_give_what_the_whole_does(parts, chunk, known, monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: parts)
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
    monkeypatch.setattr(cores, "count", lambda: 2)

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
    monkeypatch.setattr(cores, "count", lambda: count)
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
    monkeypatch.setattr(cores, "count", lambda: 3)
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
    assert cores.share(batch, parts) == sizes
    unknown = [int(size) for size in cores.share(tf.constant(batch), parts)]
    assert sum(unknown) == batch
    assert len(unknown) == parts


def test_the_number_of_cores_is_what_tensorflow_may_use(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: [])
    assert cores.count() == 3
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda kind: ["GPU:0"])
    assert cores.count() == 1


@pytest.mark.parametrize(("count", "each"), [(1, 1), (2, 1), (3, 3), (4, 2)])
def test_what_runs_side_by_side_is_traced_once_and_shares_the_cores(count, each, monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", str(count))
    seen = []

    def function(x, nothing):
        seen.append(cores.count())
        return {"twice": 2 * x}, nothing

    def call(*tensors):
        return backend.side_by_side(function, [(x, None) for x in tensors])

    tensors = tf.range(3), tf.range(3, 6)
    results = backend.compiled(call)(*tensors)
    assert seen == [each]
    assert cores.count() == count
    for x, (result, nothing) in zip(tensors, results, strict=True):
        np.testing.assert_array_equal(result["twice"], 2 * x)
        assert nothing is None
    results = call(*tensors)  # eagerly, as it stands there
    assert seen == [each, count, count]
    np.testing.assert_array_equal(results[1][0]["twice"], [6, 8, 10])


def test_loops_are_compiled_only_where_it_is_asked_for_and_a_graph_is_made():
    seen = []

    def look():
        seen.append(backend.compilation.loops_are_compiled())
        return tf.zeros(())

    tf.function(look)()
    with backend.compiling_loops():
        look()
        tf.function(look)()
        with backend.compiling_loops(wanted=False):  # of an outer one, nothing is taken back
            tf.function(lambda: look())()
    look()
    assert seen == [False, False, True, True, False]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_rows_of_the_last_carry_may_be_gathered(jit_compile):
    """Their gradient is a list of rows and not an array."""
    step, weights, start, inputs = problem(time=4)

    @tf.function(jit_compile=jit_compile)
    def gradient():
        with tf.GradientTape() as tape:
            _, last = backend.scan(step, [weights], start, inputs)
            loss = tf.reduce_sum(tf.gather(last["h"], [0]) ** 2)
        return tape.gradient(loss, weights.value)

    carry = start
    with tf.GradientTape() as tape:
        for t in range(4):
            carry = step(carry, (inputs[0][t], inputs[1][t]))
        loss = tf.reduce_sum(carry["h"][:1] ** 2)
    np.testing.assert_allclose(gradient(), tape.gradient(loss, weights.value), **XLA_ROUNDS)


@pytest.mark.parametrize("dynamic", [False, True])
def test_chunks_are_as_long_as_asked_for(dynamic):
    for chunk, time, expected in (
        *(("sqrt", 1, 1), ("sqrt", 2, 2), ("sqrt", 9, 3), ("sqrt", 10, 4), ("sqrt", 784, 28)),
        *((3, 9, 3), (3, 2, 2), (None, 9, None)),
    ):
        sequence = tf.TensorSpec([None if dynamic else time, 1])

        @tf.function(input_signature=[sequence])
        def length(x, chunk=chunk):
            found = _chunk_length(chunk, x)
            return tf.constant(-1) if found is None else found

        assert length(tf.zeros((time, 1))) == (-1 if expected is None else expected)


def test_gradients_of_half_float_weights_are_summed_in_float32():
    """In float16 a sum of 2048 ones stays there."""
    weights = keras.Variable(np.zeros(1), dtype="float16")
    start, inputs = [tf.zeros((1, 1), "float16")], [tf.zeros((4000, 1, 1), "float16")]

    @tf.function(jit_compile=True)
    def gradient():
        with tf.GradientTape() as tape:
            stacked, _ = backend.scan(lambda _, x: [x[0] + weights], [weights], start, inputs)
            loss = tf.reduce_sum(stacked[0])
        return tape.gradient(loss, weights.value)

    assert float(gradient()[0]) == 4000.0


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_chunk_is_no_longer_than_the_sequence(dynamic):
    """It would otherwise keep as many states as the chunk has steps."""
    step, weights, start, inputs = problem(time=4)
    signature = [tf.TensorSpec([None if dynamic else 4, *x.shape[1:]], x.dtype) for x in inputs]

    @tf.function(input_signature=signature)
    def gradient(x, mask):
        with backend.compiling_loops(), tf.GradientTape() as tape:
            stacked, _ = backend.scan(step, [weights], start, (x, mask), chunk=2**31 - 1)
            loss = tf.reduce_sum(stacked["h"] ** 2)
        return tape.gradient(loss, weights.value)

    with tf.GradientTape() as tape:
        stacked, _ = backend.scan(step, [weights], start, inputs)
        loss = tf.reduce_sum(stacked["h"] ** 2)
    expected = tape.gradient(loss, weights.value)
    np.testing.assert_allclose(gradient(*inputs), expected, **XLA_ROUNDS)


def test_counts_cores_where_the_system_tells_of_no_affinity(monkeypatch):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    monkeypatch.delattr("os.sched_getaffinity")  # as on macOS
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    monkeypatch.setattr(tf.config.threading, "get_intra_op_parallelism_threads", lambda: 0)
    assert cores.count() == 6
