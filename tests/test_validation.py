import math

import keras
import numpy as np
import pytest

from mf_keras import validation


@pytest.mark.parametrize("value", [1, np.int64(7)])
def test_positive_int_passes_integers(value):
    assert validation.positive_int("n", value) == value
    assert type(validation.positive_int("n", value)) is int


@pytest.mark.parametrize("value", [1.0, True, np.bool_(True), "1", None, [1]])
def test_positive_int_refuses_other_types(value):
    with pytest.raises(TypeError, match="n must be an integer >= 1, got"):
        validation.positive_int("n", value)


@pytest.mark.parametrize(("value", "minimum"), [(0, 1), (-3, 1), (-1, 0), (4, 5)])
def test_positive_int_refuses_small_values(value, minimum):
    with pytest.raises(ValueError, match=f"n must be an integer >= {minimum}, got {value}"):
        validation.positive_int("n", value, minimum=minimum)


def test_seed_is_32_bits():
    assert validation.seed("seed", 2**32 - 1) == 2**32 - 1
    for value in (-1, 2**32):
        with pytest.raises(ValueError, match="seed must be"):
            validation.seed("seed", value)


def test_real_number():
    assert validation.real_number("x", 1) == 1.0
    assert validation.real_number("x", np.float32(0.5), 0.0, 1.0) == 0.5
    for value in (math.nan, math.inf, -0.1, 1.1):
        with pytest.raises(ValueError, match="x must be a finite number in"):
            validation.real_number("x", value, 0.0, 1.0)
    for value in ("1", None, True, [1.0]):
        with pytest.raises(TypeError, match="x must be a real number"):
            validation.real_number("x", value)


def test_one_of_names_the_choices():
    assert validation.one_of("split", "test", ("train", "test")) == "test"
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', got 'dev'"):
        validation.one_of("split", "dev", ("train", "test"))


def test_shape_of():
    validation.shape_of("x", np.zeros((2, 3)), ("B", 3))
    for shape in [(2, 4), (0, 3), (2,), (2, 3, 1)]:
        with pytest.raises(ValueError, match=r"x must have shape \(B, 3\), got"):
            validation.shape_of("x", np.zeros(shape), ("B", 3))
    with pytest.raises(TypeError, match="x must be a tensor of shape"):
        validation.shape_of("x", [1, 2], ("B",))


def test_shapes_hold_a_letter_to_one_size():
    @validation.shapes(x="BNN", y="BN")
    def function(x, y):
        return x.shape, y.shape

    assert function(np.zeros((1, 2, 2)), np.zeros((1, 2))) == ((1, 2, 2), (1, 2))
    for x, y, name in (
        ((1, 2, 3), (1, 3), "x"),
        ((1, 3, 1), (1, 3), "x"),
        ((1, 2, 2), (1, 3), "y"),
    ):
        with pytest.raises(ValueError, match=f"{name} must have shape"):
            function(np.zeros(x), np.zeros(y))


def test_shapes_keep_a_size_that_another_argument_does_not_know():
    @validation.shapes(a="BN", b="BN", c="BN")
    def function(a, b, c):
        return c

    known, unknown, other = (keras.Input((5,), batch_size=size) for size in (4, None, 1))
    with pytest.raises(ValueError, match=r"c must have shape \(4, 5\)"):
        function(known, unknown, other)
    assert function(known, unknown, known) is known
