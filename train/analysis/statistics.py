"""Comparisons: over paired seeds, and between two samples of vectors."""

import math

import numpy as np
from scipy import stats
from scipy.spatial.distance import cdist, pdist


def paired_interval(first, second, confidence=0.95):
    """Mean of `second` - `first` over pairs, and its interval by Student's t.

    Args:
        first: (n,) numbers of one variant, n >= 2.
        second: (n,) numbers of the other variant, in the same order of seeds.
        confidence: of the interval.

    Returns:
        `(mean, low, high)`.

    Raises:
        ValueError: the lengths differ, or there are fewer than two pairs.
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


def energy_distance(first, second):
    """How far two samples of vectors lie apart, as a share of what lies between them.

    (2 E|x - y| - E|x - x'| - E|y - y'|) / 2 E|x - y|, Euclidean, of Szekely and Rizzo (2013): 0 for
    one distribution, towards 1 where neither is wide beside what separates them, and the same
    whatever the unit. Pairs of a vector with itself are left out, so the numerator is unbiased: it
    may lie below 0.

    Args:
        first: (n, d), n >= 2.
        second: (m, d), m >= 2.

    Returns:
        A float; 0 where all vectors are equal, up to rounding in float32.

    Raises:
        ValueError: the shapes are others.
    """
    first, second = (np.asarray(x, dtype="float64") for x in (first, second))
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"first and second must be (n, d) and (m, d), got {first.shape} and {second.shape}."
        )
    if min(len(first), len(second)) < 2:
        raise ValueError(
            f"first and second must have at least 2 rows, got {len(first)} and {len(second)}."
        )
    between = 2.0 * cdist(first, second).mean()
    within = pdist(first).mean() + pdist(second).mean()
    # What some roundings of float32 explain is no distance.
    length = max(np.linalg.norm(x, axis=1).max() for x in (first, second))
    tiny = 10 * np.finfo("float32").eps * length
    return float((between - within) / between) if between > tiny else 0.0
