import keras
import pytest

from mf_keras.cells import check_dtype
from tests.small import small_cell


@pytest.mark.parametrize("policy", ["float32", "float64", "mixed_bfloat16"])
def test_the_dtype_is_the_cell_s_however_it_is_named(policy):
    cell = small_cell(dtype=policy)
    for named in (None, policy, keras.DTypePolicy(policy)):
        assert check_dtype(named, cell) is cell.dtype_policy


@pytest.mark.parametrize("other", ["float64", "mixed_bfloat16", keras.DTypePolicy("float16")])
def test_another_dtype_is_refused_whatever_the_global_one_is(other):
    cell = small_cell(dtype="float32")
    keras.config.set_dtype_policy("float64")
    with pytest.raises(ValueError, match="dtype must be the cell's, float32, or None"):
        check_dtype(other, cell)
