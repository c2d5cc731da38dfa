import time

import numpy as np
import pytest
import tensorflow as tf

from tests.export.helpers import LENGTH, draw
from tests.small import binary


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("sample", draw(np.arange(2001))),
        ("score", {"sequences": binary(2001, LENGTH, 1)}),
        ("trace", {"sequences": np.full((2001, LENGTH, 1), np.nan, "f")}),
        ("complete", {"prefix": binary(2001, 1, 1), **draw(np.arange(2001))}),
    ],
)
def test_too_many_rows_are_refused_at_once(ask, name, inputs):
    begin = time.process_time()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"at most 2000 rows, got.*2001"):
        ask(name, **inputs)
    assert time.process_time() - begin < 1.0


@pytest.mark.parametrize(
    ("name", "inputs", "words"),
    [
        ("score", {"sequences": np.full((2, 6, 1), 0.5, "f")}, "sequences must hold only 0 and 1"),
        ("score", {"sequences": np.full((1, 6, 1), np.nan, "f")}, "must hold only 0 and 1.*nan"),
        ("score", {"sequences": binary(2, 5, 1)}, r"\[2,5,1\] is not .* expected shape \[\?,6,1\]"),
        ("score", {"sequences": binary(2, 7, 1)}, "not compatible with expected shape"),
        ("score", {"sequences": binary(2, 6, 2)}, "not compatible with expected shape"),
        ("trace", {"sequences": binary(2, 6)}, "not compatible with expected shape"),
        ("trace", {"sequences": np.full((2, 6, 1), 2.0, "f")}, "must hold only 0 and 1"),
        ("sample", draw([1], 0.0), "temperature must be finite and above 0"),
        ("sample", draw([1, 2], -1.0), "temperature must be finite and above 0"),
        ("sample", draw([1], np.nan), "temperature must be finite and above 0"),
        ("sample", draw([1], np.inf), "temperature must be finite and above 0"),
        ("sample", {**draw([1, 2]), "temperature": np.ones(3, "f")}, "one entry a row.*2.*3"),
        ("sample", draw([[1], [2]]), "not compatible with expected shape"),
        ("complete", {"prefix": binary(1, 7, 1), **draw([1])}, "prefix must have at most 6 steps"),
        ("complete", {"prefix": binary(2, 3, 1), **draw([1])}, "prefix and seed must have one"),
        ("complete", {"prefix": binary(1, 3, 1) + 2, **draw([1])}, "prefix must hold only 0 and 1"),
        ("complete", {"prefix": binary(1, 3, 1), **draw([1], 0.0)}, "temperature must be finite"),
    ],
)
def test_refuses_bad_requests(ask, name, inputs, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        ask(name, **inputs)
