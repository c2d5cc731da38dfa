"""Pictures: what they show, what they refuse, and that a file is never half written."""

import os

import matplotlib
import numpy as np
import pytest
from matplotlib import image as mpl_image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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


def test_a_notebook_shows_a_figure_as_it_is():
    assert plots.memory_heatmaps(np.zeros((4, 3, 2)))._repr_png_().startswith(b"\x89PNG")


def every_figure():
    """One figure of each kind, titles included."""
    memory = RNG.normal(size=(T, N, W))
    weights = RNG.dirichlet(np.ones(N), (T, R))
    return {
        "sample_grid": plots.sample_grid(RNG.integers(0, 2, (7, 64, 1)), (8, 8), title="Samples"),
        "long title": plots.sample_grid(np.ones((1, 64)), (8, 8), title="A title over one image"),
        "memory_heatmaps": plots.memory_heatmaps(memory, title="Memory"),
        "weights_over_time": plots.weights_over_time(weights, title="Read weights"),
        "memory_over_time": plots.memory_over_time(memory, weights[:, :1], weights, title="All"),
        "curves": plots.curves({"a": ([0, 1], [1.0, 2.0])}, "step", "NLL (nats)", title="Curve"),
    }


def shown(axes):
    return np.asarray(axes.get_images()[0].get_array())


def texts(figure):
    """Every visible, non-empty text."""
    found = figure.findobj(matplotlib.text.Text)
    return [text for text in found if text.get_visible() and text.get_text().strip()]


# Files.


def test_files_are_readable_and_show_something(tmp_path):
    for name, figure in every_figure().items():
        path = plots.save(figure, tmp_path / "new" / "folder" / f"{name}.png", dpi=80)
        pixels = mpl_image.imread(path)[..., :3]
        size = np.round(figure.get_size_inches() * 80)
        assert np.abs(pixels.shape[1::-1] - size).max() <= 1
        assert 0.02 < pixels.std() < 0.5
        assert pixels.max() == 1.0  # light ground
        assert pixels.min() < 0.3  # dark ink
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 6


def test_no_text_is_clipped_or_overlaps():
    for name, figure in every_figure().items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = []
        for text in texts(figure):
            if not _drawn(text, figure):
                continue
            box = text.get_window_extent(canvas.get_renderer())
            assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, (name, text)
            assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, (name, text)
            boxes.append((text.get_text(), box))
        for i, (_, one) in enumerate(boxes):
            for _, other in boxes[:i]:
                assert not _overlap(one, other), (name, boxes[i])


