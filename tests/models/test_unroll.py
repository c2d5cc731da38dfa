import keras
import numpy as np
import pytest

from mf_keras import DNCCell, NTMCell, backend, unroll
from tests.backends import tf

SIZES = {"units": 3, "memory_size": 5, "word_size": 4, "num_reads": 2}
CELLS = {
    "dnc": lambda **kw: DNCCell(keras.layers.GRUCell(7, dtype=kw.get("dtype")), **SIZES, **kw),
    "dnc_two_writes": lambda **kw: DNCCell(keras.layers.LSTMCell(6), num_writes=2, **SIZES, **kw),
    "ntm": lambda **kw: NTMCell(keras.layers.GRUCell(7, dtype=kw.get("dtype")), **SIZES, **kw),
}
every_cell = pytest.mark.parametrize("name", CELLS)


def make(name, **kwargs):
    keras.utils.set_random_seed(1)
    cell = CELLS[name](**kwargs)
    cell.build((None, 3))
    for variable in cell.trainable_variables:  # far from the tame initial weights
        variable.assign(2.0 * variable)
    return cell


def sequences(batch=2, time=6, size=3, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, time, size)).astype("float32")


def close(actual, expected, tolerance=1e-5):
    actual, expected = np.asarray(actual), np.asarray(expected)
    scale = max(1e-3, np.abs(expected).max())
    np.testing.assert_allclose(actual / scale, expected / scale, rtol=0, atol=tolerance)


def close_all(actual, expected, tolerance=1e-5):
    for a, b in zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True):
        close(a, b, tolerance)


def through_layer(cell, x, state, mask=None):
    """The same by keras.layers.RNN: outputs and final state."""
    layer = keras.layers.RNN(cell, return_sequences=True, return_state=True)
    outputs, *states = layer(x, initial_state=cell.pack(state), mask=mask)
    return outputs, cell.unpack(states)


def through_unroll(cell, x, state, mask=None):
    outputs, _, final = unroll(cell, x, initial_state=state, mask=mask)
    return outputs, final


