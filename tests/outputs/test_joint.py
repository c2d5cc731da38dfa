"""Several outputs side by side: what is packed, added up and refused."""

import numpy as np
import pytest
from keras import ops

from mf_keras.outputs import Bernoulli, Categorical, GaussianMixture, Joint
from tests.backends import tf

STROKES = Joint({"pen": Categorical(3), "move": GaussianMixture(2, 4)})


def arrays(*shape):
    random = np.random.default_rng(0)
    pen = random.integers(3, size=shape).astype("int32")
    return {"pen": pen, "move": random.normal(size=(*shape, 2)).astype("float32")}


def test_packing_and_unpacking_are_inverse():
    given = arrays(4, 5)
    x = STROKES.pack(given)
    assert (x.shape, x.dtype) == ((4, 5, 3), np.float32)
    np.testing.assert_array_equal(x[..., 0], given["pen"])
    for found in (STROKES.unpack(x), STROKES.unpack(ops.convert_to_tensor(x))):
        assert list(found) == ["pen", "move"]
        for name, array in given.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_a_tuple_has_positions_and_tokens_only_are_integers():
    both = Joint((Categorical(3), Categorical(5)))
    x = both.pack(([[0, 2]], [[4, 1]]))
    assert both.dtype == x.dtype == "int32"
    np.testing.assert_array_equal(x, [[[0, 4], [2, 1]]])
    first, second = both.unpack(x)
    np.testing.assert_array_equal(first, [[0, 2]])
    np.testing.assert_array_equal(second, [[4, 1]])


def test_nlls_and_errors_are_sums():
    given = arrays(2, 3)
    random = np.random.default_rng(1).normal(size=(2, 3, STROKES.size)).astype("float32")
    x, parts = STROKES.pack(given), (random[..., :3], random[..., 3:])
    for method in ("step_nll", "step_errors"):
        found = getattr(STROKES, method)(x, random)
        pen, move = STROKES.outputs.values()
        wanted = getattr(pen, method)(given["pen"], parts[0])
        wanted = wanted + getattr(move, method)(given["move"], parts[1])
        np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_values_are_checked_in_a_stream():
    """Where sizes are not known."""
    x = STROKES.pack(arrays(2, 3))
    x[1, 2, 0] = 5.0
    stream = tf.data.Dataset.from_tensor_slices(x).batch(2).map(STROKES.valid)
    (found,) = stream.as_numpy_iterator()
    np.testing.assert_array_equal(np.argwhere(~found), [[1, 2, 0]])


def test_it_is_equal_by_its_outputs_and_says_what_they_are():
    same = Joint({"pen": Categorical(3), "move": GaussianMixture(2, 4)})
    assert same == STROKES
    assert hash(same) == hash(STROKES)
    assert same != Joint((Categorical(3), GaussianMixture(2, 4)))
    assert repr(Joint((Bernoulli(1),))) == "Joint((Bernoulli(units=1),))"
    assert "'pen': Categorical(classes=3" in repr(STROKES)


def test_a_joint_within_a_joint():
    nested = Joint({"stroke": STROKES, "bits": Bernoulli(2)})
    x = nested.pack({"stroke": STROKES.pack(arrays(2, 3)), "bits": np.ones((2, 3, 2))})
    drawn = nested.draw(np.zeros((2, nested.size), "float32"), nested.forced(x[:, 0]))
    np.testing.assert_array_equal(drawn, x[:, 0])


def test_half_floats_round_no_token():
    many = Joint({"token": Categorical(1000), "bit": Bernoulli(1)})
    x = np.float32([[[999.0, 1.0]]])
    np.testing.assert_array_equal(many.to_steps("x", x, "bfloat16"), x)


@pytest.mark.parametrize("outputs", [3, None, "ab", Categorical(3), {"a": 1}, (Bernoulli,)])
def test_wrong_kinds_are_refused(outputs):
    with pytest.raises(TypeError, match="outputs must"):
        Joint(outputs)


def test_wrong_values_are_refused():
    with pytest.raises(ValueError, match="outputs must not be empty"):
        Joint({})
    with pytest.raises(TypeError, match="names of outputs must be text"):
        Joint({1: Bernoulli(1)})
    with pytest.raises(ValueError, match="outputs must have at most 16777216 classes"):
        Joint((Categorical(2**25), Bernoulli(1)))


def test_wrong_parts_are_refused_by_name():
    given = arrays(4, 5)
    with pytest.raises(ValueError, match=r"arrays must be of \['pen', 'move'\], got \['pen'\]"):
        STROKES.pack({"pen": given["pen"]})
    with pytest.raises(ValueError, match=r"arrays of 'move' must have shape \(4, 5, 2\)"):
        STROKES.pack({**given, "move": given["move"][:, :3]})
    with pytest.raises(ValueError, match=r"arrays of 'pen' must hold only integers from 0 to 2"):
        STROKES.pack({**given, "pen": given["pen"] + 1})
    with pytest.raises(ValueError, match=r"x must have shape \(\.\.\., 3\)"):
        STROKES.unpack(np.zeros((4, 2)))
    with pytest.raises(ValueError, match="move: numbers from -1000000 to 1000000, got 1"):
        STROKES.check_values("x", np.float32([[[0.0, 0.0, np.nan]]]))
