"""Measure the quality of samples, at several temperatures, by models other than the generators.

python -m train.samples RUN RUN ... --out runs/samples

For each run and temperature: the NLL of the samples by a MADE (lower: likelier images), the
confidence of a classifier, the entropy of its classes over all samples (ln 10 = 2.303 where every
digit is as frequent), and their diversity, the mean number of pixels in which two samples differ,
as a share of that of two test images. Low temperatures make samples likelier and less diverse, so
that a method is better only where one improves at an equal other (Caccia et al. 2018,
arXiv:1811.02549). Writes samples.md, a table over the seeds that all methods have, samples.csv and
samples.png.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mf_keras import SequenceGenerator, plots
from train import sequence_generation
from train.analysis import scorers
from train.analysis.finished import finished_runs, measure
from train.analysis.run_table import KEYS, csv_text, paired, title
from train.analysis.tables import check_outputs, difference, markdown, publish
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional, positive_float, positive_int

INDEX = [*KEYS, "temperature"]
FORMATS = dict.fromkeys(["judged_nll", "confidence", "class_entropy", "diversity"], ".5g")
TABLE_HEAD = "NLL by the judge, mean"
# What is written, and by what a file of this program is recognised.
MARKS = {
    "samples.md": TABLE_HEAD.encode(),
    "samples.csv": ",".join([*INDEX, *FORMATS]).encode(),
    "samples.png": plots.MARK,
}
SEED = 0  # of the samples


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.samples"

    runs: Sequence[str] = positional("folders of train.sequence_generation", nargs="+")
    samples: int = option(1000, "of each run and temperature", positive_int)
    temperatures: tuple[float, ...] = option(
        (0.5, 0.6, 0.7, 0.8, 0.9, 1.0), "of the samples", positive_float, nargs="+"
    )
    scorers: str = option(
        "runs/scorers",
        "folder where the MADE and the classifier are kept once they are trained",
        alias="--judges",
    )
    out: str = option("runs/samples", "folder")

    def check(self) -> None:
        """Refuse a single sample."""
        if self.samples < 2:
            raise ValueError(f"argument --samples: must be at least 2, got {self.samples}")


def differing_pixels(images: np.ndarray) -> float:
    """Mean number of pixels in which two of the images (n, T, 1) differ."""
    ones = np.asarray(images, dtype="float64").sum(axis=(0, 2))  # (T,)
    n = len(images)
    return float((ones * (n - ones)).sum() / (n * (n - 1) / 2))


def scores(images: np.ndarray, by: scorers.Scorers, typical: float) -> dict[str, float]:
    """A number for each of `FORMATS`.

    Args:
        images: (n, T, 1) of 0/1, n >= 2.
        by: the scorers.
        typical: pixels in which two test images differ.
    """
    probabilities = by.classes(images)
    share = probabilities.mean(axis=0, dtype="float64")
    share = share[share > 0.0]
    return {
        "judged_nll": float(by.nll(images).mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "class_entropy": float(-(share * np.log(share)).sum()),
        "diversity": differing_pixels(images) / typical,
    }


def draw(
    generator: SequenceGenerator, count: int, length: int, seed: int, temperature: float
) -> np.ndarray:
    """`count` samples (count, length, 1)."""
    size = sequence_generation.EVALUATION_BATCH
    seeds = range(seed, seed + -(-count // size))
    drawn = [generator.sample(size, length, s, temperature) for s in seeds]
    return np.concatenate(drawn)[:count]


def table(found: pd.DataFrame, real: dict[str, float], accuracy: float) -> str:
    """Every method at every temperature in Markdown, and the test images."""
    head = [
        f"samples ({len(found.index.unique('seed'))} seed(s))",
        "temperature",
        TABLE_HEAD,
        "paired difference, 95 % interval",
        "confidence",
        "class entropy",
        "diversity",
        "paired difference",
    ]

    def row(name, temperature, values, nll_difference, diversity_difference):
        nll, confidence, entropy, diversity = (values[score] for score in FORMATS)
        quality = [f"{nll:.2f}", nll_difference, f"{confidence:.3f}", f"{entropy:.3f}"]
        return [name, temperature, *quality, f"{diversity:.3f}", diversity_difference]

    rows = [
        row(
            title(variant),
            f"{temperature:g}",
            scored.loc[[variant]].mean(),
            difference(scored["judged_nll"], variant, 2),
            difference(scored["diversity"], variant, 3),
        )
        for temperature, group in found.groupby("temperature", sort=False)
        for scored in [group.droplevel("temperature")]
        for variant in scored.index.unique("method")
    ]
    rows.append(row("test images", "", real, "", ""))
    return markdown(head, rows) + f"\nThe classifier is right on {accuracy:.1%} of new images.\n"


def figure(found: pd.DataFrame, real: dict[str, float]) -> Figure:
    """The NLL by the MADE over diversity, a line of temperatures for each method."""
    names = ["diversity", "judged_nll"]
    means = found[names].groupby(["method", "temperature"], sort=False).mean()
    curves = {
        title(variant): tuple(means.loc[variant][name].to_numpy() for name in names)
        for variant in means.index.unique("method")
    }
    curves["test images"] = tuple([real[name]] for name in names)
    temperatures = means.index.unique("temperature")
    caption = f"temperatures of {min(temperatures):g} to {max(temperatures):g}, left to right"
    labels = "diversity (share of the data's)", "NLL by the judge (nats)"
    return plots.curves(curves, *labels, caption)


def compare_samples(options: Options) -> str:
    """Score samples of all runs, and write the results to `options.out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `finished_runs`, or the data are no images.
        ImportError: as for `scorers.load_or_train`.
        OSError: a file of another program would be replaced, or one cannot be written.
    """
    out = pathlib.Path(options.out)
    check_outputs(out, MARKS)
    runs = finished_runs(options.runs)
    _ = runs[0].options.image_shape  # the MADE and the classifier take only images
    dataset, splits = runs[0].options.dataset, sequence_generation.load(runs[0].options)
    by = scorers.load_or_train(dataset, splits, pathlib.Path(options.scorers) / dataset)
    test = sequence_generation.images(splits["test"])
    typical = differing_pixels(test)
    real = scores(test, by, typical)

    def score(generator: SequenceGenerator) -> pd.DataFrame:
        index = pd.Index(options.temperatures, name="temperature")
        drawn = (draw(generator, options.samples, test.shape[1], SEED, t) for t in index)
        return pd.DataFrame([scores(images, by, typical) for images in drawn], index)

    found = measure(runs, score)
    text = table(paired(found), real, by.accuracy)
    texts = {"samples.md": text, "samples.csv": csv_text(found, FORMATS)}
    publish(out, {"samples.png": figure(paired(found), real)}, texts)
    return text


def main(arguments: list[str] | None = None) -> None:
    """Score samples of the runs."""
    options = Options.parse(arguments)
    try:
        print(compare_samples(options))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
