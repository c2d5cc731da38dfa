"""What samples are worth, at several temperatures, by judges that the generators do not know.

python -m train.samples RUN RUN ... --out runs/samples

For each run and temperature: the NLL that a MADE gives the samples (lower: likelier images), the
confidence of a classifier, the entropy of its classes over all samples (ln 10 = 2.303 where every
digit is as frequent), and their diversity, the mean number of pixels in which two samples differ,
as a share of what two test images do. Low temperatures buy likelier samples with diversity, so that
a method is better only where it gives more of one for the same of the other (Caccia et al. 2018,
arXiv:1811.02549). Writes samples.md, a table over the seeds that all methods have, samples.csv and
samples.png.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np

from mf_keras import checkpoints, plots
from train import generation_arms, judges
from train import options as shared
from train.arms import check_outputs, difference, ordered, paired, publish, words, write_csv
from train.sequence_generation import BEST, EVALUATION_BATCH, load

TEMPERATURES = [0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
SCORES = ["judged_nll", "confidence", "class_entropy", "diversity"]
FIELDS = ["method", "seed", "temperature", *SCORES]
TABLE_HEAD = "NLL by the judge, mean"
MARKS = {
    "samples.md": TABLE_HEAD.encode(),
    "samples.csv": ",".join(FIELDS).encode(),
    "samples.png": plots.MARK,
}


def differing(images):
    """Mean number of pixels in which two of the images (n, T, 1) differ."""
    ones = np.asarray(images, dtype="float64").sum(axis=(0, 2))  # (T,)
    n = len(images)
    return float((ones * (n - ones)).sum() / (n * (n - 1) / 2))


def scores(images, panel, typical):
    """A dict of `SCORES`.

    Args:
        images: (n, T, 1) of 0/1, n >= 2.
        panel: `judges.Judges`.
        typical: pixels in which two test images differ.
    """
    probabilities = panel.classes(images)
    share = probabilities.mean(axis=0, dtype="float64")
    share = share[share > 0.0]
    return {
        "judged_nll": float(panel.nll(images).mean()),
        "confidence": float(probabilities.max(axis=1).mean()),
        "class_entropy": float(-(share * np.log(share)).sum()),
        "diversity": differing(images) / typical,
    }


def draw(generator, count, length, seed, temperature):
    """`count` samples (count, length, 1)."""
    seeds = range(seed, seed + -(-count // EVALUATION_BATCH))
    drawn = [generator.sample(EVALUATION_BATCH, length, s, temperature) for s in seeds]
    return np.concatenate(drawn)[:count]


def table(found, seeds, temperatures, real, panel):
    """Every method at every temperature in Markdown, and the test images."""
    lines = [
        f"| samples ({len(seeds)} seed(s)) | temperature | {TABLE_HEAD} | paired difference, "
        "95 % interval | confidence | class entropy | diversity | paired difference |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for place, temperature in enumerate(temperatures):
        columns = {
            name: {arm: np.array([run[place][name] for run in found[arm]]) for arm in found}
            for name in SCORES
        }
        for arm in found:
            nll, confidence, entropy, diversity = (columns[name][arm].mean() for name in SCORES)
            lines.append(
                f"| {words(arm)} | {temperature:g} | {nll:.2f} | "
                f"{difference(arm, columns['judged_nll'], 2)} | {confidence:.3f} | "
                f"{entropy:.3f} | {diversity:.3f} | {difference(arm, columns['diversity'], 3)} |"
            )
    lines.append(
        f"| test images | | {real['judged_nll']:.2f} | | {real['confidence']:.3f} | "
        f"{real['class_entropy']:.3f} | {real['diversity']:.3f} | |"
    )
    lines += ["", f"The classifier is right on {panel.accuracy:.1%} of new images."]
    return "\n".join(lines) + "\n"


def figure(found, real, temperatures):
    """The NLL by the judge over diversity, a line of temperatures for each method."""
    series = {
        words(arm): tuple(
            np.mean([[row[name] for row in run] for run in runs], axis=0)
            for name in ("diversity", "judged_nll")
        )
        for arm, runs in found.items()
    }
    series["test images"] = ([real["diversity"]], [real["judged_nll"]])
    title = f"temperatures of {min(temperatures):g} to {max(temperatures):g}, left to right"
    return plots.curves(series, "diversity (share of the data's)", "NLL by the judge (nats)", title)


def judge(runs, count, temperatures, kept, out, seed=0):
    """Judge all runs, and write what was found to the folder `out`; returns the table.

    Args:
        runs: folders of train.sequence_generation.
        count: samples of each run and temperature.
        temperatures: a list of numbers > 0.
        kept: folder of the judges, a `pathlib.Path`; they are trained if they are not there.
        out: the folder, a `pathlib.Path`.
        seed: of the samples.

    Raises:
        FileNotFoundError, ValueError: as for `generation_arms.opened`, or the runs have no seed in
            common.
        ImportError: as for `judges.make`.
        OSError: a file that is not ours stands in the way, or cannot be written.
    """
    check_outputs(out, MARKS)
    opened = generation_arms.opened(runs)
    paired(generation_arms.by_arm(opened))
    config = opened[0][-1]
    splits = load(argparse.Namespace(**config))
    panel = judges.make(config["dataset"], splits, kept / config["dataset"])
    test = np.stack(list(splits["test"].as_numpy_iterator()))
    typical = differing(test)
    real = scores(test, panel, typical)
    found, bar = {}, keras.utils.Progbar(len(opened), unit_name="run")
    for arm, run_seed, folder, _ in opened:
        generator = checkpoints.load(folder / BEST)
        found.setdefault(arm, {})[run_seed] = [
            scores(draw(generator, count, test.shape[1], seed, temperature), panel, typical)
            for temperature in temperatures
        ]
        bar.add(1)
    chosen, seeds = paired(found)
    rows = [
        {"method": arm, "seed": run_seed, "temperature": temperature}
        | {name: f"{value:.5g}" for name, value in row.items()}
        for arm, runs in ordered(found).items()
        for run_seed, run in runs.items()
        for temperature, row in zip(temperatures, run, strict=True)
    ]
    text = table(chosen, seeds, temperatures, real, panel)
    texts = {"samples.md": text, "samples.csv": write_csv(FIELDS, rows)}
    publish(out, {"samples.png": figure(chosen, real, temperatures)}, texts)
    return text


def main(arguments=None):
    """Judge the runs."""
    parser = argparse.ArgumentParser(
        prog="python -m train.samples", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("runs", nargs="+", help="folders of train.sequence_generation")
    parser.add_argument(
        "--samples",
        type=shared.positive_int,
        default=1000,
        help="of each run and temperature; default: 1000",
    )
    parser.add_argument(
        "--temperatures",
        type=shared.positive_float,
        nargs="+",
        default=TEMPERATURES,
        help=f"default: {' '.join(map(str, TEMPERATURES))}",
    )
    parser.add_argument(
        "--judges",
        default="runs/judges",
        help="folder where they are kept once they are trained; default: runs/judges",
    )
    parser.add_argument("--out", default="runs/samples", help="default: runs/samples")
    options = parser.parse_args(arguments)
    if options.samples < 2:
        parser.error("argument --samples: must be at least 2, got 1")
    try:
        out, kept = pathlib.Path(options.out), pathlib.Path(options.judges)
        print(judge(options.runs, options.samples, options.temperatures, kept, out))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
