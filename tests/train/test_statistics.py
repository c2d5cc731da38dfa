import numpy as np
import pytest
from scipy import stats

from train.statistics import paired_interval


def test_agrees_with_the_paired_t_test():
    random = np.random.default_rng(0)
    first = random.normal(size=9)
    second = first + random.normal(0.5, 0.3, size=9)
    mean, low, high = paired_interval(first, second)
    expected = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert mean == pytest.approx(np.mean(second - first))
    assert (low, high) == pytest.approx((expected.low, expected.high))
    # The interval that just touches zero is the one at 1 - p.
    p = stats.ttest_rel(second, first).pvalue
    assert paired_interval(first, second, confidence=1 - p)[1] == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("first", "second"), [([1.0], [2.0]), ([1.0, 2.0], [1.0])])
def test_needs_two_pairs(first, second):
    with pytest.raises(ValueError, match="same length of at least 2"):
        paired_interval(first, second)
