"""Pictures of the memory over time: what they show and refuse."""

import numpy as np
import pytest

from mf_keras import plots
from tests.backends import tf

RNG = np.random.default_rng(0)
T, N, W, R, H = 25, 20, 16, 4, 1


@pytest.fixture(scope="module")
def trace():
    """Memory (T, N, W), write weights (T, H, N) and read weights (T, R, N) of one sequence."""
    return (
        RNG.normal(size=(T, N, W)),
        RNG.dirichlet(np.ones(N), (T, H)),
        RNG.dirichlet(np.ones(N), (T, R)),
    )


def shown(axes):
    return np.asarray(axes.get_images()[0].get_array())


# Files.


def test_memory_heatmaps_show_the_named_steps(trace):
    memory = trace[0]
    figure = plots.memory_heatmaps(memory, every=10)
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == ["t = 10", "t = 20"]
    np.testing.assert_array_equal(shown(panels[0]), memory[9])
    np.testing.assert_array_equal(shown(panels[1]), memory[19])
    assert bar.get_ylabel() == "memory"


def test_memory_heatmaps_share_a_scale_around_zero(trace):
    memory = trace[0]
    for limit, expected in ((None, np.abs(memory[[9, 19]]).max()), (7, 7.0)):
        *panels, _ = plots.memory_heatmaps(memory, every=10, limit=limit).axes
        assert {axes.get_images()[0].get_clim() for axes in panels} == {(-expected, expected)}


@pytest.mark.parametrize(
    ("steps", "first", "count"),
    [(1, 1, 1), (5, 1, 5), (25, 3, 8), (64, 8, 8), (399, 49, 8), (400, 50, 8), (784, 50, 15)],
)
def test_memory_heatmaps_choose_steps(steps, first, count):
    *panels, _ = plots.memory_heatmaps(np.zeros((steps, 2, 2))).axes
    assert panels[0].get_title() == f"t = {first}"
    assert len(panels) == count


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"memory": np.zeros((5, 4))}, ValueError, "memory must have shape"),
        ({"memory": np.zeros((0, 4, 4))}, ValueError, "memory must have shape"),
        ({"memory": np.full((5, 4, 4), np.inf)}, ValueError, "memory must be finite"),
        ({"memory": None}, ValueError, "memory must"),
        ({"memory": "memory"}, TypeError, "memory must be an array"),
        ({"every": 0}, ValueError, "every must be"),
        ({"every": 1.0}, TypeError, "every must be"),
        ({"every": 6}, ValueError, "every must give 1 to 100 pictures"),
        ({"memory": np.zeros((101, 4, 4)), "every": 1}, ValueError, "every must give"),
        ({"limit": 0}, ValueError, "limit must be positive"),
        ({"limit": np.nan}, ValueError, "limit must be"),
        ({"limit": "1"}, TypeError, "limit must be"),
    ],
)
def test_memory_heatmaps_refuse(arguments, error, message):
    with pytest.raises(error, match=message):
        plots.memory_heatmaps(**{"memory": np.zeros((5, 4, 4)), **arguments})


def test_weights_over_time(trace):
    weights = trace[2]
    figure = plots.weights_over_time(weights, title="Read weights")
    *panels, bar = figure.axes
    assert len(panels) == R
    for head, axes in enumerate(panels):
        np.testing.assert_array_equal(shown(axes), weights[:, head].T)
        assert axes.get_images()[0].get_clim() == (0.0, 1.0)
        assert axes.get_title(loc="left") == f"head {head + 1}"
    assert (panels[-1].get_xlabel(), bar.get_ylabel()) == ("time step t", "weight")
    assert figure.get_suptitle() == "Read weights"


def test_steps_and_slots_count_from_one(trace):
    axes = plots.weights_over_time(trace[1]).axes[0]
    assert axes.get_xlim() == (0.5, T + 0.5)
    assert axes.get_ylim() == (N + 0.5, 0.5)  # slot 1 on top


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros((5, 4)), "weights must have shape"),
        (np.full((5, 1, 4), np.nan), "weights must be finite"),
    ],
)
def test_weights_over_time_refuses(weights, message):
    with pytest.raises(ValueError, match=message):
        plots.weights_over_time(weights)


def test_weights_rounded_to_half_precision_have_the_same_colours():
    figure = plots.weights_over_time(tf.constant(np.full((3, 1, 2), 1.004), "bfloat16"))
    assert figure.axes[0].get_images()[0].get_clim() == (0.0, 1.0)


def test_signed_weights_share_a_scale_around_zero(trace):
    memory, write_weights, read_weights = trace
    signed = read_weights - 0.5
    limit = max(np.abs(signed).max(), write_weights.max())
    _, *panels, _, _ = plots.memory_over_time(memory, write_weights, signed).axes
    images = [axes.get_images()[0] for axes in panels]
    assert {image.get_clim() for image in images} == {(-limit, limit)}
    assert {image.get_cmap().name for image in images} == {"RdBu_r"}


