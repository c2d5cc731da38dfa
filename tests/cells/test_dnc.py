import functools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import unroll
from mf_keras.cells import DNCCell
from tests import reference
from tests.backends import tf
from tests.cells import helpers

OPTIONS = ("masked_lookup", "erase_on_deallocation", "sharpen_links")
EVERYTHING = {"num_reads": 2, "num_writes": 2, **dict.fromkeys(OPTIONS, True)}

small = st.integers(1, 3)
sizes = st.fixed_dictionaries(
    {
        "units": small,
        "memory_size": st.integers(1, 5),
        "word_size": st.integers(1, 4),
        "num_reads": small,
        "num_writes": small,
        "clip": st.sampled_from([20.0, 0.1, None]),
    }
)
cases = st.tuples(small, small, small, st.integers(0, 2**32 - 1))  # B, D, units of the GRU, seed


def _cell(controller_units, input_size, rng, dtype="float32", scale=0.5, **kwargs):
    controller = keras.layers.GRUCell(controller_units, dtype=dtype)
    cell = DNCCell(controller, dtype=dtype, **kwargs)
    cell.build((None, input_size))
    return helpers.randomize(cell, rng, scale)


def _reference(cell):
    names = (*OPTIONS, "clip", "linkage", "num_links")
    options = {name: getattr(cell, name) for name in names}
    return functools.partial(reference.dnc_step, **options)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=6)
@given(kwargs=sizes, case=cases)
def test_a_first_step_is_the_papers(dtype, kwargs, case):
    batch, input_size, controller_units, seed = case
    rng = np.random.default_rng(seed)
    cell = _cell(controller_units, input_size, rng, dtype, **kwargs)
    inputs = rng.normal(size=(batch, 1, input_size))
    helpers.check_steps(cell, _reference(cell), inputs, cell.initial_state(batch))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=6)
@given(kwargs=sizes, options=st.tuples(*[st.booleans()] * 3), case=cases)
def test_a_sequence_is_the_papers(dtype, kwargs, options, case):
    batch, input_size, controller_units, seed = case
    rng = np.random.default_rng(seed)
    kwargs = {**kwargs, **dict(zip(OPTIONS, options, strict=True))}
    cell = _cell(controller_units, input_size, rng, dtype, **kwargs)
    inputs = rng.normal(size=(batch, 5, input_size))
    helpers.check_steps(cell, _reference(cell), inputs, helpers.random_state(cell, rng, batch))


@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_alone_is_the_papers(option):
    rng = np.random.default_rng(0)
    kwargs = {"units": 2, "memory_size": 4, "word_size": 3, "num_reads": 2, "num_writes": 2}
    cell = _cell(3, 2, rng, "float64", **kwargs, **{option: True})
    inputs = rng.normal(size=(2, 3, 2))
    helpers.check_steps(cell, _reference(cell), inputs, helpers.random_state(cell, rng, 2))


@pytest.mark.parametrize(
    "options",
    [{"linkage": "sparse", "num_links": k} for k in (1, 2, 5, 8)] + [{"linkage": None}],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_each_linkage_is_the_references(options, dtype):
    rng = np.random.default_rng(0)
    kwargs = {"units": 2, "memory_size": 5, "word_size": 3, "num_reads": 2, "num_writes": 2}
    cell = _cell(3, 2, rng, dtype, **kwargs, **options)
    inputs = rng.normal(size=(2, 4, 2))
    if dtype == "float64":  # in float32 rounding turns rows of 1e-6
        helpers.check_steps(cell, _reference(cell), inputs, cell.initial_state(2))
    helpers.check_steps(cell, _reference(cell), inputs, helpers.random_state(cell, rng, 2))


def test_as_many_links_as_slots_give_the_outputs_and_gradients_of_the_dense_linkage():
    rng = np.random.default_rng(0)
    kwargs = {"units": 2, "memory_size": 6, "word_size": 3, "num_reads": 2, "num_writes": 2}
    dense = _cell(3, 2, rng, "float64", scale=1.0, **kwargs)
    sparse = _cell(3, 2, rng, "float64", **kwargs, linkage="sparse", num_links=9)
    for old, new in zip(dense.variables, sparse.variables, strict=True):
        new.assign(old)
    x = tf.constant(rng.normal(size=(2, 7, 2)))

    def run(cell):
        sources = [x, *(v.value for v in cell.trainable_variables)]
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, trace, _ = unroll(cell, x, keep=("read_weights",))
            loss = tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(tf.sin(trace.read_weights))
        return [outputs, trace.read_weights, *tape.gradient(loss, sources)]

    for actual, expected in zip(run(sparse), run(dense), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-12)


@given(w=st.integers(1, 20), r=st.integers(1, 8))
def test_without_linkage_there_are_no_read_modes(w, r):
    cell = DNCCell(keras.layers.GRUCell(2), 1, word_size=w, num_reads=r, linkage=None)
    assert cell.interface_size == w * r + 3 * w + 2 * r + 3
    assert not {"precedence", "link"} & set(cell.initial_state(1)._fields)


def test_a_config_of_before_there_was_a_choice_of_linkage_is_dense():
    config = DNCCell(keras.layers.GRUCell(2), 1).get_config()
    assert (config.pop("linkage"), config.pop("num_links")) == ("dense", 8)
    assert DNCCell.from_config(config).linkage == "dense"


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"linkage": "thin"}, ValueError, "linkage must be one of 'dense', 'sparse', None, got"),
        ({"linkage": True}, ValueError, "linkage must be one of 'dense', 'sparse', None, got True"),
        ({"num_links": 0}, ValueError, "num_links must be an integer >= 1, got 0"),
        ({"num_links": 8.0}, TypeError, "num_links must be an integer >= 1, got 8.0"),
        ({"linkage": None, "sharpen_links": True}, ValueError, "sharpen_links must be False"),
        (
            {"linkage": "sparse", "memory_size": 70_000},
            ValueError,
            "memory_size must be at most 65535",
        ),
    ],
)
def test_refuses_bad_linkages(options, error, words):
    with pytest.raises(error, match=words):
        DNCCell(keras.layers.GRUCell(2), 1, **options)


