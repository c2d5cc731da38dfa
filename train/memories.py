"""Draw what the memories of several copy tasks did with the same sequence.

python -m train.memories runs/copy-ntm runs/copy-dnc runs/copy-mann --out memories.png

Each RUN is a finished run of train.copy_task with the same length and width. A row a run: the
sequence that is copied, then the weights of the first write and read head over time, and the memory
after the last row was read in.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mf_keras import checkpoints, data, plots, unroll
from train import copy_task
from train.runs.folder import RunFolder
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional

SEED = 2**50  # a stream that no seed of a run draws


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.memories"

    runs: Sequence[str] = positional("folders of train.copy_task", nargs="+", metavar="RUN")
    out: str = option("runs/memories.png", "the picture, a PNG")


@dataclasses.dataclass
class Memory:
    """What one cell did with the sequence."""

    name: str
    write: np.ndarray  # (T, N), weights of the first write head
    read: np.ndarray  # (T, N)
    memory: np.ndarray  # (N, W), after the sequence was read in
    wrong: int  # bits of its copy


def example(options: copy_task.Options) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs (T, width + 1), targets and weights of the sequence that is drawn."""
    stream = data.copy_task(options.length, options.width, seed=SEED).take(1)
    return next(stream.as_numpy_iterator())


def look(path: str) -> tuple[Memory, copy_task.Options]:
    """What the first seed of a run does with the sequence.

    Raises:
        FileNotFoundError, ValueError: `path` is no finished run of the copy task, or its cell has
            no heads.
    """
    folder, options = RunFolder.open(path, copy_task.Options)
    transducer = checkpoints.load(folder / f"seed_{options.first_seed}.keras")
    inputs, targets, weights = example(options)
    logits, trace, _ = unroll(transducer.cell, inputs[None])
    if getattr(trace, "write_weights", None) is None:
        raise ValueError(f"{path!r} has a cell without heads, {options.cell}.")
    answers = np.asarray(logits)[0] > 0
    wrong = ((answers != (targets > 0.5)) * weights[:, None]).sum()
    write, read = (np.asarray(x)[0, :, 0] for x in (trace.write_weights, trace.read_weights))
    memory = np.asarray(trace.memory)[0, options.length - 1]
    return Memory(options.cell, write, read, memory, int(wrong)), options


def draw(sequence: np.ndarray, memories: Sequence[Memory]) -> Figure:
    """A row for each memory, whose colours reach as far as its largest weight.

    Args:
        sequence: (T, bits), the inputs.
        memories: of the cells.
    """
    figure = Figure(figsize=(9.0, 1.1 + 1.5 * len(memories)), layout="constrained")
    grid = figure.subplots(len(memories) + 1, 3, squeeze=False, width_ratios=(3, 3, 1))
    top = grid[0]
    for axes in top[1:]:
        axes.set_axis_off()
    top[0].imshow(sequence.T, cmap="gray_r", vmin=0.0, vmax=1.0, aspect="auto")
    top[0].set_title("inputs; the last bit asks for the copy", fontsize=8, loc="left")
    top[0].set_ylabel("bit", fontsize=8)
    for axes, found in zip(grid[1:], memories, strict=True):
        titles = (
            f"{found.name}: write weights",
            f"read weights ({found.wrong} wrong bits)",
            "memory",
        )
        for panel, values, title in zip(
            axes, (found.write.T, found.read.T, found.memory), titles, strict=True
        ):
            limit = float(np.abs(values).max()) or 1.0
            panel.imshow(
                values,
                cmap="RdBu_r",
                vmin=-limit,
                vmax=limit,
                aspect="auto",
                interpolation="nearest",
            )
            panel.set_title(title, fontsize=8, loc="left")
        axes[0].set_ylabel("slot", fontsize=8)
    for axes in grid.flat:
        axes.tick_params(labelsize=7)
    for axes in grid[-1, :2]:
        axes.set_xlabel("time step", fontsize=8)
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Draw the picture."""
    options = Options.parse(arguments)
    try:
        found = [look(path) for path in options.runs]
        sizes: set[Any] = {(each.length, each.width) for _, each in found}
        if len(sizes) > 1:
            raise ValueError(f"the runs must have one length and width, got {sorted(sizes)}.")
        inputs, _, _ = example(found[0][1])
        figure = draw(inputs, [memory for memory, _ in found])
        print(plots.save(figure, pathlib.Path(options.out)))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
