import pathlib

import numpy as np
import pytest

from tests.forcing.reference_steps import CASES, run

NUMBERS = np.load(pathlib.Path(__file__).with_name("reference_steps.npz"))


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_first_edition(case):
    found = run(case)
    expected = {k.split("/")[1]: NUMBERS[k] for k in NUMBERS.files if k.split("/")[0] == case}
    # The log of open gates had another name then.
    expected = {name.replace("_heard", "_gate_open"): x for name, x in expected.items()}
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