def with_gradients(run, cell, x, mask=None):
    """Outputs, final state, and the gradients of a function of both in everything that enters."""
    x = tf.constant(x)
    # Rows of 1e-6 have a direction that a rounding error changes, so begin with other rows.
    state = cell.initial_state(x.shape[0])
    state = state._replace(memory=tf.constant(sequences(2, 5, 4, seed=1)))
    sources = [v.value for v in cell.trainable_variables], x, state
    with tf.GradientTape() as tape:
        tape.watch(sources)
        outputs, final = run(cell, x, state, mask)
        loss = tf.reduce_sum(tf.sin(outputs)) + sum(
            tf.reduce_sum(tf.sin(part)) for part in keras.tree.flatten(final)
        )
    gradients = tape.gradient(loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return outputs, final, gradients


@pytest.mark.parametrize(("name", "masked"), [("dnc_two_writes", False), ("ntm", True)])
def test_equals_keras_rnn_in_outputs_state_and_gradients(name, masked):
    cell, x = make(name), sequences()
    mask = np.array([[1, 1, 0, 1, 1, 0], [0, 1, 1, 1, 0, 0]], bool) if masked else None
    expected = tf.function(lambda: with_gradients(through_layer, cell, x, mask))()
    actual = tf.function(lambda: with_gradients(through_unroll, cell, x, mask))()
    close_all(actual, expected)


@pytest.mark.long
def test_xla_and_eager_agree():
    cell, x = make("ntm"), sequences(time=4)
    eager = with_gradients(through_unroll, cell, x)
    compiled = tf.function(lambda: with_gradients(through_unroll, cell, x), jit_compile=True)()
    close_all(compiled, eager)


@every_cell
def test_trace_holds_the_state_of_every_step(name):
    cell, x = make(name), sequences()
    _, trace, final = unroll(cell, x)
    state = cell.initial_state(2)
    for t in range(x.shape[1]):
        _, state = cell.step(x[:, t], state)
        close_all(keras.tree.map_structure(lambda part, t=t: part[:, t], trace), state)
    close_all(final, state)
    assert trace.memory.shape == (2, 6, 5, 4)
    assert trace.hidden.shape == (2, 6, cell.hidden_size)


@pytest.mark.long
def test_gradients_flow_through_the_trace_alone():
    """The same gradient as of a Python loop over steps, for a loss that sees only the trace."""
    cell, x = make("dnc_two_writes"), tf.constant(sequences(time=4))
    variables = [v.value for v in cell.trainable_variables]

    def loss(memory, hidden, read_weights):
        return sum(tf.reduce_sum(tf.sin(3.0 * part)) for part in (memory, hidden, read_weights))

    def by_loop():
        with tf.GradientTape() as tape:
            tape.watch(x)
            state, states = cell.initial_state(2), []
            for t in range(4):
                _, state = cell.step(x[:, t], state)
                states.append((state.memory, state.hidden, state.read_weights))
            total = loss(*(tf.stack(part, axis=1) for part in zip(*states, strict=True)))
        return tape.gradient(total, [*variables, x], unconnected_gradients="zero")

    @tf.function(jit_compile=True)
    def by_unroll():
        with tf.GradientTape() as tape:
            tape.watch(x)
            _, trace, _ = unroll(cell, x)
            total = loss(trace.memory, trace.hidden, trace.read_weights)
        return tape.gradient(total, [*variables, x], unconnected_gradients="zero")

    close_all(by_unroll(), by_loop())


@pytest.mark.parametrize(("name", "padding"), [("dnc_two_writes", np.nan), ("ntm", np.inf)])
def test_what_padding_holds_reaches_no_gradient(name, padding):
    """Padding in front, in the middle and at the end: all is as if it were not there."""
    cell, x = make(name), sequences(time=4)
    expected, expected_state, (to_weights, to_x, to_state) = with_gradients(through_unroll, cell, x)
    mask = np.array([[0, 1, 0, 0, 1, 1, 1, 0], [1, 1, 0, 1, 0, 0, 0, 1]], bool)
    padded = np.full((2, 8, 3), padding, "float32")
    padded[mask] = x.reshape(8, 3)

    def counted(cell, x, state, mask):
        outputs, final = through_unroll(cell, x, state, mask)
        return tf.reshape(outputs[mask], (2, 4, 3)), final

    actual = with_gradients(counted, cell, padded, mask)
    placed = np.zeros_like(padded)
    placed[mask] = np.reshape(to_x, (8, 3))
    close_all(actual, (expected, expected_state, (to_weights, placed, to_state)))
    np.testing.assert_array_equal(actual[2][1].numpy()[~mask], 0.0)


def test_gradient_is_the_numerical_one():
    cell = make("dnc", dtype="float64")
    x = tf.constant(sequences(time=3).astype("float64"))
    direction = np.random.default_rng(3).normal(size=x.shape)

    def loss(x):
        outputs, trace, _ = unroll(cell, x)
        return tf.reduce_sum(tf.sin(outputs)) + tf.reduce_sum(tf.sin(trace.memory))

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
    slope = float(tf.reduce_sum(tape.gradient(value, x) * direction))
    step = 1e-6
    numerical = float(loss(x + step * direction) - loss(x - step * direction)) / (2 * step)
    assert slope == pytest.approx(numerical, rel=1e-6)


def test_chunks_give_the_same_gradients_with_masks_and_with_parts_of_the_trace():
    cell, x = make("dnc", dtype="float64"), tf.constant(sequences(time=5).astype("float64"))
    mask = np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 0]], bool)

    def run(**options):
        sources = [v.value for v in cell.trainable_variables], x
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs, trace, final = unroll(cell, x, mask=mask, **options)
            seen = [outputs, trace.memory, trace.read_weights, *tf.nest.flatten(final)]
            loss = sum(tf.reduce_sum(tf.sin(2.0 * part)) for part in seen)
        return seen, tape.gradient(loss, sources)

    expected = run()
    for chunk in (2, "sqrt"):
        close_all(run(keep=("memory", "read_weights"), chunk=chunk), expected, 1e-12)


