"""Curves of a training: what they show and refuse."""

import numpy as np
import pytest

from mf_keras import plots


def test_curves():
    x = np.arange(5)
    series = {"one": (x, x * 2.0), "three": (x[:3], x[:3] + 1, x[:3], x[:3] + 2)}
    figure = plots.curves(series, "training step", "NLL (nats)", title="Copy task")
    (axes,) = figure.axes
    one, three = axes.get_lines()
    np.testing.assert_array_equal(one.get_xydata(), np.stack([x, x * 2], axis=1))
    np.testing.assert_array_equal(three.get_ydata(), [1, 2, 3])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0, 4)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("training step", "NLL (nats)")
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["one", "three"]


def test_curves_look_different_from_each_other():
    series = {str(i): ([0, 1], [i, i]) for i in range(14)}
    lines = plots.curves(series, "x", "y").axes[0].get_lines()
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 14


@pytest.mark.parametrize(("x", "whole"), [([1, 2, 3, 4], True), ([1.5, 2.5, 4.0, 4.5], False)])
def test_what_can_be_counted_has_whole_ticks(x, whole):
    ticks = plots.curves({"a": (x, x)}, "x", "y").axes[0].get_xticks()
    assert (ticks == ticks.round()).all() == whole


def test_a_curve_of_one_point_can_be_seen():
    (line,) = plots.curves({"a": ([3], [4])}, "x", "y").axes[0].get_lines()
    assert line.get_marker() == "o"


@pytest.mark.parametrize(
    ("series", "error", "message"),
    [
        ([1, 2], TypeError, "series must map labels"),
        ({}, ValueError, "at least one curve"),
        ({"a": ([0, 1],)}, ValueError, r"series\['a'\] must be \(x, y\)"),
        ({"a": ([0, 1], [0, 1], [0, 1])}, ValueError, r"series\['a'\] must be \(x, y\)"),
        ({"a": ([0, 1], [0, 1, 2])}, ValueError, r"series\['a'\] must have shape \(2\)"),
        ({"a": ([], [])}, ValueError, r"series\['a'\] must have shape"),
        ({"a": ([0, 1], [0, np.nan])}, ValueError, r"series\['a'\] must be finite"),
        ({"a": ([0], [0], [1], [-1])}, ValueError, "low <= high"),
        ({"a": (["x"], [0])}, TypeError, r"series\['a'\] must be an array of numbers"),
    ],
)
def test_curves_refuse(series, error, message):
    with pytest.raises(error, match=message):
        plots.curves(series, "x", "y")


def test_training_curves_are_those_whose_logs_there_are():
    epochs = [1, 2, 3]
    logs = {"nll": (epochs, [3, 2, 1]), "loss": (epochs, [4, 3, 2])}
    figures = plots.training_curves(logs)
    assert set(figures) == {"nll"}
    assert figures["nll"].axes[0].get_ylabel() == "NLL (nats per sequence)"
    logs["val_nll"] = (epochs, [4, 3, 2])
    logs["hidden_discriminator_accuracy"] = (epochs, [0.5, 0.6, 0.7])
    figures = plots.training_curves(logs)
    assert set(figures) == {"nll", "discriminators"}
    assert [line.get_label() for line in figures["nll"].axes[0].lines] == ["training", "validation"]
    logs["val_memory_discriminator_auc"] = (epochs, [0.5, 0.6, 0.7])
    logs["memory_discriminator_gate_open"] = (epochs, [0, 0, 1])
    axes = plots.training_curves(logs)["discriminators"].axes[0]
    labels = ["hidden: accuracy", "memory: AUC, held out", "memory: gate open"]
    assert [line.get_label() for line in axes.lines] == labels
