"""What every memory cell promises, whatever its options: all of `keras.layers.RNN` works."""

import json

import keras
import numpy as np
import pytest

from mf_keras import MemoryForcing, SequenceDiscriminator, SequenceGenerator, callbacks
from mf_keras.cells import DNCCell, KanervaCell, MANNCell, NTMCell, TapeCell
from tests.backends import ON_JAX, tf
from tests.cells import helpers
from tests.small import binary

SIZES = {"memory_size": 5, "word_size": 3, "num_reads": 2}
INPUT_SIZE, UNITS = 3, 2


def _stacked():
    return keras.layers.StackedRNNCells([keras.layers.GRUCell(3), keras.layers.LSTMCell(4)])


CELLS = {
    "dnc": lambda: DNCCell(keras.layers.GRUCell(4), UNITS, **SIZES),
    "dnc, everything": lambda: DNCCell(
        keras.layers.LSTMCell(4),
        UNITS,
        **SIZES,
        num_writes=2,
        clip=None,
        learn_initial_memory=True,
        masked_lookup=True,
        erase_on_deallocation=True,
        sharpen_links=True,
    ),
    "dnc, sparse": lambda: DNCCell(
        keras.layers.GRUCell(4),
        UNITS,
        **SIZES,
        num_writes=2,
        learn_initial_memory=True,
        linkage="sparse",
        num_links=2,
    ),
    "dnc, unlinked": lambda: DNCCell(keras.layers.GRUCell(4), UNITS, **SIZES, linkage=None),
    "dnc, stacked": lambda: DNCCell(_stacked(), UNITS, **SIZES, clip=0.3),
    "ntm": lambda: NTMCell(keras.layers.GRUCell(4), UNITS, **SIZES),
    "ntm, everything": lambda: NTMCell(
        keras.layers.SimpleRNNCell(4),
        UNITS,
        **SIZES,
        num_writes=3,
        shift_range=2,
        learn_initial_memory=True,
    ),
    "kanerva": lambda: KanervaCell(keras.layers.GRUCell(4), UNITS, **SIZES),
    "kanerva, everything": lambda: KanervaCell(
        keras.layers.LSTMCell(4), UNITS, **SIZES, num_writes=2, noise=0.5, clip=None
    ),
    "mann": lambda: MANNCell(keras.layers.GRUCell(4), UNITS, **SIZES),
    "mann, everything": lambda: MANNCell(
        keras.layers.LSTMCell(4),
        UNITS,
        **SIZES,
        strengths=True,
        write_vectors=True,
        shared_slots=True,
        learn_initial_memory=True,
    ),
    "tape": lambda: TapeCell(keras.layers.GRUCell(4), UNITS, **SIZES),
    "ntm, stacked": lambda: NTMCell(_stacked(), UNITS, **SIZES, shift_range=0),
    "ntm, feed-forward": lambda: NTMCell(keras.layers.Dense(4, "tanh"), UNITS, **SIZES),
}
# JAX compiles all of them anew in every test: two have all the options.
ON_JAX_TOO = ["dnc, everything", "kanerva, everything"]
EACH_CELL = pytest.mark.parametrize("name", ON_JAX_TOO if ON_JAX else CELLS)
# What Keras does to any cell, seen with those that differ most.
_FEW = ["dnc, everything", "dnc, sparse", "kanerva", "ntm, stacked"]
FEW_CELLS = pytest.mark.parametrize("name", ON_JAX_TOO[:1] if ON_JAX else _FEW)
# What depends on the fields of the state, and on the controller, but on no other option.
_STATES = [*_FEW, "mann, everything", "ntm, feed-forward"]
EACH_STATE = pytest.mark.parametrize("name", ON_JAX_TOO if ON_JAX else _STATES)
# Every cell under one of the policies, every kind of cell under both.
_HALVES = ("mixed_bfloat16", "mixed_float16")
EACH_HALF = pytest.mark.parametrize(
    ("name", "policy"),
    [(name, _HALVES[i % 2]) for i, name in enumerate(ON_JAX_TOO if ON_JAX else CELLS)],
)
COMPILED_CELLS = pytest.mark.parametrize(
    "name", ["dnc, everything", "kanerva, everything", "ntm, everything"]
)
MASKS_OF_RNN = pytest.mark.skipif(
    ON_JAX, reason="keras.layers.RNN takes the last state for the last output on JAX"
)
CLASSES = pytest.mark.parametrize("cell_class", [DNCCell, NTMCell])


