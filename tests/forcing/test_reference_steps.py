import pathlib

import numpy as np
import pytest

from tests.forcing.reference_steps import CASES, STEPS, run

NUMBERS = np.load(pathlib.Path(__file__).with_name("reference_steps.npz"))


# All steps, and the weights after them. Of the others two steps tell: the logs of the second one
# follow from the update of the first.
WHOLE = {"memory", "memory_reverse", "memory_warm_up", "memory_accumulated", "positive_negative"}


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_the_first_edition(case):
    steps = STEPS if case in WHOLE else 2
    found = run(case, steps)
    expected = {k.split("/")[1]: NUMBERS[k] for k in NUMBERS.files if k.split("/")[0] == case}
    # The log of open gates had another name then.
    expected = {name.replace("_heard", "_gate_open"): x for name, x in expected.items()}
    assert set(found) - {"nll_per_step"} == set(expected)  # a log that is newer
    for name, values in expected.items():
        if name != "weights":
            values = values[:steps]
        elif steps < STEPS:
            continue
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
