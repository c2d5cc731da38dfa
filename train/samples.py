"""Measure the quality of samples, at several temperatures, by models other than the generators.

python -m train.samples RUN RUN ... --out runs/samples
python -m train.samples RUN RUN ... --smiles --out runs/samples

Of images, for each run and temperature: the NLL of the samples by a MADE (lower: likelier images),
the confidence of a classifier, the entropy of its classes over all samples (ln 10 = 2.303 where
every digit is as frequent), and their diversity, the mean number of pixels in which two samples
differ, as a share of that of two test images. Of lines of text: the share of the lines that are
molecules (`--smiles`, by RDKit); of these, that of different ones; of these, that of lines which
are not in the training split. Low temperatures make samples likelier and less diverse, so that a
method is better only where one improves at an equal other (Caccia et al. 2018, arXiv:1811.02549).
Writes samples.md, a table over the seeds that all methods have, samples.csv and samples.png.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mf_keras import SequenceGenerator, plots
from train import sequence_generation
from train.analysis import line_scorers, scorers
from train.analysis.finished import FinishedRun, finished_runs, measure
from train.analysis.run_table import KEYS, csv_text, paired, title
from train.analysis.tables import check_outputs, difference, markdown, number, publish
from train.runs.options import Options as BaseOptions
from train.runs.options import option, positional, positive_float, positive_int
from train.sequence_data import Lines, sequences

INDEX = [*KEYS, "temperature"]
FORMATS = dict.fromkeys(["judged_nll", "confidence", "class_entropy", "diversity"], ".5g")
TABLE_HEAD, LINES_HEAD = "NLL by the judge, mean", "different lines, of the valid ones"
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
    smiles: bool = option(False, "lines are molecules in SMILES; needs RDKit")
    out: str = option("runs/samples", "folder")

    def check(self) -> None:
        """Refuse a single sample."""
        if self.samples < 2:
            raise ValueError(f"argument --samples: must be at least 2, got {self.samples}")


def marks(head: str, formats: dict[str, str]) -> dict[str, bytes]:
    """What is written, and by what a file of this program is recognised.

    Args:
        head: a column of the table.
        formats: those of the numbers.
    """
    return {
        "samples.md": head.encode(),
        "samples.csv": ",".join([*INDEX, *formats]).encode(),
        "samples.png": plots.MARK,
    }


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
    """`count` samples (count, length, *step)."""
    size = sequence_generation.EVALUATION_BATCH
    seeds = range(seed, seed + -(-count // size))
    drawn = [generator.sample(size, length, s, temperature) for s in seeds]
    return np.concatenate(drawn)[:count]


def at_temperatures(
    runs: list[FinishedRun],
    options: Options,
    length: int,
    score: Callable[[np.ndarray], dict[str, float]],
) -> pd.DataFrame:
    """The scores of samples of each run and temperature.

    Args:
        runs: as `finished_runs` gives them.
        options: of the command.
        length: of samples.
        score: from samples (n, length, *step) to numbers.
    """

    def of(generator: SequenceGenerator) -> pd.DataFrame:
        index = pd.Index(options.temperatures, name="temperature")
        drawn = (draw(generator, options.samples, length, SEED, t) for t in index)
        return pd.DataFrame([score(samples) for samples in drawn], index)

    return measure(runs, of)


def compared(found: pd.DataFrame, differences: dict[str, int]) -> Iterator[tuple[Any, ...]]:
    """Of every temperature and method: its title, the temperature, means, and paired differences.

    Args:
        found: the scores, a row a run and temperature.
        differences: of which scores, and their digits.
    """
    for temperature, group in found.groupby("temperature", sort=False):
        scored = group.droplevel("temperature")
        for variant in scored.index.unique("method"):
            pairs = [difference(scored[name], variant, n) for name, n in differences.items()]
            yield title(variant), f"{temperature:g}", scored.loc[[variant]].mean(), *pairs


def curves_of(found: pd.DataFrame, names: list[str]) -> tuple[dict[str, Any], str]:
    """Means of two scores, a line of temperatures for each method, and a caption."""
    means = found[names].groupby(["method", "temperature"], sort=False).mean()
    curves: dict[str, Any] = {
        title(variant): tuple(means.loc[variant][name].to_numpy() for name in names)
        for variant in means.index.unique("method")
    }
    temperatures = means.index.unique("temperature")
    return curves, f"temperatures of {min(temperatures):g} to {max(temperatures):g}"


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

    rows = [row(*each) for each in compared(found, {"judged_nll": 2, "diversity": 3})]
    rows.append(row("test images", "", real, "", ""))
    return markdown(head, rows) + f"\nThe classifier is right on {accuracy:.1%} of new images.\n"


def figure(found: pd.DataFrame, real: dict[str, float]) -> Figure:
    """The NLL by the MADE over diversity, a line of temperatures for each method."""
    names = ["diversity", "judged_nll"]
    curves, caption = curves_of(found, names)
    curves["test images"] = tuple([real[name]] for name in names)
    labels = "diversity (share of the data's)", "NLL by the judge (nats)"
    return plots.curves(curves, *labels, f"{caption}, left to right")


def lines_table(found: pd.DataFrame, real: dict[str, float]) -> str:
    """Every method at every temperature in Markdown, and the lines of the test split."""
    seeds = len(found.index.unique("seed"))
    head = [f"samples ({seeds} seed(s))", "temperature", "valid", "paired difference"]
    head += [LINES_HEAD, "paired difference", "new lines, of the different ones"]

    def row(name, temperature, values, valid_difference, unique_difference):
        valid, unique, new = (number(values[score], 3) for score in line_scorers.FORMATS)
        return [name, temperature, valid, valid_difference, unique, unique_difference, new]

    rows = [row(*each) for each in compared(found, {"valid": 3, "unique": 3})]
    rows.append(row("test lines", "", real, "", ""))
    return markdown(head, rows)


def lines_figure(found: pd.DataFrame, smiles: bool) -> Figure:
    """Valid lines, or new ones, over different ones, a line of temperatures for each method."""
    names = ["unique", "valid" if smiles else "new"]
    curves, caption = curves_of(found, names)
    return plots.curves(curves, "different (share)", f"{names[1]} (share)", caption)


def compare_samples(options: Options) -> str:
    """Score samples of all runs, and write the results to `options.out`; returns the table.

    Raises:
        FileNotFoundError, ValueError: as for `finished_runs`, or the data are neither images nor
            lines of text.
        ImportError: as for `scorers.load_or_train` and `line_scorers.make_scorer`.
        OSError: a file of another program would be replaced, or one cannot be written.
    """
    runs = finished_runs(options.runs)
    kind = runs[0].options.kind
    if isinstance(kind, Lines):
        return compare_lines(runs, kind, options)
    if options.smiles:
        raise ValueError("argument --smiles: the data must be lines.")
    return compare_images(runs, options)


def compare_lines(runs: list[FinishedRun], kind: Lines, options: Options) -> str:
    """`compare_samples` of lines of text."""
    out, formats = pathlib.Path(options.out), line_scorers.FORMATS
    check_outputs(out, marks(LINES_HEAD, formats))
    own = runs[0].options
    splits, vocabulary = kind.load(own), kind.vocabulary(own)

    def decoded(tokens: Iterable[np.ndarray]) -> list[str]:
        return [vocabulary.decode(each) for each in tokens]

    scorer = line_scorers.make_scorer(decoded(sequences(splits["train"])), options.smiles)
    real = scorer.scores(decoded(sequences(splits["test"])))
    found = at_temperatures(
        runs, options, kind.length(own), lambda samples: scorer.scores(decoded(samples))
    )
    text = lines_table(paired(found), real)
    texts = {"samples.md": text, "samples.csv": csv_text(found, formats)}
    publish(out, {"samples.png": lines_figure(paired(found), options.smiles)}, texts)
    return text


def compare_images(runs: list[FinishedRun], options: Options) -> str:
    """`compare_samples` of images."""
    out = pathlib.Path(options.out)
    check_outputs(out, marks(TABLE_HEAD, FORMATS))
    _ = runs[0].options.image_shape  # the MADE and the classifier take only images
    dataset, splits = runs[0].options.dataset, sequence_generation.load(runs[0].options)
    by = scorers.load_or_train(dataset, splits, pathlib.Path(options.scorers) / dataset)
    test = sequence_generation.images(splits["test"])
    typical = differing_pixels(test)
    real = scores(test, by, typical)

    found = at_temperatures(
        runs, options, test.shape[1], lambda images: scores(images, by, typical)
    )
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