def test_the_trace_has_the_fields_that_are_asked_for():
    cell, x = make("dnc"), sequences(time=2)
    _, everything, _ = unroll(cell, x)
    _, trace, final = unroll(cell, x, keep=["controller", "link"])
    close_all([trace.controller, trace.link], [everything.controller, everything.link])
    left_out = set(trace._fields) - {"controller", "link"}
    assert all(getattr(trace, name) is None for name in left_out)
    close_all(final, keras.tree.map_structure(lambda part: part[:, -1], everything))
    assert set(unroll(cell, x, keep=())[1]._asdict().values()) == {None, (None,)}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"keep": "memory"}, TypeError, "keep must be names of fields"),
        ({"keep": (1,)}, TypeError, "keep must be names of fields"),
        ({"keep": ("memory", "color")}, ValueError, "keep must name fields .*, got .'color'."),
        ({"chunk": 0}, ValueError, "chunk must be an integer >= 1, got 0"),
        ({"chunk": 2.0}, TypeError, "chunk must be an integer >= 1, got 2.0"),
        ({"chunk": "log"}, ValueError, "chunk must be one of 'sqrt', got 'log'"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        unroll(make("dnc"), sequences(), **options)


@every_cell
def test_final_state_continues_the_sequence(name):
    cell, x = make(name), sequences()
    outputs, trace, final = unroll(cell, x)
    first, trace_1, state = unroll(cell, x[:, :2])
    second, trace_2, end = unroll(cell, x[:, 2:], initial_state=state)
    close(np.concatenate([first, second], axis=1), outputs, 1e-6)
    close(np.concatenate([trace_1.memory, trace_2.memory], axis=1), trace.memory, 1e-6)
    close_all(end, final, 1e-6)


def test_learned_initial_memory_receives_its_gradient():
    cell = make("ntm", learn_initial_memory=True)
    with tf.GradientTape() as tape:
        outputs, _, _ = unroll(cell, sequences())
        loss = tf.reduce_sum(outputs**2)
    assert np.abs(tape.gradient(loss, cell.initial_memory.value)).max() > 0


def test_shapes_may_be_unknown_while_tracing():
    cell = make("dnc")
    run = tf.function(
        lambda x: unroll(cell, x)[0], input_signature=[tf.TensorSpec((None, None, 3), tf.float32)]
    )
    for x in (sequences(1, 2), sequences(3, 5)):
        close(run(x), unroll(cell, x)[0])


@pytest.mark.parametrize("compiled", [False, True])
def test_a_known_number_of_steps_stays_known(compiled):
    cell, shapes = make("dnc"), []

    @tf.function(autograph=False)
    @backend.compiling_loops(compiled)
    def run(x):
        outputs, trace, _ = unroll(cell, x)
        shapes.extend([outputs.shape, trace.memory.shape])
        return outputs

    run.get_concrete_function(tf.TensorSpec((None, 6, 3), tf.float32))
    assert [shape[1] for shape in shapes] == [6, 6]


@pytest.mark.long
def test_sparse_links_pass_gradients_out_of_a_graph():
    """Their slots are integers, of which no gradient comes back."""
    cell = DNCCell(keras.layers.GRUCell(4), 2, 5, 3, linkage="sparse", num_links=2)
    run = tf.function(lambda x: unroll(cell, x, keep=("hidden",))[0])
    gradients = []
    for function in (run, lambda x: unroll(cell, x)[0]):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(function(sequences()) ** 2)
        gradients.append(tape.gradient(loss, [v.value for v in cell.trainable_variables]))
    for a, b in zip(*gradients, strict=True):
        close(a, b)


@pytest.mark.long
def test_half_precision_keeps_weights_and_their_gradients_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    cell = CELLS["dnc"]()
    cell.build((None, 3))

    @tf.function(jit_compile=True)
    def run(x):
        with tf.GradientTape() as tape:
            outputs, trace, _ = unroll(cell, x)
            loss = tf.reduce_sum(tf.cast(outputs, "float32") ** 2)
        return outputs, trace, tape.gradient(loss, [v.value for v in cell.trainable_variables])

    outputs, trace, gradients = run(sequences())
    assert outputs.dtype == trace.memory.dtype == tf.bfloat16
    assert all(g.dtype == tf.float32 and np.isfinite(g).all() for g in gradients)
    assert any(np.abs(g).max() > 0 for g in gradients)


@pytest.mark.long
def test_ten_thousand_steps_run():
    cell = make("dnc", linkage=None)  # links take longest to compile

    @tf.function(jit_compile=True)
    def run(x):
        with tf.GradientTape() as tape:
            outputs, trace, _ = unroll(cell, x)
            loss = tf.reduce_mean(outputs**2) + tf.reduce_mean(trace.memory**2)
        return loss, tape.gradient(loss, [v.value for v in cell.trainable_variables])

    loss, gradients = run(sequences(1, 10_000))
    assert np.isfinite(loss)
    assert all(np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    ("inputs", "error", "words"),
    [
        (np.zeros((2, 3), "float32"), ValueError, "inputs must have shape"),
        (np.zeros((2, 0, 3), "float32"), ValueError, "inputs must have shape"),
        ("text", TypeError, "inputs must be a tensor"),
        (None, TypeError, "inputs must be a tensor"),
    ],
)
def test_refuses_bad_inputs(inputs, error, words):
    with pytest.raises(error, match=words):
        unroll(make("dnc"), inputs)


def test_refuses_bad_cells_masks_and_states():
    cell, x = make("dnc"), sequences()
    with pytest.raises(TypeError, match="cell must be a memory cell"):
        unroll(keras.layers.GRUCell(3), x)
    with pytest.raises(ValueError, match="mask must have shape"):
        unroll(cell, x, mask=np.ones((2, 5), bool))
    with pytest.raises(TypeError, match="initial_state must be a DNCState"):
        unroll(cell, x, initial_state=cell.get_initial_state(2))
    state = cell.initial_state(2)
    state = state._replace(memory=state.memory[:, :3])
    with pytest.raises(ValueError, match="initial_state must have shape"):
        unroll(cell, x, initial_state=state)


def test_frozen_weights_get_no_gradient_and_do_no_harm():
    cell = make("dnc")
    cell.controller.trainable = False
    with tf.GradientTape() as tape:
        outputs, _, _ = unroll(cell, sequences(time=3))
        loss = tf.reduce_sum(outputs**2)
    variables = [v.value for v in cell.trainable_variables]
    assert len(variables) == 4
    assert all(np.abs(g).max() > 0 for g in tape.gradient(loss, variables))


def test_refuses_inputs_and_states_of_other_sizes():
    cell = make("dnc")
    with pytest.raises(ValueError, match="inputs must have 3 features"):
        unroll(cell, sequences(size=2))
    with pytest.raises(ValueError, match="initial_state must have shape"):
        unroll(cell, sequences(batch=2), initial_state=cell.initial_state(5))
    with pytest.raises(TypeError, match="mask must be a tensor"):
        unroll(cell, sequences(), mask="a")


class Dropping(keras.layers.Layer):
    """A controller with a layer that assigns a random state in training."""

    def __init__(self, layer):
        super().__init__()
        self.cell, self.layer, self.state_size = keras.layers.GRUCell(4), layer, 4

    def build(self, input_shape):
        self.cell.build(input_shape)
        self.layer.build((None, 4))

    def call(self, inputs, states, training=False):
        output, states = self.cell(inputs, states)
        return self.layer(output, training=training), states


@pytest.mark.parametrize(
    "layer", [lambda: keras.layers.Dropout(0.5), keras.layers.BatchNormalization]
)
def test_refuses_what_a_loop_would_lose(layer):
    cell, x = DNCCell(Dropping(layer()), 2, memory_size=3, word_size=2), tf.ones((2, 3, 2))
    unroll(cell, x)
    with pytest.raises(ValueError, match=r"The cell must not assign .*(seed|moving)"):
        unroll(cell, x, training=True)