def _drawn(text, figure):
    """Tick labels outside the axis' view keep their text, but are not drawn."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            for tick in axis.get_major_ticks():
                if text in (tick.label1, tick.label2):
                    low, high = sorted(axis.get_view_interval())
                    return low <= tick.get_loc() <= high
    return True


def _overlap(one, other):
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    return width > 1 and height > 1


def test_dpi_sets_the_size(tmp_path):
    figure = plots.curves({"a": ([0, 1], [0, 1])}, "x", "y")
    shapes = [
        mpl_image.imread(plots.save(figure, tmp_path / "a.png", dpi=dpi)).shape for dpi in (50, 100)
    ]
    np.testing.assert_allclose(np.array(shapes[1][:2]) / shapes[0][:2], 2, atol=0.02)


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    figure = plots.curves({"a": ([0, 1], [0, 1])}, "x", "y")
    plots.save(figure, path)
    old = path.read_bytes()

    def half(self, target, **kwargs):
        with open(target, "wb") as file:
            file.write(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr(Figure, "savefig", half)
    with pytest.raises(OSError, match="disk full"):
        plots.save(figure, path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_appears_whole(tmp_path, monkeypatch):
    """Nothing is at `path` until the picture is complete."""
    path = tmp_path / "a.png"
    seen = []
    replace = os.replace

    def spy(source, target):
        seen.append((os.path.exists(target), mpl_image.imread(source, format="png").ndim))
        replace(source, target)

    monkeypatch.setattr(os, "replace", spy)
    plots.save(plots.curves({"a": ([0, 1], [0, 1])}, "x", "y"), path)
    assert seen == [(False, 3)]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a.pdf", "a", "a.png.txt"])
def test_only_png(tmp_path, name):
    with pytest.raises(ValueError, match=r"path must end in \.png"):
        plots.save(plots.curves({"a": ([0], [0])}, "x", "y"), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_save_refuses_the_wrong_things(tmp_path):
    figure = plots.curves({"a": ([0], [0])}, "x", "y")
    with pytest.raises(TypeError, match="figure must be"):
        plots.save("figure", tmp_path / "a.png")
    for dpi, error in ((0, ValueError), (1.5, TypeError), (True, TypeError)):
        with pytest.raises(error, match="dpi must be"):
            plots.save(figure, tmp_path / "a.png", dpi=dpi)


def test_nothing_global_is_touched():
    before = dict(matplotlib.rcParams)
    every_figure()
    assert dict(matplotlib.rcParams) == before
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


# Samples.


def test_sample_grid_puts_each_image_in_its_place():
    x = RNG.random((5, 6))
    figure = plots.sample_grid(x, (2, 3), columns=3)
    assert len(figure.axes) == 1
    canvas = shown(figure.axes[0])
    assert canvas.shape == (4, 9)
    for index, pixels in enumerate(x):
        row, column = divmod(index, 3)
        tile = canvas[2 * row : 2 * row + 2, 3 * column : 3 * column + 3]
        np.testing.assert_array_equal(tile, pixels.reshape(2, 3))
    np.testing.assert_array_equal(canvas[2:, 6:], 0)  # the empty place is blank


def test_sample_grid_is_dark_ink_on_light_ground(tmp_path):
    x = np.zeros((2, 64))
    x[1] = 1
    path = plots.save(plots.sample_grid(x, (8, 8), columns=2), tmp_path / "a.png", dpi=100)
    pixels = mpl_image.imread(path)[..., :3].mean(axis=2)
    middle = len(pixels) // 2
    quarter = pixels.shape[1] // 4
    assert pixels[middle, quarter] == 1.0
    assert pixels[middle, 3 * quarter] == 0.0


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (2, 2), (9, 3), (10, 4), (64, 8)])
def test_sample_grid_is_about_square(n, columns):
    canvas = shown(plots.sample_grid(np.zeros((n, 64, 1)), (8, 8)).axes[0])
    assert canvas.shape == (8 * -(-n // columns), 8 * columns)


def test_sample_grid_takes_tensors_and_both_ranks():
    x = RNG.integers(0, 2, (4, 64, 1)).astype("float32")
    canvases = [
        shown(plots.sample_grid(value, (8, 8)).axes[0])
        for value in (x, x[..., 0], tf.constant(x), tf.cast(x, "bfloat16"), x.astype(bool))
    ]
    for canvas in canvases[1:]:
        np.testing.assert_array_equal(canvas, canvases[0])


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        (np.zeros((3, 63)), "sequences must have shape"),
        (np.zeros((3, 64, 2)), "sequences must have shape"),
        (np.zeros((64,)), "sequences must have shape"),
        (np.zeros((0, 64)), "sequences must have shape"),
        (np.full((1, 64), np.nan), "sequences must be finite"),
        (np.full((1, 64), 1.5), r"sequences must be in \[0.0, 1.0\]"),
        (np.full((1, 64), -0.1), r"sequences must be in \[0.0, 1.0\]"),
    ],
)
def test_sample_grid_refuses(sequences, message):
    with pytest.raises(ValueError, match=message):
        plots.sample_grid(sequences, (8, 8))


def test_sample_grid_refuses_other_arguments():
    x = np.zeros((4, 64))
    for shape, error in ((64, TypeError), ((8,), ValueError), ((8, 0), ValueError)):
        with pytest.raises(error, match="image_shape must be"):
            plots.sample_grid(x, shape)
    for columns, error in ((0, ValueError), (2.0, TypeError)):
        with pytest.raises(error, match="columns must be"):
            plots.sample_grid(x, (8, 8), columns=columns)
    with pytest.raises(TypeError, match="sequences must be an array of numbers"):
        plots.sample_grid([["a"]], (1, 1))


# Memory and weights.


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
        (np.full((5, 1, 4), 1.2), r"weights must be in \[0.0, 1.0\]"),
        (np.full((5, 1, 4), -0.2), r"weights must be in \[0.0, 1.0\]"),
    ],
)
def test_weights_over_time_refuses(weights, message):
    with pytest.raises(ValueError, match=message):
        plots.weights_over_time(weights)


def test_weights_rounded_to_half_precision_are_welcome():
    plots.weights_over_time(tf.constant(np.full((3, 1, 2), 1.004), "bfloat16"))


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
    with pytest.raises(ValueError, match="read_weights must be in"):
        plots.memory_over_time(memory, write_weights, read_weights * 2 + 1)
    with pytest.raises(ValueError, match="limit must be"):
        plots.memory_over_time(memory, write_weights, read_weights, limit=-1)


# Curves.


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
