import numpy as np
import pytest
from scipy import stats

from train.analysis.statistics import energy_distance, paired_interval


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


def test_energy_distance_is_that_of_the_definition():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(5, 3)), random.normal(1.0, 2.0, size=(4, 3))

    def mean(a, b, own):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (own and i == j)]
        return np.mean([np.sqrt(((a[i] - b[j]) ** 2).sum()) for i, j in pairs])

    between = 2 * mean(x, y, own=False)
    expected = (between - mean(x, x, own=True) - mean(y, y, own=True)) / between
    assert energy_distance(x, y) == pytest.approx(expected)
    assert energy_distance(1e-3 * x, 1e-3 * y) == pytest.approx(expected)


def test_energy_distance_tells_distributions_apart():
    random = np.random.default_rng(0)
    x, same, moved = (random.normal(m, size=(400, 5)) for m in (0.0, 0.0, 1.0))
    assert abs(energy_distance(x, same)) < 0.01
    assert energy_distance(x, moved) > 0.1
    assert energy_distance(np.zeros((3, 2)), np.zeros((3, 2))) == 0.0
    assert energy_distance(np.zeros((3, 2)), np.ones((3, 2))) == 1.0
    assert energy_distance(np.full((3, 2), 0.3), np.full((3, 2), 0.3 + 1e-8)) == 0.0


@pytest.mark.parametrize(("first", "second"), [((3, 2), (3, 4)), ((1, 2), (3, 2)), ((3,), (3,))])
def test_energy_distance_needs_two_samples_of_vectors(first, second):
    with pytest.raises(ValueError, match="first and second must"):
        energy_distance(np.zeros(first), np.zeros(second))
