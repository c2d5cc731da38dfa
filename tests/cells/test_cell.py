"""What `MemoryCell` makes of a subclass, and in which layout it runs."""

import inspect
import pathlib
import sys

import keras
import numpy as np
import pytest

import mf_keras
from mf_keras import DNCCell, NTMCell, backend, layouts, unroll
from mf_keras.cells import MemoryCell, Signal
from mf_keras.models import free_running
from mf_keras.outputs import Bernoulli
from tests.backends import execution as cores
from tests.backends import tf
from tests.cells import helpers
from tests.cells.helpers import close, controlled
from tests.small import LouderInTraining

SIZES = {"units": 3, "memory_size": 5, "word_size": 4, "num_reads": 2}
B, T = 4, 4
# As of a paper, and with every option.
EVERYTHING = {
    "num_writes": 2,
    "masked_lookup": True,
    "erase_on_deallocation": True,
    "sharpen_links": True,
}
CELLS = {
    "dnc": (DNCCell, {}),
    "dnc, everything": (DNCCell, EVERYTHING),
    "dnc, unlinked": (DNCCell, {"linkage": None}),
    "ntm": (NTMCell, {}),
    "ntm, everything": (NTMCell, {"num_writes": 2, "shift_range": 3}),
}


def make(kind=DNCCell, controller=keras.layers.GRUCell, seed=0, **options):
    cell = kind(controller(6, dtype=options.get("dtype")), **{**SIZES, **options})
    cell.build((None, 3))
    return helpers.randomize(cell, np.random.default_rng(seed))


def pair(kind=DNCCell, **options):
    """The same cell in both layouts."""
    return [make(kind, layout=name, **options) for name in layouts.BY_NAME]


def sequences(dtype="float32", batch=B):
    return tf.constant(np.random.default_rng(1).normal(size=(batch, T, 3)).astype(dtype))


def everything(cell, x, start=None, mask=None, **options):
    """Outputs, trace, final state, and the gradients of a function of all of them."""
    if start is None:
        start = helpers.random_state(cell, np.random.default_rng(2), x.shape[0])
    with tf.GradientTape() as tape:
        tape.watch((x, start))
        sources = [v.value for v in cell.trainable_variables], x, start
        results = unroll(cell, x, initial_state=start, mask=mask, **options)
        seen = [part for part in keras.tree.flatten(results) if part is not None]
        loss = sum(tf.reduce_sum(tf.sin(tf.cast(part, "float64"))) for part in seen)
    return results, tape.gradient(loss, sources, unconnected_gradients="zero")


# Both layouts compute the same.


@pytest.mark.parametrize("name", CELLS)
def test_a_step_is_the_same_in_every_layout(name):
    kind, options = CELLS[name]
    cell = make(kind, dtype="float64", **options)
    rng = np.random.default_rng(2)
    state, x = helpers.random_state(cell, rng, B), sequences("float64")[:, 0]
    axes = cell.batch_axes(layouts.BATCH_LAST)
    names = state._fields[2:]
    assert {axis for name in names for axis in [getattr(axes, name)]} == {-1}
    assert axes.hidden == 0

    def run(x, state, layout):
        with tf.GradientTape() as tape:
            sources = [x, state, [v.value for v in cell.trainable_variables]]
            tape.watch(sources)
            lying = keras.tree.map_structure(lambda x, i: keras.ops.moveaxis(x, 0, i), state, axes)
            y, new = cell.step(x, lying if layout is layouts.BATCH_LAST else state, layout=layout)
            if layout is layouts.BATCH_LAST:
                new = keras.tree.map_structure(lambda x, i: keras.ops.moveaxis(x, i, 0), new, axes)
            loss = sum(tf.reduce_sum(tf.sin(part)) for part in keras.tree.flatten((y, new)))
        return y, new, tape.gradient(loss, sources, unconnected_gradients="zero")

    close(run(x, state, layouts.BATCH_LAST), run(x, state, layouts.BATCH_FIRST), 1e-10)


@pytest.mark.long
def test_a_compiled_run_is_the_same_and_tells_the_controller_whether_it_is_trained():
    mask = np.random.default_rng(3).uniform(size=(B, T)) < 0.6
    options = {"training": True, "mask": mask, "chunk": 2, "keep": ("hidden", "memory", "link")}
    more = {"num_writes": 2, "num_reads": 1, "learn_initial_memory": True, "clip": None}
    first, last = pair(controller=LouderInTraining, dtype="float64", **more)
    x = sequences("float64")
    fast = backend.compiled(lambda x: everything(last, x, **options))(x)
    close(fast, everything(first, x, **options), 1e-10)