def _cell(name):
    cell = CELLS[name]()
    cell.build((None, INPUT_SIZE))
    return helpers.randomize(cell, np.random.default_rng(0))


def _rnn(cell, return_sequences=True, **kwargs):
    return keras.layers.RNN(cell, return_sequences=return_sequences, **kwargs)


def _inputs(batch=2, length=5):
    return np.random.default_rng(1).normal(size=(batch, length, INPUT_SIZE)).astype("float32")


def _functional(cell, **kwargs):
    inputs = keras.Input((None, INPUT_SIZE))
    return keras.Model(inputs, _rnn(cell, **kwargs)(inputs))


def _assert_close(actual, expected, rtol=1e-5, atol=1e-6):
    for x, y in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(helpers.as_array(x), helpers.as_array(y), rtol=rtol, atol=atol)


# Configuration and saving.


@EACH_CELL
def test_a_config_makes_the_same_cell_again(name):
    cell = CELLS[name]()
    config = cell.get_config()
    again = type(cell).from_config(json.loads(json.dumps(config)))
    assert again.get_config() == config
    layer = keras.layers.RNN.from_config(_rnn(cell).get_config())
    assert layer.cell.get_config() == config


@CLASSES
def test_a_config_with_numpy_numbers_is_json(cell_class):
    cell = cell_class(keras.layers.GRUCell(2), np.int64(1), np.int32(4), clip=np.float32(2.0))
    assert json.loads(json.dumps(cell.get_config()))["clip"] == 2.0


@pytest.mark.long
@EACH_CELL
def test_a_saved_model_gives_the_same_numbers_to_the_bit(name, tmp_path):
    model = _functional(_cell(name), return_state=True)
    expected = model(_inputs())
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    _assert_close(loaded(_inputs()), expected, rtol=0, atol=0)
    assert len(loaded.trainable_variables) == len(model.trainable_variables)


