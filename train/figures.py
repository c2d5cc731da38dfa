"""Draw figures 4 and 5 of the paper from the folders of finished runs.

python -m train.figures runs/A runs/B --out runs/figures

For each run, figure 4: the memory during one generation, beside the memory on an image of the data;
figure 5: samples. All runs of a dataset share seed and noise, so their figures can be compared.
"""

import argparse
import pathlib
import sys

import keras

from mf_keras import plots
from train.run_folder import RunFolder
from train.sequence_generation import IMAGE_SHAPES, load

SEED = 0


def draw(run, out):
    """Figures 4 and 5 of one run."""
    folder, config = RunFolder.open(run)
    options = argparse.Namespace(**config)
    name = f"{options.dataset}-{options.method}-{options.seed}"
    shape = IMAGE_SHAPES[options.dataset]
    generator = keras.models.load_model(folder / "best.keras")
    samples = generator.sample(64, shape[0] * shape[1], seed=SEED)
    title = options.method.replace("_", " ")
    figure = plots.sample_grid(samples, shape, title=f"samples, {title}")
    plots.save(figure, out / f"figure_5_{name}.png")
    image = next(load(options)["test"].as_numpy_iterator())
    _, real = generator.teacher_force(image[None])
    _, _, free = generator.free_run(1, len(image), seed=SEED)
    memories = {"teacher-forced": real.memory[0], "free-running": free.memory[0]}
    every = 50 if len(image) > 400 else None  # the paper's
    figure = plots.memory_comparison(memories, every=every, title=f"memory, {title}")
    plots.save(figure, out / f"figure_4_{name}.png")


def main(arguments=None):
    """Draw the figures of every run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.figures", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("runs", nargs="+", help="folders of train.sequence_generation")
    parser.add_argument("--out", default="runs/figures", help="default: runs/figures")
    options = parser.parse_args(arguments)
    for run in options.runs:
        try:
            draw(run, pathlib.Path(options.out))
        except (OSError, ValueError) as error:
            sys.exit(f"error: {error}")
    print(f"figures: {options.out}")


if __name__ == "__main__":
    main()
