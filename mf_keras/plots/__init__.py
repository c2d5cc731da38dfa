"""Pictures of samples, of learning curves and of what the memory does.

The functions return a `matplotlib.figure.Figure`, or a dict of them, without a window or global
state. `save` writes one as a PNG; the bytes `MARK` are in the files that it wrote. Time steps and
slots are counted from 1, as in the papers: the memory at t = 50 is the one after 50 steps,
`memory[49]`.
"""

from mf_keras.plots.figure import MARK, save
from mf_keras.plots.learning import curves, training_curves
from mf_keras.plots.memory import (
    memory_comparison,
    memory_heatmaps,
    memory_over_time,
    weights_over_time,
)
from mf_keras.plots.samples import check_image_shape, sample_grid

__all__ = [
    "MARK",
    "check_image_shape",
    "curves",
    "memory_comparison",
    "memory_heatmaps",
    "memory_over_time",
    "sample_grid",
    "save",
    "training_curves",
    "weights_over_time",
]
