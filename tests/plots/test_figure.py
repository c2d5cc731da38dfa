"""Pictures: what they show, what they refuse, and that a file is never half written."""

import os

import matplotlib
import numpy as np
import pytest
from matplotlib import image as mpl_image
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mf_keras import plots

RNG = np.random.default_rng(0)
T, N, W, R, H = 25, 20, 16, 4, 1


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
