import types

import keras
import pytest

from mf_keras.states import KeepsStates


@keras.saving.register_keras_serializable(package="tests")
class Counting(KeepsStates, keras.layers.Dense):
    """A layer that counts, in what is no weight."""

    def __init__(self, units, keeps=("count",), **kwargs):
        super().__init__(units, **kwargs)
        # Keras tracks the variables of dicts, which would be saved as weights.
        self.counts = types.SimpleNamespace(**{name: keras.Variable(0.0) for name in keeps})

    def states(self):
        return vars(self.counts)


def model_of(layer):
    return keras.Sequential([keras.Input((3,)), layer])


def test_a_file_keeps_states_beside_the_weights(tmp_path):
    layer = Counting(2)
    model = model_of(layer)
    layer.counts.count.assign(7.0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert float(loaded.layers[0].counts.count) == 7.0
    assert (keras.ops.convert_to_numpy(loaded.layers[0].kernel - layer.kernel) == 0.0).all()


def test_a_state_that_an_older_file_lacks_stays_as_it_is(tmp_path):
    old, new = Counting(2), Counting(2, keeps=("count", "others"))
    saved, loaded = model_of(old), model_of(new)
    old.counts.count.assign(7.0)
    new.counts.others.assign(5.0)
    saved.save_weights(tmp_path / "model.weights.h5")
    loaded.load_weights(tmp_path / "model.weights.h5")
    assert [float(x) for x in new.states().values()] == [7.0, 5.0]
    assert (keras.ops.convert_to_numpy(new.kernel - old.kernel) == 0.0).all()


def test_states_must_be_named():
    class Nameless(KeepsStates, keras.layers.Layer):
        """A layer that does not say what to keep."""

    with pytest.raises(NotImplementedError):
        Nameless().save_own_variables({})
