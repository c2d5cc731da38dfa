import pytest

from mf_keras import SequenceGenerator, SequenceTransducer
from mf_keras.outputs import Bernoulli, Categorical
from tests.small import binary, small_cell


def test_computes_in_the_dtype_of_the_cell():
    cell = small_cell(dtype="float64")
    assert SequenceGenerator(cell).dtype == SequenceGenerator(cell, dtype="float64").dtype
    assert SequenceGenerator(cell)(binary(2, 3, 1)).dtype == "float64"
    config = {**SequenceGenerator(cell).get_config(), "dtype": "float32"}  # as old files may have
    assert SequenceGenerator.from_config(config).dtype == "float64"


@pytest.mark.parametrize("model", [SequenceGenerator, SequenceTransducer])
def test_refuses_bad_chunks(model):
    with pytest.raises(ValueError, match="chunk"):
        model(small_cell(), chunk=0)
    with pytest.raises(ValueError, match="chunk"):
        model(small_cell(), chunk="half")
    with pytest.raises(TypeError, match="chunk"):
        model(small_cell(), chunk=2.5)


@pytest.mark.parametrize("kind", [SequenceGenerator, SequenceTransducer])
def test_a_config_brings_cell_output_and_chunk_back(kind):
    model = kind(small_cell(3), Categorical(3), chunk=2)
    again = kind.from_config(model.get_config())
    assert (again.output, again.chunk, again.units) == (Categorical(3), 2, 3)
    assert again.cell is not model.cell
    assert again.cell.get_config() == model.cell.get_config()
    assert kind(small_cell(3)).output == Bernoulli(3)


@pytest.mark.parametrize(
    ("cell", "output", "error", "words"),
    [
        ("cell", None, TypeError, "cell must be a memory cell"),
        (small_cell, "bits", TypeError, "output must be"),
        (small_cell, Categorical(3), ValueError, "output must have the size of the cell's units"),
    ],
)
def test_refuses_what_is_no_cell_or_does_not_fit_it(cell, output, error, words):
    with pytest.raises(error, match=words):
        SequenceTransducer(cell() if callable(cell) else cell, output)