def test_in_half_precision():
    keras.config.set_dtype_policy("mixed_float16")
    first, last = (everything(cell, sequences()) for cell in pair())
    close(last[0], first[0], 0.05)
    assert all(np.isfinite(np.asarray(g, "float32")).all() for g in keras.tree.flatten(last[1]))


def test_traces_agree_slot_by_slot_from_the_constant_initial_memory():
    """Slots that were never written have tied usages, whose order no rounding may decide."""
    options = {"memory_size": 12, "word_size": 6, "num_writes": 2}
    for seed in range(2):
        cells = [make(layout=name, seed=seed, **options) for name in layouts.BY_NAME]
        slow, fast = (unroll(cell, sequences())[1] for cell in cells)
        for field in ("usage", "write_weights", "read_weights", "memory"):
            a, b = getattr(fast, field), getattr(slow, field)
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-3, err_msg=f"{field}, seed {seed}")


def test_free_running_samples_the_same():
    limits = tf.constant(np.random.default_rng(4).normal(size=(B, T, 3)).astype("float32"))
    first, last = pair()
    slow, fast = (free_running.free_run(cell, Bernoulli(3), limits) for cell in (first, last))
    np.testing.assert_array_equal(fast[0], slow[0])
    close(fast[1:], slow[1:], 1e-5)


@pytest.mark.long
def test_shapes_may_be_unknown_and_parts_of_the_batch_empty(monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: 2)
    cell, x = make(), sequences()
    run = tf.function(
        backend.compiled(lambda x: unroll(cell, x)[0]),
        input_signature=[tf.TensorSpec((None, None, 3), "float32")],
    )
    for rows in (1, 3):
        close(run(x[:rows]), unroll(cell, x[:rows])[0], 1e-5)


# Which layout is chosen.


class SaysNothing(DNCCell):
    """Its `address` may hold for one layout only."""

    def address(self, eq, signals, state):
        return super().address(eq, signals, state)


class OldStep(DNCCell):
    """Its `step` does not know of layouts."""

    def step(self, inputs, state, training=False):
        return super().step(inputs, state, training=training)


class SaysSo(SaysNothing):
    any_layout = True


def test_every_cell_that_can_lie_batch_last_does_where_that_is_fast():
    def name(kind=DNCCell, rows=8, **options):
        return kind(keras.layers.GRUCell(6), **{**SIZES, **options}).choose_layout(rows).name

    assert name() == "batch_first"  # nothing is compiled here
    assert name(layout="batch_last") == "batch_last"
    with tf.Graph().as_default(), backend.compiling_loops():
        for kind, options in CELLS.values():
            assert name(kind, **options) == "batch_last"
        assert name(SaysSo) == name(rows=None) == "batch_last"
        assert name(rows=7) == name(memory_size=33) == name(word_size=33) == "batch_first"
        assert name(linkage="sparse") == name(layout="batch_first") == "batch_first"
        assert name(SaysNothing) == name(OldStep) == "batch_first"


def test_a_step_that_knows_of_no_layout_can_be_unrolled():
    cell, x = make(OldStep), sequences()
    with backend.compiling_loops():
        outputs = tf.function(lambda x: unroll(cell, x)[0], jit_compile=False, autograph=False)
        assert outputs.get_concrete_function(x)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layout": "rows"}, "layout must be one of 'auto', 'batch_first', 'batch_last', got"),
        ({"layout": None}, "layout must be one of"),
        (
            {"layout": "batch_last", "linkage": "sparse"},
            "layout must be 'auto' or 'batch_first' for this DNCCell, got 'batch_last'",
        ),
    ],
)
def test_refuses_a_layout_that_it_cannot_have(options, words):
    with pytest.raises(ValueError, match=words):
        DNCCell(keras.layers.GRUCell(2), 1, **options)


@pytest.mark.parametrize("kind", [DNCCell, NTMCell])
def test_a_configuration_of_before_there_was_a_choice_of_layout_chooses(kind):
    config = kind(keras.layers.GRUCell(2), 1).get_config()
    assert config.pop("layout") == "auto"
    assert kind.from_config(config).layout == "auto"
    assert kind.from_config({**config, "layout": "batch_first"}).layout == "batch_first"