@EACH_CELL
def test_unpack_undoes_pack(name):
    cell = _cell(name)
    state = helpers.random_state(cell, np.random.default_rng(0), 3)
    flat = cell.pack(state)
    assert [x.shape for x in flat] == [(3, size) for size in cell.state_size]
    again = cell.unpack(flat)
    keras.tree.assert_same_structure(again, state)
    for x, y in zip(keras.tree.flatten(again), keras.tree.flatten(state), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_slots_of_many_are_exact_in_every_dtype(dtype):
    cell = DNCCell(
        keras.layers.GRUCell(4), UNITS, 300, 3, linkage="sparse", num_links=5, dtype=dtype
    )
    cell.build((None, INPUT_SIZE))
    state = cell.initial_state(1)
    slots = np.resize([0, 1, 255, 256, 300], state.link_slots.shape).astype("int32")
    again = cell.unpack(cell.pack(state._replace(link_slots=slots)))
    np.testing.assert_array_equal(again.link_slots, slots)


@CLASSES
def test_refuses_states_that_are_not_its_own(cell_class):
    cell = cell_class(keras.layers.GRUCell(4), UNITS, **SIZES)
    flat = cell.get_initial_state(2)
    for states in (flat[:-1], [*flat[:-1], keras.ops.concatenate([flat[-1]] * 2, axis=-1)]):
        with pytest.raises(ValueError, match=f"states of {cell_class.__name__} must be"):
            cell.unpack(states)


# What keras.layers.RNN does.


@EACH_CELL
def test_a_layer_takes_the_steps_of_the_cell(name):
    cell = _cell(name)
    state, outputs = cell.initial_state(2), []
    for t in range(5):
        y, state = cell.step(keras.ops.convert_to_tensor(_inputs()[:, t]), state)
        outputs.append(y)
    expected = [keras.ops.stack(outputs, axis=1), *cell.pack(state)]
    _assert_close(_rnn(cell, return_state=True)(_inputs()), expected)
    _assert_close(_rnn(cell, return_sequences=False)(_inputs()), outputs[-1])


@FEW_CELLS
def test_unrolling_and_looping_agree(name):
    cell = _cell(name)
    unrolled = _rnn(cell, return_state=True, unroll=True)(_inputs())
    _assert_close(unrolled, _rnn(cell, return_state=True)(_inputs()))


@MASKS_OF_RNN
@EACH_STATE
def test_a_masked_tail_changes_nothing(name):
    layer = _rnn(_cell(name), return_state=True)
    mask = np.array([[True] * 3 + [False] * 2] * 2)
    outputs, *state = layer(_inputs(), mask=mask)
    expected, *expected_state = layer(_inputs()[:, :3])
    _assert_close([outputs[:, :3], *state], [expected, *expected_state])
    _assert_close(outputs[:, 3:], np.repeat(expected[:, 2:], 2, axis=1))
    assert not np.allclose(outputs[:, 3:], layer(_inputs())[0][:, 3:])


@MASKS_OF_RNN
@FEW_CELLS
def test_a_masked_beginning_is_skipped(name):
    layer = _rnn(_cell(name), return_state=True)
    outputs, *state = layer(_inputs(), mask=np.array([[False] * 2 + [True] * 3] * 2))
    expected, *expected_state = layer(_inputs()[:, 2:])
    _assert_close([outputs[:, 2:], *state], [expected, *expected_state])
    np.testing.assert_array_equal(outputs[:, :2], 0.0)


@MASKS_OF_RNN
@FEW_CELLS
def test_each_sequence_of_a_batch_has_its_own_mask(name):
    layer = _rnn(_cell(name), return_sequences=False)
    mask = np.arange(5)[None] < np.array([[2], [4]])
    expected = [layer(_inputs()[:1, :2])[0], layer(_inputs()[1:, :4])[0]]
    _assert_close(layer(_inputs(), mask=mask), keras.ops.stack(expected))


@EACH_STATE
def test_the_state_continues_a_sequence(name):
    layer = _rnn(_cell(name), return_state=True)
    first, *state = layer(_inputs()[:, :2])
    second, *state = layer(_inputs()[:, 2:], initial_state=state)
    joined = keras.ops.concatenate([first, second], axis=1)
    _assert_close([joined, *state], layer(_inputs()))


@FEW_CELLS
def test_a_stateful_layer_continues_by_itself(name):
    cell = _cell(name)
    stateful = _rnn(cell, stateful=True)
    halves = [stateful(_inputs()[:, :2]), stateful(_inputs()[:, 2:])]
    _assert_close(keras.ops.concatenate(halves, axis=1), _rnn(cell)(_inputs()))


@FEW_CELLS
def test_going_backwards_is_the_reversed_sequence(name):
    cell = _cell(name)
    _assert_close(_rnn(cell, go_backwards=True)(_inputs()), _rnn(cell)(_inputs()[:, ::-1]))


@FEW_CELLS
def test_bidirectional_runs_both_ways(name):
    layer = keras.layers.Bidirectional(_rnn(_cell(name)))
    outputs = layer(_inputs())
    forward = layer.forward_layer(_inputs())
    backward = keras.ops.flip(layer.backward_layer(_inputs()), axis=1)
    assert outputs.shape == (2, 5, 2 * UNITS)
    assert not np.allclose(forward, backward)
    _assert_close(outputs, keras.ops.concatenate([forward, backward], axis=-1))


@FEW_CELLS
def test_a_list_of_cells_is_a_stack_of_layers(name):
    cells = [_cell(name), CELLS[name]()]
    outputs = _rnn(cells)(_inputs())
    assert outputs.shape == (2, 5, UNITS)
    _assert_close(outputs, _rnn(cells[1])(_rnn(cells[0])(_inputs())))


@FEW_CELLS
def test_symbolic_states_have_the_sizes_of_the_cell(name):
    cell = CELLS[name]()
    outputs, *state = _rnn(cell, return_state=True)(keras.Input((None, INPUT_SIZE)))
    assert outputs.shape == (None, None, UNITS)
    assert [x.shape for x in state] == [(None, size) for size in cell.state_size]


@pytest.mark.long
@FEW_CELLS
def test_batch_and_length_are_free(name):
    cell = _cell(name)
    model = _functional(cell)
    for batch, length in ((2, 3), (1, 4)):
        x = _inputs(batch, length)
        _assert_close(model.predict_on_batch(x), _rnn(cell)(x))


# Precision.


@pytest.mark.long
@EACH_HALF
def test_mixed_precision_stays_finite_and_close(name, policy):
    expected = _rnn(_cell(name))(_inputs(length=3))
    keras.config.set_dtype_policy(policy)
    cell = _cell(name)
    with tf.GradientTape() as tape:
        outputs, *state = _rnn(cell, return_state=True)(_inputs(length=3))
        loss = tf.reduce_mean(tf.cast(outputs, "float32") ** 2)
    compute_dtype = policy.removeprefix("mixed_")
    assert {x.dtype.name for x in (outputs, *state)} == {compute_dtype}
    assert {v.dtype for v in cell.trainable_variables} == {"float32"}
    gradients = tape.gradient(loss, cell.trainable_variables)
    assert all(np.isfinite(x).all() for x in gradients)
    _assert_close(outputs, expected, rtol=0.1, atol=0.1)


@CLASSES
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_floats_are_addressed_in_float32(cell_class, policy, monkeypatch):
    keras.config.set_dtype_policy(policy)
    cell = cell_class(keras.layers.GRUCell(4), UNITS, **SIZES)
    cell.build((None, INPUT_SIZE))
    seen, address = [], cell.address

    def record(eq, signals, state):
        seen.extend(x.dtype.name for x in (signals.erase, state.memory, state.read_weights))
        return address(eq, signals, state)

    monkeypatch.setattr(cell, "address", record)
    cell.step(keras.ops.zeros((2, INPUT_SIZE), cell.compute_dtype), cell.initial_state(2))
    assert seen == ["float32"] * 3


@EACH_STATE
def test_float64_is_float64_throughout_and_agrees_with_float32(name):
    expected = _rnn(_cell(name))(_inputs(length=3))
    keras.config.set_dtype_policy("float64")
    outputs, *state = _rnn(_cell(name), return_state=True)(_inputs(length=3).astype("float64"))
    assert {x.dtype for x in (outputs, *state)} == {tf.float64}
    _assert_close(outputs, expected, rtol=1e-4, atol=1e-5)


# Training and compilation.


@pytest.mark.long
@COMPILED_CELLS
def test_fit_lowers_the_loss_and_moves_every_weight(name):
    cell = _cell(name)
    model = _functional(cell)
    model.compile(keras.optimizers.Adam(1e-2), "mse", jit_compile=False)
    before = [np.array(v.numpy()) for v in model.trainable_variables]
    targets = np.ones((2, 5, UNITS), "float32")
    losses = model.fit(_inputs(), targets, epochs=10, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert np.isfinite(new.numpy()).all()
        assert not np.array_equal(old, new.numpy()), new.path


@pytest.mark.long
@COMPILED_CELLS
def test_xla_agrees_with_the_plain_graph(name):
    model = _functional(_cell(name))
    expected = model(_inputs())
    model.compile(jit_compile=True)
    _assert_close(model.predict(_inputs(), verbose=0), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.long
def test_a_layer_trains_under_xla():
    """With many slots allocation sorts, whose gradient goes through gathers; so do sparse links."""
    options = {"memory_size": 65, "linkage": "sparse", "num_links": 2}
    model = _functional(DNCCell(keras.layers.GRUCell(4), UNITS, **{**SIZES, **options}))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(_inputs()) - 1.0) ** 2)
    gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
    expected = [v - 0.1 * g for v, g in zip(model.trainable_variables, gradients, strict=True)]
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=True)
    model.fit(_inputs(), np.ones((len(_inputs()), 5, UNITS)), verbose=0)
    _assert_close([v.value for v in model.trainable_variables], expected, rtol=1e-4, atol=1e-5)


