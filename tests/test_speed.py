"""Guards of the speed: how times grow, never how long they are; benchmarks/ has the numbers."""

import re
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import DNCCell, SequenceTransducer, TeacherForcing, sparse_linkage, unroll
from mf_keras.backend.tensorflow import execution as cores

pytestmark = pytest.mark.long


def seconds(*functions, rounds=4):
    """Best times, measured in turns; the first call compiles and does not count."""
    for function in functions:
        function()
    times = []
    for _ in range(rounds):
        for function in functions:
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
    return [min(times[i :: len(functions)]) for i in range(len(functions))]


class CountingCell(DNCCell):
    """Counts how often its step is traced."""

    traces = 0

    def step(self, inputs, state, training=False):
        self.traces += 1
        return super().step(inputs, state, training=training)


def small_cell(cell_class=DNCCell, units=2, **options):
    sizes = {"memory_size": 4, "word_size": 32, "num_reads": 1}
    return cell_class(keras.layers.GRUCell(4), units, **sizes, **options)


def test_time_is_linear_in_the_length_where_the_whole_trace_is_seen():
    """Without its own gradient, XLA would copy the kept states once a step: O(T^2)."""
    cell = small_cell(linkage=None)  # links take longest to compile
    cell.build((None, 1))
    variables = [v.value for v in cell.trainable_variables]

    @tf.function(jit_compile=True)
    def step(x):
        with tf.GradientTape() as tape:
            outputs, trace, _ = unroll(cell, x)
            loss = tf.reduce_sum(outputs**2) + tf.reduce_sum(trace.memory**2)
        return tape.gradient(loss, variables)

    short, long = tf.ones((16, 100, 1)), tf.ones((16, 1600, 1))
    short_time, long_time = seconds(lambda: step(short), lambda: step(long), rounds=2)
    assert long_time < 16 * 3 * short_time


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_arrays_over_time_of_half_floats_are_never_widened(policy):
    """XLA's CPU backend would turn them whole into float32 and back at every step: O(T^2)."""
    keras.config.set_dtype_policy(policy)
    cell = small_cell(linkage=None)
    cell.build((None, 1))
    variables = [v.value for v in cell.trainable_variables]

    @tf.function(jit_compile=True)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, trace, _ = unroll(cell, x)
            loss = tf.reduce_sum(outputs) + tf.reduce_sum(tf.cast(trace.memory, outputs.dtype))
        return tape.gradient(loss, [x, *variables])

    program = step.experimental_get_compiler_ir(tf.ones((3, 77, 1)))(stage="optimized_hlo")
    assert "s16[77,3,4,32]" in program  # memory, (T, B, N, W)
    assert "f32[77," not in re.sub(r"f32\[77,3,1\]", "", program)  # but for x


def test_sparse_links_are_linear_in_the_number_of_slots():
    def make(slots):
        rng = np.random.default_rng(0)
        weights = tf.constant(rng.uniform(size=(1, 1, 8, slots)), "float32")
        others = tf.constant(rng.permuted(np.tile(np.arange(slots), (8, 1)), axis=1) + 1, "int32")
        writes = tf.nn.softmax(tf.constant(rng.normal(size=(1, 1, slots)), "float32"))

        @tf.function(jit_compile=True)
        def step(weights, writes):
            new = sparse_linkage.update_link(weights, others[None, None], writes, writes)
            return sparse_linkage.follow_links(*new, writes)

        return lambda: step(weights, writes)

    few, many = seconds(make(512), make(8192), rounds=10)
    assert many < 16 * 4 * few  # N^2 would be 256


def test_nothing_is_traced_again_for_ragged_batches_and_evaluation():
    cell = small_cell(CountingCell, linkage=None)
    model = TeacherForcing(SequenceTransducer(cell))
    model.compile(keras.optimizers.Adam(), jit_compile=False)
    x = np.zeros((10, 3, 3), "float32")
    y, weight = np.zeros((10, 3, 2), "float32"), np.ones((10, 3), "float32")

    def epoch():
        model.fit(x, y, sample_weight=weight, batch_size=4, verbose=0)
        model.evaluate(x, y, sample_weight=weight, batch_size=4, verbose=0)

    epoch()
    traces = cell.traces
    epoch()
    assert traces == cell.traces


def xla_programs(model):
    """The functions that XLA compiles in a training step, as a graph calls them."""
    x, weight = tf.zeros((2, 3, 3)), tf.ones((2, 3))
    step = tf.function(lambda: model.train_step((x, x[..., :2], weight)), autograph=False)
    library = step.get_concrete_function().graph.as_graph_def().library
    return [f.signature.name for f in library.function if f.attr["_XlaMustCompile"].b]


def test_the_loops_of_training_are_compiled_by_xla_unless_asked_otherwise(monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: 2)
    model = TeacherForcing(SequenceTransducer(small_cell(linkage=None)))
    model.build((None, 3, 3))
    model.compile(keras.optimizers.Adam())
    assert model.jit_compile is False  # not the step around them
    names = xla_programs(model)
    assert sum("forward" in name for name in names) == 1  # once for two parts of one shape
    assert sum("backward" in name for name in names) == 1
    model.compile(keras.optimizers.Adam(), jit_compile=False)
    assert xla_programs(model) == []
    model.compile(keras.optimizers.Adam(), jit_compile=True)
    assert model.jit_compile is True
    assert xla_programs(model) == []