def test_memory_over_time(trace):
    memory, write_weights, read_weights = trace
    figure = plots.memory_over_time(memory, write_weights, read_weights)
    top, *panels, memory_bar, weight_bar = figure.axes
    np.testing.assert_array_equal(shown(top), memory.reshape(T, N * W).T)
    limit = np.abs(memory).max()
    assert top.get_images()[0].get_clim() == (-limit, limit)
    titles = ["write head 1", *(f"read head {r + 1}" for r in range(R))]
    assert [axes.get_title(loc="left") for axes in panels] == titles
    np.testing.assert_array_equal(shown(panels[0]), write_weights[:, 0].T)
    np.testing.assert_array_equal(shown(panels[-1]), read_weights[:, -1].T)
    assert (memory_bar.get_ylabel(), weight_bar.get_ylabel()) == ("memory", "weight")


def test_memory_over_time_shares_its_time_axis(trace, tmp_path):
    figure = plots.memory_over_time(*trace)
    plots.save(figure, tmp_path / "a.png", dpi=50)
    panels = figure.axes[: 1 + H + R]
    assert {axes.get_xlim() for axes in panels} == {(0.5, T + 0.5)}
    sides = np.array([(axes.bbox.x0, axes.bbox.x1) for axes in panels])
    np.testing.assert_allclose(sides, sides[:1].repeat(len(sides), axis=0), atol=1)
    assert panels[0].get_ylim() == (N + 0.5, 0.5)  # slots, not cells


def test_memory_over_time_limit(trace):
    top = plots.memory_over_time(*trace, limit=9).axes[0]
    assert top.get_images()[0].get_clim() == (-9.0, 9.0)


def test_an_empty_memory_has_a_scale(trace):
    top = plots.memory_over_time(np.zeros((T, N, W)), *trace[1:]).axes[0]
    assert top.get_images()[0].get_clim() == (-1.0, 1.0)


def test_memory_over_time_refuses(trace):
    memory, write_weights, read_weights = trace
    with pytest.raises(ValueError, match="memory must have shape"):
        plots.memory_over_time(memory[0], write_weights, read_weights)
    with pytest.raises(ValueError, match="write_weights must have shape"):
        plots.memory_over_time(memory, write_weights[1:], read_weights)
    with pytest.raises(ValueError, match="read_weights must have shape"):
        plots.memory_over_time(memory, write_weights, read_weights[..., 1:])
    with pytest.raises(ValueError, match="read_weights must be finite"):
        plots.memory_over_time(memory, write_weights, read_weights * np.inf)
    with pytest.raises(ValueError, match="limit must be"):
        plots.memory_over_time(memory, write_weights, read_weights, limit=-1)


# Curves.


def test_memory_comparison_has_a_row_for_each_memory_in_the_same_colours():
    random = np.random.default_rng(0)
    memories = {"a": random.normal(size=(16, 5, 4)), "b": 3.0 * random.normal(size=(16, 5, 4))}
    figure = plots.memory_comparison(memories, every=4)
    panels, bar = figure.axes[:-1], figure.axes[-1]
    assert len(panels) == 2 * 4
    limits = {panel.images[0].get_clim() for panel in panels}
    shown = max(np.abs(m[3::4]).max() for m in memories.values())
    assert limits == {(-shown, shown)}
    np.testing.assert_array_equal(panels[5].images[0].get_array(), memories["b"][7])
    assert bar.get_ylabel() == "memory"


def test_an_empty_memory_does_not_set_the_colours_of_another():
    figure = plots.memory_comparison({"a": np.zeros((4, 3, 2)), "b": np.full((4, 3, 2), 0.25)})
    assert {panel.images[0].get_clim() for panel in figure.axes[:-1]} == {(-0.25, 0.25)}


@pytest.mark.parametrize(
    ("memories", "every", "error", "words"),
    [
        ([np.zeros((4, 3, 2))], None, TypeError, "memories must map"),
        ({}, None, ValueError, "memories must hold"),
        ({"a": np.zeros((4, 3))}, None, ValueError, "memories"),
        ({"a": np.zeros((0, 3, 2))}, None, ValueError, "memories"),
        ({"a": np.zeros((4, 3, 0))}, None, ValueError, "memories"),
        ({"a": np.zeros((4, 3, 2)), "b": np.zeros((4, 3, 3))}, None, ValueError, "memories"),
        ({"a": np.full((4, 3, 2), np.nan)}, None, ValueError, "finite"),
        ({"a": np.zeros((4, 3, 2))}, 5, ValueError, "every"),
        ({"a": np.zeros((40, 3, 2))}, 1, ValueError, "every"),
    ],
)
def test_memory_comparison_refuses_bad_input(memories, every, error, words):
    with pytest.raises(error, match=words):
        plots.memory_comparison(memories, every=every)
