"""Draw the paper's figures from the folders of finished runs.

python -m train.figures runs/A runs/B --out runs/figures

Of a run of train.sequence_generation, figure 4: the memory during one generation, beside the memory
on an image of the data; and figure 5: samples. All runs of a dataset share seed and noise, so their
figures can be compared. Of a run of train.copy_task, figures 1 and 2: what a half-trained network
does with its memory in a correct and in a wrong prediction; and of several such runs what
train.compare gives, table 2 and figure 7.
"""

import argparse
import pathlib
import sys

import numpy as np

from mf_keras import checkpoints, data, files, plots
from mf_keras.models.transducer import correct
from train import arms, copying_arms, generation_arms, table_2
from train.run_folder import RunFolder
from train.sequence_generation import IMAGE_SHAPES, load

SEED = 0
EXAMPLES = 1000  # among which a correct and a wrong prediction are sought


def names(options):
    """The files of one run's figures, by the number of the figure."""
    arm = arm_of(options).replace(" --", "-").replace(" ", "-")
    if "dataset" in options:
        numbers, name = (4, 5), f"{options.dataset}-{arm}-{options.seed}"
    else:
        numbers, name = (1, 2), f"{arm}-{options.first_seed}"
    return {number: f"figure_{number}_{name}.png" for number in numbers}


def arm_of(options):
    """The name of the arm that a run belongs to."""
    of = generation_arms if "dataset" in options else copying_arms
    return of.arm_of(vars(options))


def read_generation(folder, options):
    """Of one run, what figures 4 and 5 are drawn of: the generator, and an image of the data."""
    image = next(load(options)["test"].as_numpy_iterator())
    return checkpoints.load(folder / "best.keras"), image


def draw_generation(read, options, out):
    """Figures 4 and 5 of one run."""
    generator, image = read
    shape = IMAGE_SHAPES[options.dataset]
    samples = generator.sample(64, shape[0] * shape[1], seed=SEED)
    title = arms.words(arm_of(options))
    figure = plots.sample_grid(samples, shape, title=f"samples, {title}")
    plots.save(figure, out / names(options)[5])
    _, real = generator.teacher_force(image[None])
    _, _, free = generator.free_run(1, len(image), seed=SEED)
    memories = {"teacher-forced": real.memory[0], "free-running": free.memory[0]}
    every = 50 if len(image) > 400 else None  # the paper's
    figure = plots.memory_comparison(memories, every=every, title=f"memory, {title}")
    plots.save(figure, out / names(options)[4])


def read_copying(folder, options):
    """Of one run's first seed, what figures 1 and 2 are drawn of: a trace, and what is right.

    Raises:
        ValueError: all predictions are correct, or none is.
    """
    transducer = checkpoints.load(folder / f"seed_{options.first_seed}-half.keras")
    stream = data.copy_task(options.length, options.width, seed=2**50)
    inputs, targets, weights = next(stream.batch(EXAMPLES).as_numpy_iterator())
    logits, trace = transducer.trace(inputs)
    right = np.array(correct(targets, logits, weights))
    if right.all() or not right.any():
        raise ValueError(
            f"{folder.path}: {int(right.sum())} of {EXAMPLES} predictions are correct, so there is "
            "no correct and wrong one to draw."
        )
    return trace, right


def draw_copying(read, options, out):
    """Figures 1 and 2 of one run, of its first seed."""
    trace, right = read
    limit = float(np.abs(trace.memory).max())
    share = f"{right.mean():.0%} of its predictions are correct"
    for number, kind, chosen in ((1, "correct", right), (2, "wrong", ~right)):
        example = int(np.flatnonzero(chosen)[0])
        parts = (trace.memory, trace.write_weights, trace.read_weights)
        memory, writes, reads = (np.array(part[example]) for part in parts)
        title = f"a {kind} prediction, {arms.words(arm_of(options))}, when {share}"
        figure = plots.memory_over_time(memory, writes, reads, title=title, limit=limit)
        plots.save(figure, out / names(options)[number])


def draw(runs, out):
    """The figures of every run, and those that compare runs.

    Raises:
        OSError: a file that is not ours stands in the way, or one of a run or of its data cannot
            be read; nothing is written then.
        ValueError: two runs have figures of one name, cannot be compared, or have nothing to draw;
            nothing is written then.
    """
    opened = [RunFolder.open(run) for run in runs]
    opened = [(folder, argparse.Namespace(**config)) for folder, config in opened]
    copying = [run for run, (_, options) in zip(runs, opened, strict=True) if "seeds" in options]
    owners = {}
    for folder, options in opened:
        for name in names(options).values():
            if owners.setdefault(name, folder) is not folder:
                raise ValueError(
                    f"{owners[name].path} and {folder.path} would both be drawn as {name}; give "
                    "each an --out of its own."
                )
            files.check_ours(out / name, plots.MARK)
    if len(copying) > 1:
        arms.check_outputs(out, table_2.MARKS)
        arms.paired(copying_arms.read(copying)[0])
    # All is read before anything is drawn, so that nothing is drawn where something is missing.
    found = [
        (read_generation if "dataset" in options else read_copying)(folder, options)
        for folder, options in opened
    ]
    for read, (_, options) in zip(found, opened, strict=True):
        drawn = draw_generation if "dataset" in options else draw_copying
        drawn(read, options, out)
    if len(copying) > 1:
        table_2.compare(copying, out)


def main(arguments=None):
    """Draw the figures of every run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.figures", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "runs", nargs="+", help="folders of train.sequence_generation or train.copy_task"
    )
    parser.add_argument("--out", default="runs/figures", help="default: runs/figures")
    options = parser.parse_args(arguments)
    try:
        draw(options.runs, pathlib.Path(options.out))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"figures: {options.out}")


if __name__ == "__main__":
    main()