@CLASSES
def test_a_learned_initial_memory_is_trained(cell_class):
    controller = keras.layers.GRUCell(4)
    cell = cell_class(controller, UNITS, **SIZES, learn_initial_memory=True)
    cell.build((None, INPUT_SIZE))
    assert any(cell.initial_memory is v for v in cell.trainable_variables)
    np.testing.assert_array_equal(cell.initial_state(2).memory[1], cell.initial_memory.numpy())
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(_rnn(cell)(_inputs()) ** 2)
    gradient = tape.gradient(loss, cell.initial_memory.value).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient != 0).any(axis=-1).all()


@pytest.mark.long
def test_memory_forcing_export_and_pictures_take_a_kanerva_cell_as_it_is(tmp_path):
    cell, x = KanervaCell(keras.layers.SimpleRNNCell(3), 1, 3, 2), binary(4, 4, 1)
    generator = SequenceGenerator(cell)
    model = MemoryForcing(
        generator,
        hidden_discriminator=SequenceDiscriminator(3, (2,)),
        memory_discriminator=SequenceDiscriminator(3, (2,)),
        gate=None,
    )
    model.compile("adam", run_eagerly=True)
    history = model.fit(x, verbose=0).history
    assert np.isfinite(history["c_m"]).all()
    assert history["memory_discriminator_gate_open"] == [1.0]

    generator.export(tmp_path / "served" / "1", length=4)
    answer = tf.saved_model.load(str(tmp_path / "served" / "1")).signatures["trace"]
    trace = answer(sequences=tf.constant(x))
    assert set(trace) == set(cell.served_fields)
    _assert_close(trace["memory"], generator.teacher_force(x)[1].memory, rtol=1e-4, atol=1e-5)

    pictures = callbacks.Pictures(tmp_path / "pictures", generator, x[0], (2, 2), num_samples=4)
    pictures.on_epoch_end(0, {"nll": 1.0})
    drawn = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert drawn == {"samples_0001", "memory_0001", "memory", "nll"}


