"""Draw the paper's figures from the folders of finished runs.

python -m train.figures runs/A runs/B --out runs/figures

Of a run of train.sequence_generation, figure 4: the memory during one generation, beside the memory
on an image of the data; and figure 5: samples. All runs of a dataset share seed and noise, so their
figures can be compared. Of a run of train.copy_task, figures 1 and 2: the memory of a half-trained
network in a correct and in a wrong prediction; and of several such runs what train.compare gives,
table 2 and figure 7.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mf_keras import checkpoints, data, files, plots
from train import compare, copy_task, sequence_generation
from train.analysis.run_table import collect, title
from train.analysis.tables import check_outputs
from train.runs.folder import RunFolder
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional

SEED = 0
EXAMPLES = 1000  # among which a correct and a wrong prediction are searched
EXAMPLES_SEED = 2**50  # a stream that no seed of a run draws


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.figures"

    runs: Sequence[str] = positional(
        "folders of train.sequence_generation or train.copy_task", nargs="+"
    )
    out: str = option("runs/figures", "folder")


Drawing = Callable[[], dict[int, Figure]]


def names(options: sequence_generation.Options | copy_task.Options) -> dict[int, str]:
    """The files of one run's figures, by the number of the figure."""
    variant = options.variant().replace(" --", "-").replace(" ", "-")
    if isinstance(options, sequence_generation.Options):
        numbers, name = (4, 5), f"{options.dataset}-{variant}-{options.seed}"
    else:
        numbers, name = (1, 2), f"{variant}-{options.first_seed}"
    return {number: f"figure_{number}_{name}.png" for number in numbers}


def generation_figures(folder: RunFolder, options: sequence_generation.Options) -> Drawing:
    """A function that draws figures 4 and 5 of one run, whose files have been read."""
    sequence = next(sequence_generation.load(options)["test"].as_numpy_iterator())
    length = options.kind.length(options)
    generator = checkpoints.load(folder / sequence_generation.BEST)

    def figures():
        name = title(options.variant())
        samples = np.array(generator.sample(64, length, seed=SEED))
        _, real = generator.teacher_force(sequence[None])
        _, _, free = generator.free_run(1, len(sequence), seed=SEED)
        memories = {"teacher-forced": real.memory[0], "free-running": free.memory[0]}
        every = 50 if len(sequence) > 400 else None  # the paper's
        picture = options.kind.picture([*samples], f"samples, {name}", options)
        found = {4: plots.memory_comparison(memories, every=every, title=f"memory, {name}")}
        return found if isinstance(picture, str) else {**found, 5: picture}

    return figures


def copying_figures(folder: RunFolder, options: copy_task.Options) -> Drawing:
    """A function that draws figures 1 and 2 of one run's first seed, whose file has been read.

    Raises:
        ValueError: all predictions are correct, or none is.
    """
    transducer = checkpoints.load(folder / f"seed_{options.first_seed}-half.keras")
    stream = data.copy_task(options.length, options.width, seed=EXAMPLES_SEED)
    inputs, targets, weights = next(stream.batch(EXAMPLES).as_numpy_iterator())
    logits, trace = transducer.trace(inputs)
    right = np.array(transducer.output.correct(targets, logits, weights))
    if right.all() or not right.any():
        raise ValueError(
            f"{folder.path}: {int(right.sum())} of {EXAMPLES} predictions are correct; the figures "
            "need a correct and a wrong one."
        )
    memory, reads = np.array(trace.memory), getattr(trace, "read_weights", None)
    if reads is None:
        raise ValueError(f"{folder.path} has a cell without heads, {options.cell}.")

    def figure(kind, chosen):
        example = int(np.flatnonzero(chosen)[0])
        variant, share = title(options.variant()), f"{right.mean():.0%}"
        caption = f"a {kind} prediction, {variant}, when {share} of its predictions are correct"
        writes = getattr(trace, "write_weights", None)  # which a cell need not have
        return plots.memory_over_time(
            memory[example],
            None if writes is None else writes[example],
            reads[example],
            title=caption,
            limit=float(np.abs(memory).max()),
        )

    return lambda: {1: figure("correct", right), 2: figure("wrong", ~right)}


def draw(runs: Sequence[str], out: pathlib.Path) -> None:
    """The figures of every run, and those that compare runs.

    Raises:
        OSError: a file of another program would be replaced, or one of a run or of its data cannot
            be read; nothing is written then.
        ValueError: two runs have figures of one name, cannot be compared, or have nothing to draw;
            nothing is written then.
    """
    kinds: dict[Any, Callable[[RunFolder, Any], Drawing]] = {
        sequence_generation.Options: generation_figures,
        copy_task.Options: copying_figures,
    }
    opened: list[tuple[RunFolder, Any]] = [RunFolder.open(run, *kinds) for run in runs]
    copying = [folder.path for folder, options in opened if type(options) is copy_task.Options]
    owners: dict[str, RunFolder] = {}
    for folder, options in opened:
        for name in names(options).values():
            if owners.setdefault(name, folder) is not folder:
                raise ValueError(
                    f"{owners[name].path} and {folder.path} would both be drawn as {name}; give "
                    "each its own --out."
                )
            files.check_ours(out / name, plots.MARK)
    if len(copying) > 1:
        check_outputs(out, compare.marks(compare.COPYING))
        compare.only_paired(collect(compare.COPYING, copying))
    # All files are read before anything is drawn, so nothing is written where one is missing.
    drawings = [kinds[type(options)](folder, options) for folder, options in opened]
    for (_, options), drawing in zip(opened, drawings, strict=True):
        for number, figure in drawing().items():
            plots.save(figure, out / names(options)[number])
    if len(copying) > 1:
        compare.compare(compare.COPYING, copying, out)


def main(arguments: list[str] | None = None) -> None:
    """Draw the figures of every run."""
    options = Options.parse(arguments)
    try:
        draw(options.runs, pathlib.Path(options.out))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"figures: {options.out}")


if __name__ == "__main__":
    main()
