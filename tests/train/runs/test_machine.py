import keras

from train.runs import machine


def test_names_the_processor_and_the_versions():
    found = machine.describe()
    assert set(found) == {"processor", "tensorflow", "keras"}
    assert machine.processor() in found["processor"]
    assert found["keras"] == keras.__version__
