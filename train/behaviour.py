"""How far a generator's free-running behaviour lies from its teacher-forced one.

python -m train.behaviour RUN RUN ... --out runs/behaviour

For hidden states and memory, at time steps over the whole length, the energy distance
(`statistics.energy_distance`) between what the generator does on images of the test split and what
it does on as many samples of its own; and beside it, as what two sets of images differ by, between
test and validation images, both teacher-forced. Writes behaviour.md, a table over the seeds that
all methods have, distances.csv and a figure for each of the two parts.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np
from keras import ops

from mf_keras import backend, checkpoints, plots
from train import generation_arms
from train import options as shared
from train.arms import check_outputs, difference, ordered, paired, publish, words, write_csv
from train.sequence_generation import BEST, EVALUATION_BATCH, load
from train.statistics import energy_distance

PARTS = ("hidden", "memory")
FIELDS = ["method", "seed", "part", "step", "distance", "between_images"]
TABLE_HEAD = "free running against teacher forcing"
MARKS = {
    "behaviour.md": TABLE_HEAD.encode(),
    "distances.csv": ",".join(FIELDS).encode(),
    **{f"{part}.png": plots.MARK for part in PARTS},
}
STEPS = 32  # at which distances are taken


def traces(generator, images, steps, seed):
    """What a generator does on images, and on as many samples of its own.

    Args:
        generator: a `SequenceGenerator`.
        images: (n, T, 1) of 0/1.
        steps: the steps to keep, each in 1..T.
        seed: of the samples, an int.

    Returns:
        `(teacher_forced, free_running)`: part -> (n, len(steps), d).
    """
    places, noise = [step - 1 for step in steps], keras.random.SeedGenerator(seed)

    def kept(trace):
        states = {part: ops.take(getattr(trace, part), places, axis=1) for part in PARTS}
        return {part: ops.reshape(x, (*x.shape[:2], -1)) for part, x in states.items()}

    @backend.compiled
    def both(x):
        _, real = generator.teacher_force(x, keep=PARTS)
        _, _, free = generator.free_run(x.shape[0], x.shape[1], seed=noise, keep=PARTS)
        return kept(real), kept(free)

    batches = [images[i : i + EVALUATION_BATCH] for i in range(0, len(images), EVALUATION_BATCH)]
    found = [both(batch) for batch in batches]
    return tuple(
        {part: np.concatenate([sides[i][part] for sides in found]) for part in PARTS}
        for i in range(2)
    )


def distances(generator, test, validation, steps, seed):
    """The rows of one run: a dict of `FIELDS` but method and seed for every part and step."""
    n = len(test)
    real, free = traces(generator, np.concatenate([test, validation]), steps, seed)
    return [
        {
            "part": part,
            "step": step,
            "distance": energy_distance(real[part][:n, i], free[part][:n, i]),
            "between_images": energy_distance(real[part][:n, i], real[part][n:, i]),
        }
        for part in PARTS
        for i, step in enumerate(steps)
    ]


def means(found, part, name):
    """arm -> (seeds,): a distance averaged over the steps."""
    return {
        arm: np.array([np.mean([r[name] for r in rows if r["part"] == part]) for rows in runs])
        for arm, runs in found.items()
    }


def table(found, seeds):
    """The distances, averaged over the steps, in Markdown."""
    lines = [
        f"| {TABLE_HEAD}, mean over steps and {len(seeds)} seed(s) | hidden states | paired "
        "difference, 95 % interval | memory | paired difference, 95 % interval |",
        "|---|---|---|---|---|",
    ]
    columns = {part: means(found, part, "distance") for part in PARTS}
    for arm in found:
        cells = []
        for column in columns.values():
            cells += [f"{column[arm].mean():.4f}", difference(arm, column, 4)]
        lines.append(f"| {words(arm)} | {' | '.join(cells)} |")
    between = [np.mean(list(means(found, part, "between_images").values())) for part in PARTS]
    lines.append(f"| test against validation images | {between[0]:.4f} | | {between[1]:.4f} | |")
    return "\n".join(lines) + "\n"


def figure(found, part):
    """A part's distance over the steps, mean and range over the seeds."""
    series, between = {}, []
    for arm, runs in found.items():
        rows = [[row for row in run if row["part"] == part] for run in runs]
        steps = [row["step"] for row in rows[0]]
        values = np.array([[row["distance"] for row in run] for run in rows])
        series[words(arm)] = (steps, values.mean(axis=0), values.min(axis=0), values.max(axis=0))
        between += [[row["between_images"] for row in run] for run in rows]
    series["two sets of images"] = (steps, np.mean(between, axis=0))
    title = f"{part}: free running against teacher forcing"
    return plots.curves(series, "time step", "energy distance", title)


def measure(runs, count, out, seed=0):
    """Measure all runs, and write what was found to the folder `out`; returns the table.

    Args:
        runs: folders of train.sequence_generation.
        count: images, and samples, to compare.
        out: the folder, a `pathlib.Path`.
        seed: of the samples.

    Raises:
        FileNotFoundError, ValueError: as for `generation_arms.opened`, or the runs have no seed in
            common.
        OSError: a file that is not ours stands in the way, or cannot be written.
    """
    check_outputs(out, MARKS)
    opened = generation_arms.opened(runs)
    paired(generation_arms.by_arm(opened))
    splits = load(argparse.Namespace(**opened[0][-1]))
    test, validation = (images(splits[name], count) for name in ("test", "validation"))
    steps = np.linspace(1, test.shape[1], min(STEPS, test.shape[1])).round().astype(int).tolist()
    found, bar = {}, keras.utils.Progbar(len(opened), unit_name="run")
    for arm, run_seed, folder, _ in opened:
        generator = checkpoints.load(folder / BEST)
        rows = distances(generator, test, validation, steps, seed)
        found.setdefault(arm, {})[run_seed] = rows
        bar.add(1)
    chosen, seeds = paired(found)
    rows = [
        {"method": arm, "seed": seed, **_rounded(row)}
        for arm, runs in ordered(found).items()
        for seed, rows in runs.items()
        for row in rows
    ]
    text = table(chosen, seeds)
    figures = {f"{part}.png": figure(chosen, part) for part in PARTS}
    publish(out, figures, {"behaviour.md": text, "distances.csv": write_csv(FIELDS, rows)})
    return text


def images(split, count):
    """`count` images of a split, evenly spread over it, (count, T, 1); all where there are less."""
    found = np.stack(list(split.as_numpy_iterator()))
    return found[np.linspace(0, len(found) - 1, min(count, len(found))).round().astype(int)]


def _rounded(row):
    return {name: f"{x:.5f}" if isinstance(x, float) else x for name, x in row.items()}


def main(arguments=None):
    """Measure the runs."""
    parser = argparse.ArgumentParser(
        prog="python -m train.behaviour", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("runs", nargs="+", help="folders of train.sequence_generation")
    parser.add_argument(
        "--images",
        type=shared.positive_int,
        default=1000,
        help="of the test split, spread over it, and as many samples; default: 1000, or all",
    )
    parser.add_argument("--out", default="runs/behaviour", help="default: runs/behaviour")
    options = parser.parse_args(arguments)
    if options.images < 2:
        parser.error("argument --images: must be at least 2, got 1")
    try:
        print(measure(options.runs, options.images, pathlib.Path(options.out)))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
