"""Comparisons over paired seeds."""

import math

import numpy as np
from scipy import stats


def paired_interval(first, second, confidence=0.95):
    """Mean of `second` - `first` over pairs, and its interval by Student's t.

    Args:
        first: (n,) numbers of one arm, n >= 2.
        second: (n,) numbers of the other arm, in the same order of seeds.
        confidence: of the interval.

    Returns:
        `(mean, low, high)`.

    Raises:
        ValueError: the arms differ in length, or there are fewer than two pairs.
    """
    if len(first) != len(second) or len(first) < 2:
        raise ValueError(
            f"first and second must have the same length of at least 2, got {len(first)} and "
            f"{len(second)}."
        )
    differences = np.asarray(second, dtype="float64") - np.asarray(first, dtype="float64")
    error = differences.std(ddof=1) / math.sqrt(len(differences))
    reach = stats.t.ppf(0.5 + confidence / 2, df=len(differences) - 1) * error
    mean = differences.mean()
    return float(mean), float(mean - reach), float(mean + reach)