def test_the_papers_sizes_agree_with_the_reference_from_the_start():
    rng = np.random.default_rng(0)
    cell = _cell(8, 2, rng, "float64", units=3, learn_initial_memory=True)
    inputs = rng.normal(size=(1, 3, 2))
    helpers.check_steps(cell, _reference(cell), inputs, cell.initial_state(1))


@given(w=st.integers(1, 20), r=st.integers(1, 8))
def test_interface_size_is_the_papers(w, r):
    cell = DNCCell(keras.layers.GRUCell(2), 1, word_size=w, num_reads=r)
    assert cell.interface_size == w * r + 3 * w + 5 * r + 3


def test_interface_size_of_the_paper_is_135():
    cell = DNCCell(keras.layers.GRUCell(2), 1)
    cell.build((None, 1))
    assert cell.interface_size == 135
    assert cell.interface.kernel.shape == (2, 135)


def test_parse_squashes_every_signal_into_its_range():
    cell = DNCCell(keras.layers.GRUCell(2), 1, word_size=3, **EVERYTHING)
    interface = np.random.default_rng(0).normal(size=(5, cell.interface_size)) * 10
    signals = cell.parse(keras.ops.convert_to_tensor(interface, "float32"))
    for name in ("read_strengths", "write_strengths", "link_sharpness"):
        assert keras.ops.min(getattr(signals, name)) >= 1
    gates = ("erase", "free_gates", "allocation_gates", "write_gates", "read_masks", "write_masks")
    for name in gates:
        assert keras.ops.min(getattr(signals, name)) >= 0
        assert keras.ops.max(getattr(signals, name)) <= 1
    np.testing.assert_allclose(keras.ops.sum(signals.read_modes, axis=-1), 1.0, rtol=1e-6)
    assert signals.read_modes.shape == (5, 2, 5)


def test_initial_memory_is_1e_6_and_everything_else_0():
    cell = DNCCell(keras.layers.LSTMCell(3), 2, memory_size=4, word_size=5, num_writes=2)
    state = helpers.as_arrays(cell.initial_state(3))
    assert state["memory"].shape == (3, 4, 5)
    np.testing.assert_allclose(state.pop("memory"), 1e-6, rtol=1e-6)
    assert state["link"].shape == (3, 2, 4, 4)
    assert all((np.asarray(x) == 0).all() for x in state.values())


@pytest.mark.parametrize(
    "kwargs",
    [{}, {"memory_size": 1}, EVERYTHING, {**EVERYTHING, "linkage": "sparse", "num_links": 3}],
    ids=["default", "one slot", "everything", "sparse"],
)
def test_large_weights_leave_every_quantity_in_its_range(kwargs):
    rng = np.random.default_rng(0)
    kwargs = {"units": 2, "memory_size": 6, "word_size": 4, **kwargs}
    cell = _cell(8, 3, rng, scale=5.0, **kwargs)
    inputs = rng.normal(size=(4, 20, 3)) * 3
    for state in helpers.run_steps(cell, inputs, cell.initial_state(4)):
        link = state["link"]
        assert (np.diagonal(link, axis1=-2, axis2=-1) == 0).all()
        weightings = [state[name] for name in ("read_weights", "write_weights", "precedence")]
        for x in (*weightings, link, np.swapaxes(link, -1, -2)):
            assert (x >= -1e-6).all()
            assert (x.sum(-1) <= 1 + 1e-5).all()
        assert (state["usage"] >= 0).all()
        assert (state["usage"] <= 1 + 1e-6).all()
        assert all(np.isfinite(x).all() for x in state.values() if not isinstance(x, list))


def test_clip_bounds_the_controllers_output():
    rng = np.random.default_rng(0)
    controller = keras.layers.SimpleRNNCell(4, activation="linear")
    cell = DNCCell(controller, 1, memory_size=3, word_size=2, clip=0.5)
    cell.build((None, 3))
    _, state = cell.step(rng.normal(size=(2, 3)).astype("float32") * 100, cell.initial_state(2))
    np.testing.assert_allclose(np.abs(state.hidden), 0.5)
    assert np.abs(state.controller[0]).max() > 0.5


@pytest.mark.parametrize(
    "controller",
    [
        lambda: keras.layers.GRUCell(3),
        lambda: keras.layers.LSTMCell(3),
        lambda: keras.layers.SimpleRNNCell(3),
        lambda: keras.layers.StackedRNNCells([keras.layers.GRUCell(3), keras.layers.LSTMCell(4)]),
    ],
)
def test_any_keras_cell_controls(controller):
    rng = np.random.default_rng(0)
    cell = DNCCell(controller(), 2, memory_size=3, word_size=2, num_reads=1)
    cell.build((None, 2))
    state = helpers.random_state(cell, rng, 3)
    helpers.check_controller(
        cell, keras.ops.convert_to_tensor(rng.normal(size=(3, 2)), "float32"), state
    )
