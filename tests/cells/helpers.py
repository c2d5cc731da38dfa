"""What the tests of the cells share: random cells, random states, comparison with the reference."""

import keras
import numpy as np

from tests import reference

REFERENCE_TOLERANCE = {
    "float32": {"rtol": 1e-5, "atol": 1e-6},
    "float64": {"rtol": 1e-10, "atol": 1e-13},
}


def randomize(cell, rng, scale=0.5):
    """Give every weight, biases included, normal random values."""
    for variable in cell.trainable_variables:
        variable.assign(rng.normal(size=variable.shape) * scale)
    return cell


def weights_of(cell):
    """The weights of a cell with a GRU controller, as float64 arrays."""
    pairs = {
        "kernel": cell.controller.kernel,
        "recurrent_kernel": cell.controller.recurrent_kernel,
        "bias": cell.controller.bias,
        "interface_kernel": cell.interface.kernel,
        "interface_bias": cell.interface.bias,
        "readout_kernel": cell.readout.kernel,
        "readout_bias": cell.readout.bias,
    }
    return {name: as_array(variable.value) for name, variable in pairs.items()}


def as_array(x):
    return keras.ops.convert_to_numpy(keras.ops.cast(x, "float64"))


def as_arrays(state):
    """A cell's named tuple as the reference's dict of float64 arrays, sparse links made dense."""
    fields = state._asdict()
    if "link_weights" in fields:
        weights, slots = fields.pop("link_weights"), fields.pop("link_slots")
        fields["link"] = reference.dense_link(as_array(weights), np.asarray(slots))
    controller = [as_array(x) for x in fields.pop("controller")]
    return {"controller": controller, **{name: as_array(x) for name, x in fields.items()}}


def weighting(rng, *shape):
    """Non-negative, sums below 1."""
    weights = rng.uniform(0.05, 1.0, shape)
    return weights / weights.sum(-1, keepdims=True) * rng.uniform(0.3, 1.0, (*shape[:-1], 1))


def sparse_link(rng, batch, heads, links, slots):
    """Random sparse links, the strongest first, not of a slot with itself; some do not exist."""
    shape = (batch, heads, links, slots)
    weights = -np.sort(-rng.uniform(0.1, 1.0, shape), axis=2) / (2 * slots)
    others = np.zeros(shape, "int32")
    for b, h, i in np.ndindex(batch, heads, slots):
        candidates = rng.permutation([j + 1 for j in range(slots) if j != i])[:links]
        count = rng.integers(len(candidates) + 1)
        others[b, h, :count, i] = candidates[:count]
    return weights * (others > 0), others


def random_state(cell, rng, batch):
    """A state as it may stand in the middle of a sequence: no two slots are alike."""
    start, fields = cell.initial_state(batch), {}
    for name, x in start._asdict().items():
        if name == "controller":
            fields[name] = tuple(np.tanh(rng.normal(size=c.shape)) for c in x)
        elif name == "usage":
            fields[name] = rng.uniform(size=x.shape)
        elif name == "covariance":
            root = rng.normal(size=x.shape)
            fields[name] = np.matmul(root, np.swapaxes(root, -1, -2)) / x.shape[-1]
        elif name == "link":
            fields[name] = weighting(rng, *x.shape) / x.shape[-1] * (1.0 - np.eye(x.shape[-1]))
        elif name == "link_weights":
            fields["link_weights"], fields["link_slots"] = sparse_link(rng, *x.shape)
        elif name == "link_slots":
            continue
        elif name.endswith("weights") or name == "precedence":
            fields[name] = weighting(rng, *x.shape)
        else:
            fields[name] = rng.normal(size=x.shape)
    return keras.tree.map_structure(
        lambda x, like: keras.ops.convert_to_tensor(x, like.dtype), type(start)(**fields), start
    )


def check_steps(cell, reference_step, inputs, state):
    """Run cell and reference side by side over inputs (B, T, D); compare every step."""
    tolerance = REFERENCE_TOLERANCE[cell.compute_dtype]
    weights, expected = weights_of(cell), as_arrays(state)
    for t in range(inputs.shape[1]):
        x_t = keras.ops.convert_to_tensor(inputs[:, t], cell.compute_dtype)
        y, state = cell.step(x_t, state)
        expected_y, expected = reference_step(weights, as_array(x_t), expected)
        np.testing.assert_allclose(as_array(y), expected_y, err_msg="outputs", **tolerance)
        for name, x in as_arrays(state).items():
            for a, b in zip(x, expected[name], strict=True):
                np.testing.assert_allclose(a, b, err_msg=f"{name} at step {t}", **tolerance)


def run_steps(cell, inputs, state):
    """The states after each step, as dicts of arrays."""
    states = []
    for t in range(inputs.shape[1]):
        _, state = cell.step(keras.ops.convert_to_tensor(inputs[:, t], cell.compute_dtype), state)
        states.append(as_arrays(state))
    return states


def check_controller(cell, inputs, state):
    """h_t is what the controller alone makes of [x_t ; r_{t-1}]."""
    batch = len(inputs)
    reads = keras.ops.reshape(state.read_vectors, (batch, -1))
    nested = keras.tree.pack_sequence_as(
        cell.controller.get_initial_state(batch_size=batch), list(state.controller)
    )
    x = keras.ops.concatenate([inputs, reads], axis=-1)
    hidden, nested = cell.controller(x, nested)
    _, new_state = cell.step(inputs, state)
    np.testing.assert_allclose(new_state.hidden, hidden, rtol=1e-6)
    for a, b in zip(new_state.controller, keras.tree.flatten(nested), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def close(actual, expected, tolerance):
    """Assert that nested tensors are equal in dtypes and shapes, and nearly in values."""
    pairs = zip(keras.tree.flatten(actual), keras.tree.flatten(expected), strict=True)
    for a, b in pairs:
        if a is None:
            assert b is None
            continue
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()))


def controlled(cell, x, trace):
    """What the controller read at every step: x_t and the read vectors of the step before."""
    vectors = trace.read_vectors.numpy()
    vectors = vectors.reshape(*vectors.shape[:2], -1)
    before = np.concatenate([np.zeros_like(vectors[:, :1]), vectors[:, :-1]], axis=1)
    return np.concatenate([x, before], axis=-1)