# Bad arguments.


@CLASSES
def test_inputs_must_have_a_known_number_of_features(cell_class):
    layer = keras.layers.RNN(cell_class(keras.layers.GRUCell(4), UNITS, **SIZES))
    with pytest.raises(ValueError, match="inputs must have a known number of features"):
        layer(keras.Input((None, None)))


@CLASSES
@pytest.mark.parametrize(
    "controller",
    [
        None,
        "gru",
        keras.layers.GRUCell,
        lambda: keras.layers.GRU(3),
        lambda: keras.layers.RNN(keras.layers.GRUCell(3)),
    ],
)
def test_a_controller_must_be_a_cell_or_a_layer(cell_class, controller):
    if callable(controller) and not isinstance(controller, type):
        controller = controller()
    with pytest.raises(TypeError, match="controller"):
        cell_class(controller, 1)


@CLASSES
@pytest.mark.parametrize("kind", [keras.layers.GRUCell, keras.layers.LSTMCell])
def test_a_built_controller_must_fit(cell_class, kind):
    controller = kind(4)
    cell_class(controller, 1, memory_size=3, word_size=2, num_reads=1).build((None, 1))
    again = cell_class(controller, 1, memory_size=3, word_size=2, num_reads=1)
    again.build((None, 1))
    other = cell_class(controller, 1, memory_size=3, word_size=3, num_reads=1)
    with pytest.raises(ValueError, match="controller must be built for inputs of size 4"):
        other.build((None, 1))


SIZE_NAMES = ["units", "memory_size", "word_size", "num_reads", "num_writes"]


@CLASSES
@pytest.mark.parametrize("name", SIZE_NAMES)
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_must_be_positive(cell_class, name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        cell_class(keras.layers.GRUCell(2), **{"units": 1, name: value})


@CLASSES
@pytest.mark.parametrize("name", SIZE_NAMES)
@pytest.mark.parametrize("value", [2.0, True, "2", None])
def test_sizes_must_be_integers(cell_class, name, value):
    with pytest.raises(TypeError, match=f"{name} must be"):
        cell_class(keras.layers.GRUCell(2), **{"units": 1, name: value})


@CLASSES
@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_clip_must_be_positive(cell_class, value):
    with pytest.raises(ValueError, match="clip must be"):
        cell_class(keras.layers.GRUCell(2), 1, clip=value)


@CLASSES
@pytest.mark.parametrize("value", [True, "20", [20.0]])
def test_clip_must_be_a_number(cell_class, value):
    with pytest.raises(TypeError, match="clip must be"):
        cell_class(keras.layers.GRUCell(2), 1, clip=value)


def test_a_frozen_cell_stays_frozen(tmp_path):
    sizes = {"memory_size": 3, "word_size": 2, "learn_initial_memory": True}
    cell = DNCCell(keras.layers.GRUCell(4), 2, **sizes, trainable=False)
    model = keras.Sequential([keras.Input((3, 2)), keras.layers.RNN(cell)])
    assert model.variables
    assert not model.trainable_variables
    model.save(tmp_path / "model.keras")
    assert not keras.models.load_model(tmp_path / "model.keras").trainable_variables


def test_asks_a_controller_for_its_state_as_keras_does():
    class Cell(keras.layers.GRUCell):
        def get_initial_state(self, inputs=None, batch_size=None, dtype=None):
            return [tf.ones((batch_size, self.units))]

    cell = DNCCell(Cell(4), 2, memory_size=3, word_size=2)
    cell.build((None, 2))
    np.testing.assert_array_equal(cell.initial_state(3).controller[0], np.ones((3, 4)))
