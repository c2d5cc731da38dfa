import pathlib

import keras
import numpy as np
import pytest

from tests.backends import ON_JAX
from tests.forcing.reference_steps import CASES, STEPS, run, tensorflows_noise

NUMBERS = np.load(pathlib.Path(__file__).with_name("reference_steps.npz"))


# All steps, and the weights after them. Of the others two steps tell: the logs of the second one
# follow from the update of the first.
WHOLE = {"memory", "memory_reverse", "memory_warm_up", "memory_accumulated", "positive_negative"}


# JAX compiles every case, those that run eagerly on TensorFlow too. These have all the branches.
ON_BOTH = {
    *("teacher_transducer", "professor_reverse", "memory_gate", "memory_warm_up"),
    *("memory_accumulated", "chunked", "sparse", "positive_negative", "positive_negative_gate"),
}
QUICK = ON_BOTH - {"memory_accumulated", "chunked", "sparse"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=() if case in QUICK else pytest.mark.long)
        for case in CASES
        if case in ON_BOTH or not ON_JAX
    ],
)
def test_steps_are_those_of_the_first_edition(case, monkeypatch):
    if ON_JAX:
        monkeypatch.setattr(keras.random, "uniform", tensorflows_noise)
    steps = STEPS if case in WHOLE else 2
    found = run(case, steps)
    expected = {k.split("/")[1]: NUMBERS[k] for k in NUMBERS.files if k.split("/")[0] == case}
    # The log of open gates had another name then.
    expected = {name.replace("_heard", "_gate_open"): x for name, x in expected.items()}
    assert set(found) - {"nll_per_step"} == set(expected)  # a log that is newer
    tolerance = 1e-5 if ON_JAX else 1e-6
    for name, values in expected.items():
        if name != "weights":
            values = values[:steps]
        elif steps < STEPS:
            continue
        np.testing.assert_allclose(
            found[name], values, rtol=tolerance, atol=tolerance, err_msg=name
        )
