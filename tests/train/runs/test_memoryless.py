import keras
import numpy as np

from mf_keras import SequenceTransducer, TeacherForcing
from train.runs.memoryless import MemorylessCell, memoryless


def test_the_baseline_is_its_controller_and_a_linear_map():
    cell = MemorylessCell(keras.layers.LSTMCell(3), 2, 1, 1, 1)
    model = SequenceTransducer(cell)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    logits = model(x)
    layer = keras.layers.LSTM(3, return_sequences=True)
    layer.build((None, None, 4))
    layer.set_weights([np.array(w) for w in cell.controller.get_weights()])
    hidden = layer(np.concatenate([x, np.zeros((2, 4, 1))], -1).astype("float32"))
    features = np.concatenate([hidden, np.zeros((2, 4, 1))], -1)
    np.testing.assert_allclose(logits, cell.readout(features), rtol=1e-5, atol=1e-6)
    assert isinstance(TeacherForcing(model), TeacherForcing)


def test_sizes_of_a_memory_make_no_difference_and_it_stays_empty():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
    found = []
    for sizes in ({}, {"memory_size": 9, "word_size": 7, "num_reads": 2}):
        keras.utils.set_random_seed(0)
        logits, trace = SequenceTransducer(memoryless(keras.layers.GRUCell(3), 2, **sizes)).trace(x)
        assert not np.any(trace.memory)
        found.append(logits)
    np.testing.assert_array_equal(*found)
    assert np.any(found[0])