# What a subclass gives.


@pytest.mark.parametrize("missing", ["state_type", "memory_shapes", "signals", "address"])
def test_an_incomplete_subclass_is_told_what_it_lacks(missing):
    members = {name: getattr(NTMCell, name) for name in vars(NTMCell) if not name.startswith("__")}
    cell_class = type(
        "Incomplete", (MemoryCell,), {**members, missing: getattr(MemoryCell, missing)}
    )
    with pytest.raises(TypeError, match=f"Incomplete must define {missing}"):
        cell_class(keras.layers.GRUCell(2), 1)


def test_a_constructor_shows_its_arguments():
    common = list(inspect.signature(MemoryCell).parameters)[:-1]
    for kind in (DNCCell, NTMCell):
        assert set(common) <= set(inspect.signature(kind).parameters)


def test_a_signal_is_cut_out_squashed_and_none_where_its_option_is_not_used():
    class Cell(NTMCell):
        def signals(self):
            return [
                Signal("word", (2, 3)),
                Signal("mask", (3,), keras.ops.sigmoid, given=False),
                Signal("gate", (), keras.ops.sigmoid, "g"),
            ]

    cell = Cell(keras.layers.GRUCell(2), 1)
    assert cell.interface_size == 7
    interface = np.arange(14, dtype="float32").reshape(2, 7)
    first = cell.parse(tf.constant(interface))
    last = cell.parse(tf.constant(interface.T), layouts.BATCH_LAST)
    assert first.mask is None
    np.testing.assert_array_equal(first.word[1], [[7, 8, 9], [10, 11, 12]])
    np.testing.assert_allclose(first.gate, 1 / (1 + np.exp([-6.0, -13.0])), rtol=1e-6)
    np.testing.assert_array_equal(last.word, np.moveaxis(first.word.numpy(), 0, -1))
    np.testing.assert_array_equal(last.gate, first.gate)


def test_a_step_enters_few_files_of_the_package():
    """Equations, layout, the cell and what cells share; no validation on the way."""
    cell = make()
    state, x = cell.initial_state(B), sequences()[:, 0]
    root, entered = pathlib.Path(mf_keras.__file__).parent, set()

    def note(frame, event, argument):
        path = pathlib.Path(frame.f_code.co_filename)
        if event == "call" and root in path.parents:
            entered.add(str(path.relative_to(root)))

    cell.step(x, state)  # caches
    sys.setprofile(note)
    try:
        cell.step(x, state)
    finally:
        sys.setprofile(None)
    own = {"addressing.py", "layouts.py", "cells/cell.py", "cells/dnc.py"}
    # How pairs of slots are summed depends on whether XLA compiles the loop.
    assert entered - {"backend/tensorflow/execution.py"} == own


# Feed-forward controllers.


def test_a_feed_forward_controller_sees_the_input_and_the_last_reads():
    layers = [keras.layers.Dense(5, "relu"), keras.layers.Dense(4, "tanh")]
    cell = DNCCell(keras.Sequential(layers), **SIZES)
    assert cell.hidden_size == 4
    cell.build((None, 3))
    helpers.randomize(cell, np.random.default_rng(0))
    x = sequences().numpy()
    outputs, trace, state = unroll(cell, x)
    h = controlled(cell, x, trace)
    for layer, squash in zip(layers, (lambda a: np.maximum(a, 0), np.tanh), strict=True):
        h = squash(h @ layer.kernel.numpy() + layer.bias.numpy())
    close(trace.hidden, h.astype("float32"), 1e-6)
    assert trace.controller == state.controller == ()
    close(keras.layers.RNN(cell, return_sequences=True)(x), outputs, 1e-6)
    again = DNCCell.from_config(cell.get_config())
    again.build((None, 3))
    again.set_weights(cell.get_weights())
    close(unroll(again, x)[0], outputs, 0)


def test_the_size_of_a_feed_forward_controller_must_be_known_in_time():
    cell = DNCCell(keras.layers.LayerNormalization(), **SIZES)
    with pytest.raises(ValueError, match="The cell must be built before the size"):
        cell.hidden_size  # noqa: B018
    cell.build((None, 3))
    assert cell.hidden_size == 3 + 2 * 4
    with pytest.raises(ValueError, match="controller must map"):
        DNCCell(keras.layers.RepeatVector(2), **SIZES).build((None, 3))
