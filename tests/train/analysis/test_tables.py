import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from train.analysis import tables
from train.runs.options import BASELINE


def column(**values):
    """Numbers by method, of the seeds 0, 1, ..."""
    keys = [(name, seed) for name, numbers in values.items() for seed in range(len(numbers))]
    index = pd.MultiIndex.from_tuples(keys, names=["method", "seed"])
    return pd.Series([x for numbers in values.values() for x in numbers], index)


def test_a_table_in_markdown():
    text = tables.markdown(["a", ""], [["1", "2"], ["", "4"]])
    assert text == "| a | |\n|---|---|\n| 1 | 2 |\n| | 4 |\n"


def test_numbers_that_are_not_known_are_dashes():
    assert [tables.number(x, 1) for x in (1.26, -0.5, np.nan)] == ["1.3", "-0.5", "-"]


def test_differences_are_those_of_the_pairs():
    """Of 0.4, 0.1 and 0.1: mean 0.2, sd 0.173, t(0.975, 2) = 4.303."""
    found = column(**{BASELINE: [20.0, 21.0, 19.0]}, other=[20.4, 21.1, 19.1])
    assert tables.difference(found, "other", 2) == "+0.20 (-0.23 to +0.63)"
    assert tables.difference(found, BASELINE, 2) == "-"
    assert tables.difference(found.replace(19.1, np.nan), "other", 2) == "-"
    assert tables.difference(found.loc[["other"]], "other", 2) == "-"  # nothing to compare with
    assert tables.difference(found[found.index.isin([0], level="seed")], "other", 2) == "-"


def test_curves_are_means_between_extremes():
    keys = [(name, seed, step) for name in (BASELINE, "new") for seed in (0, 1) for step in (1, 2)]
    index = pd.MultiIndex.from_tuples(keys, names=["method", "seed", "epoch"])
    values = pd.Series([1.0, 2.0, 3.0, 8.0, 5.0, 5.0, 5.0, 5.0], index)
    curves = tables.over_steps(values)
    assert list(curves) == ["teacher forcing", "new"]
    for found, expected in zip(
        curves["teacher forcing"], ([1, 2], [2, 5], [1, 2], [3, 8]), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_only_its_own_files_are_replaced(tmp_path):
    figure = Figure()
    tables.publish(tmp_path / "out", {"a.png": figure}, {"a.md": "| own\n"})
    assert (tmp_path / "out" / "a.md").read_text() == "| own\n"
    marks = {"a.md": b"| own", "a.png": b"\x89PNG", "not_there.csv": b"x"}
    tables.check_outputs(tmp_path / "out", {"a.md": b"| own", "not_there.csv": b"x"})
    (tmp_path / "out" / "a.md").write_text("mine")
    with pytest.raises(OSError, match=r"a\.md already exists and was not written by this program"):
        tables.check_outputs(tmp_path / "out", marks)
