"""Measure how far a generator's free-running behaviour is from its teacher-forced behaviour.

python -m train.behaviour RUN RUN ... --out runs/behaviour

For hidden states and memory, at time steps over the whole length, the energy distance
(`statistics.energy_distance`) between the generator on sequences of the test split and the
generator on as many samples of its own; and for comparison, between test and validation sequences,
both teacher-forced. Of sequences of unequal lengths the longer half is taken, cut to the length
that all of it has. Writes behaviour.md, a table over the seeds that all methods have, distances.csv
and a figure for each of the two parts.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from keras import ops
from matplotlib.figure import Figure

from mf_keras import SequenceGenerator, backend, plots
from train import sequence_generation
from train.analysis.finished import finished_runs, measure
from train.analysis.run_table import KEYS, csv_text, paired, title
from train.analysis.statistics import energy_distance
from train.analysis.tables import check_outputs, difference, markdown, over_steps, publish
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional, positive_int
from train.sequence_data import sequences, steps_of

PARTS = ("hidden", "memory")
INDEX = [*KEYS, "part", "step"]
FORMATS = {"distance": ".5f", "between_splits": ".5f"}
TABLE_HEAD = "free running against teacher forcing"
# What is written, and by what a file of this program is recognised.
MARKS = {
    "behaviour.md": TABLE_HEAD.encode(),
    "distances.csv": ",".join([*INDEX, *FORMATS]).encode(),
    **{f"{part}.png": plots.MARK for part in PARTS},
}
STEPS = 32  # at which distances are measured
SEED = 0  # of the samples


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.behaviour"

    runs: Sequence[str] = positional("folders of train.sequence_generation", nargs="+")
    sequences: int = option(
        1000,
        "of the test split, spread over it, at most all; and as many samples",
        positive_int,
        alias="--images",
    )
    out: str = option("runs/behaviour", "folder")

    def check(self) -> None:
        """Refuse a single sequence."""
        if self.sequences < 2:
            raise ValueError(f"argument --sequences: must be at least 2, got {self.sequences}")


def traces(
    generator: SequenceGenerator, data: np.ndarray, steps: list[int], seed: int
) -> tuple[dict[str, np.ndarray], ...]:
    """The states of a generator on data, and on as many samples of its own.

    Args:
        generator: whose states.
        data: (n, T, *step).
        steps: the steps to keep, each in 1..T.
        seed: of the samples.

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

    size = sequence_generation.EVALUATION_BATCH
    found = [both(data[i : i + size]) for i in range(0, len(data), size)]
    return tuple(
        {part: np.concatenate([batch[part] for batch in batches]) for part in PARTS}
        for batches in zip(*found, strict=True)
    )


def distances(
    generator: SequenceGenerator,
    test: np.ndarray,
    validation: np.ndarray,
    steps: list[int],
    seed: int = SEED,
) -> pd.DataFrame:
    """The distances of one generator, index (part, step)."""
    n = len(test)
    real, free = traces(generator, np.concatenate([test, validation]), steps, seed)
    rows = {
        (part, step): (
            energy_distance(real[part][:n, i], free[part][:n, i]),
            energy_distance(real[part][:n, i], real[part][n:, i]),
        )
        for part in PARTS
        for i, step in enumerate(steps)
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(FORMATS))
    return frame.set_index(pd.MultiIndex.from_tuples(frame.index, names=INDEX[2:]))


def table(found: pd.DataFrame) -> str:
    """The distances, averaged over the steps, in Markdown."""
    means = found.groupby(["part", *KEYS], sort=False).mean()  # over the steps
    seeds = len(found.index.unique("seed"))
    interval = "paired difference, 95 % interval"
    head = [
        f"{TABLE_HEAD}, mean over steps and {seeds} seed(s)",
        *["hidden states", interval, "memory", interval],
    ]
    rows = []
    for variant in found.index.unique("method"):
        cells = []
        for part in PARTS:
            column = means.loc[part]["distance"]
            cells += [f"{column.loc[[variant]].mean():.4f}", difference(column, variant, 4)]
        rows.append([title(variant), *cells])
    between = [f"{means.loc[part]['between_splits'].mean():.4f}" for part in PARTS]
    return markdown(
        head, [*rows, ["test against validation split", between[0], "", between[1], ""]]
    )


def figure(found: pd.DataFrame, part: str) -> Figure:
    """A part's distance over the steps, mean and range over the seeds."""
    rows = found.xs(part, level="part")
    between = rows["between_splits"].groupby("step").mean()
    curves = {
        **over_steps(rows["distance"]),
        "two splits of the data": (between.index.to_numpy(), between.to_numpy()),
    }
    caption = f"{part}: free running against teacher forcing"
    return plots.curves(curves, "time step", "energy distance", caption)


def longer_half(splits: Sequence[tf.data.Dataset], count: int) -> list[np.ndarray]:
    """At most `count` sequences of each split, evenly spread over it: (n, T, *step).

    T is the largest number of steps that half of each split has; shorter sequences are left out,
    and longer ones are cut.
    """
    length = min(int(np.median(steps_of(split))) for split in splits)
    found = []
    for split in splits:
        long = np.stack([x[:length] for x in sequences(split) if len(x) >= length])
        places = np.linspace(0, len(long) - 1, min(count, len(long))).round().astype(int)
        found.append(long[places])
    return found


def compare_behaviour(options: Options) -> str:
    """Measure all runs, and write the results to the folder `options.out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `finished_runs`.
        OSError: a file of another program would be replaced, or one cannot be written.
    """
    out = pathlib.Path(options.out)
    check_outputs(out, MARKS)
    runs = finished_runs(options.runs)
    splits = sequence_generation.load(runs[0].options)
    test, validation = longer_half([splits["test"], splits["validation"]], options.sequences)
    steps = np.linspace(1, test.shape[1], min(STEPS, test.shape[1])).round().astype(int).tolist()
    found = measure(runs, lambda generator: distances(generator, test, validation, steps))
    text = table(paired(found))
    texts = {"behaviour.md": text, "distances.csv": csv_text(found, FORMATS)}
    publish(out, {f"{part}.png": figure(paired(found), part) for part in PARTS}, texts)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Measure the runs."""
    options = Options.parse(arguments)
    try:
        print(compare_behaviour(options))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
