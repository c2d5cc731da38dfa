"""Store sets of images in a Kanerva Machine, and compare it with a VAE that has no memory.

python -m train.kanerva --dataset omniglot --memory none --data-dir FOLDER
python -m train.kanerva --dataset omniglot --data-dir FOLDER --beside runs/kanerva-omniglot-none
python -m train.kanerva --dataset omniglot --forcing --seeds 5 --data-dir FOLDER

FOLDER holds Omniglot or binarized MNIST as TensorFlow Datasets prepares them. Images are 28 x 28 of
0 and 1, in sets of random ones. Writes a run folder: config.json; for each seed seed_K.csv (a row
per interval of 200 batches: the bound and its terms in nats per image, of training and of some test
sets, as val_..., seconds), seed_K.keras, the trained model, seed_K-recall.png, corrupted images as
they are recalled, and seed_K-samples.png; results.json and bounds.csv with the bounds on all test
images and the accuracy of fresh classifiers of samples, beside those of other runs and what is
published; recall.csv and recall.png, the wrong pixels over iterations of recall; learning.png.
Ctrl-C saves; `--resume RUN` resumes an interrupted run from its last checkpoint to the same weights
and rows.
"""

import dataclasses
import sys
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.figure import Figure

from mf_keras import KanervaMachine, KanervaMemoryForcing, callbacks, checkpoints, data, plots
from mf_keras.models.image_sets import ImageSetModel, TrainsOnImageSets
from train.runs import resuming
from train.runs.autoencoder import VariationalAutoencoder
from train.runs.beside import runs_beside
from train.runs.folder import RunFolder, write_text
from train.runs.options import (
    INTERVAL,
    ImageOptions,
    Role,
    flag,
    fraction,
    option,
    positive_float,
    positive_int,
)

DATASETS = ("omniglot", "mnist")
METHODS = ("kanerva", "none")
SHAPE = (28, 28)
RESULTS, TABLE = "results.json", "bounds.csv"
_SAME = ("dataset", "flipped", "set_size")  # options of what is compared
WATCHED_SETS = 16  # of the test images, after every interval
RECALLED_SETS = 64  # of the test images, whose corrupted copies are recalled
ITERATIONS = 10  # of recall
EVALUATED_SETS = 16  # in a batch of the test
TOLD_APART = 4096  # samples, and test images, to tell apart
# -ELBO given the memory, as the README of Generative Pseudo-Inverse Memory (ICLR 2022) lists them.
PUBLISHED = {
    "omniglot": {"KM": 68.3, "DKM": 77.2, "Kanerva++": 66.24, "GPM": 25.68},
    "mnist": {"DKM": 75.3, "Kanerva++": 41.58, "GPM": 31.48},
}


@dataclasses.dataclass(kw_only=True)
class Options(ImageOptions):
    """The options of a run."""

    command = "train.kanerva"
    marker = "set_size"

    method: str = option(
        "kanerva", "the memory; none: a VAE", role=Role.RUN, choices=METHODS, alias="--memory"
    )
    noise: float = option(
        1.0, "variance of a code in the memory", positive_float, role=Role.VARIANT
    )
    conditional: bool = option(
        False,
        "do not count what the memory stores: minimise the conditional bound",
        role=Role.VARIANT,
    )
    code_posterior: bool = option(
        False, "infer the codes instead of drawing them from the memory", role=Role.VARIANT
    )
    no_autoencoder: bool = option(
        False, "leave out the term of the codes without the memory", role=Role.VARIANT
    )
    forcing: bool = option(
        False,
        "Memory Forcing: a discriminator of the memory of data and of the machine's own samples",
        role=Role.VARIANT,
    )
    forcing_weight: float = option(1.0, "of C_m", positive_float, role=Role.VARIANT)
    no_gate: bool = option(False, "no gates on the discriminator's accuracy", role=Role.VARIANT)
    dataset: str = option("omniglot", "the images", choices=DATASETS)
    memory_size: int = option(32, "slots of the memory", positive_int)
    code_size: int = option(100, "numbers of a code, and of a slot", positive_int)
    hidden_units: int = option(400, "of the encoder's and the decoder's hidden layer", positive_int)
    set_size: int = option(32, "images of a set", positive_int)
    flipped: float = option(0.15, "share of the pixels that are corrupted for recall", fraction)

    batch_size: int = option(8, "sets", positive_int)
    learning_rate: float = option(1e-3, "of Adam", positive_float)
    out: str = option("", "run folder, new; default: runs/kanerva-DATASET-MEMORY", role=Role.FILES)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/kanerva-{self.dataset}-{self.method}"

    def check(self) -> None:
        """Refuse options that do not go together."""
        super().check()
        for name in self.not_default(Role.VARIANT) if self.method == "none" else ():
            raise ValueError(f"argument {flag(name)}: goes with --memory kanerva, not none")
        if self.method == "none" and "memory_size" in self.not_default(Role.SETTING):
            raise ValueError("argument --memory-size: goes with --memory kanerva, not none")
        for name in ("forcing_weight", "no_gate"):
            if name in self.not_default(Role.VARIANT) and not self.forcing:
                raise ValueError(f"argument {flag(name)}: goes with --forcing")

    def variant(self) -> str:
        """As a name in tables: "kanerva --conditional", "VAE"."""
        return "VAE" if self.method == "none" else super().variant()


# Data.


def load(options: Options) -> dict[str, np.ndarray]:
    """The images of "train" and "test", (n, 28, 28) of uint8."""
    readers: dict[str, Any] = {
        "omniglot": data.binarized_omniglot,
        "mnist": data.binarized_mnist,
    }
    read = readers[options.dataset]
    found = {}
    for split in ("train", "test"):
        stream = read(split, data_dir=options.data_dir).batch(1000)
        images = np.concatenate([batch.astype("uint8") for batch in stream.as_numpy_iterator()])
        found[split] = images.reshape(-1, *SHAPE)
    return found


def training_sets(images: np.ndarray, options: Options, seed: int) -> tf.data.Dataset:
    """The endless stream of batches (B, T, 28, 28) of a seed, of random images."""
    images, size = tf.constant(images), (options.batch_size, options.set_size)

    def draw(number):
        key = tf.stack([tf.constant(seed, tf.int64), number])
        places = tf.random.stateless_uniform(size, key, 0, len(images), tf.int32, alg="philox")
        return tf.cast(tf.gather(images, places), tf.float32)

    return tf.data.Dataset.counter().map(draw)


def fixed_sets(images: np.ndarray, options: Options, count: int | None = None) -> np.ndarray:
    """The sets (n, T, 28, 28) that all methods and seeds are tested on: each image once, mixed."""
    images = images[np.random.default_rng(0).permutation(len(images))]
    known = len(images) // options.set_size
    count = known if count is None else min(count, known)
    images = images[: count * options.set_size].astype("float32")
    return images.reshape(count, options.set_size, *SHAPE)


def corrupted(images: np.ndarray, share: float) -> np.ndarray:
    """Binary images, of which a share of the pixels, drawn once, is flipped."""
    flips = np.random.default_rng(1).random(images.shape) < share
    return np.where(flips, 1.0 - images, images).astype("float32")


# Training.


def make_model(options: Options, seed: int) -> TrainsOnImageSets:
    """The compiled model of one seed."""
    keras.utils.set_random_seed(seed)
    units, code = options.hidden_units, options.code_size
    width = code if options.method == "kanerva" else 2 * code
    pixels = SHAPE[0] * SHAPE[1]
    encoder = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Flatten(),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(width),
        ]
    )
    decoder = keras.Sequential(
        [
            keras.Input((code,)),
            keras.layers.Dense(units, "relu"),
            keras.layers.Dense(pixels),
            keras.layers.Reshape(SHAPE),
        ]
    )
    machine: ImageSetModel
    if options.method == "kanerva":
        machine = KanervaMachine(
            encoder,
            decoder,
            options.memory_size,
            code,
            noise=options.noise,
            autoencoder_weight=0.0 if options.no_autoencoder else 1.0,
            divergence_weight=0.0 if options.conditional else 1.0,
            code_posterior=options.code_posterior,
            seed=seed,
        )
    else:
        machine = VariationalAutoencoder(encoder, decoder, code, seed=seed)
    machine.build((None, options.set_size, *SHAPE))
    model: TrainsOnImageSets = machine
    if options.forcing:
        gate = {"gate": None} if options.no_gate else {}
        model = KanervaMemoryForcing(machine, weight=options.forcing_weight, seed=seed, **gate)
    model.compile(keras.optimizers.Adam(options.learning_rate))
    return model


class Progress(keras.callbacks.Callback):
    """One progress bar for a whole training, in intervals, with the bounds."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.bar = keras.utils.Progbar(
            options.steps // INTERVAL, unit_name="interval", stateful_metrics=["bound", "test"]
        )

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar by one interval."""
        self.bar.update(epoch + 1, [("bound", logs["bound"]), ("test", logs["val_bound"])])


def train(
    model: TrainsOnImageSets, options: Options, seed: int, folder: RunFolder, images: dict[str, Any]
) -> ImageSetModel:
    """Train one seed from the model's batch to the end; gives the machine, or the VAE.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    history, every = f"seed_{seed}.csv", options.checkpoint_intervals
    resuming.cut_history(folder, history, model.trained_steps, INTERVAL, every)
    watched = fixed_sets(images["test"], options, WATCHED_SETS)
    with folder.csv_logger(history) as logger:
        resuming.fit_from_checkpoint(
            model,
            training_sets(images["train"], options, seed),
            INTERVAL,
            options.steps // INTERVAL,
            len(folder.history(history)),
            callbacks.Checkpoint(resuming.checkpoint_of(folder, seed), epochs=every),
            callbacks=[Progress(options), logger, callbacks.StopOnNonFinite()],
            validation_data=tf.data.Dataset.from_tensor_slices(watched).batch(EVALUATED_SETS),
            verbose=0,
        )
    trained = model.trained()
    checkpoints.save_model(trained, folder / f"seed_{seed}.keras")
    return trained


def evaluate(model: ImageSetModel, options: Options, images: np.ndarray) -> dict[str, Any]:
    """The bound and its terms, nats per image, and the share of wrong pixels after each recall."""
    sets = fixed_sets(images, options)
    logs = model.evaluate(sets, batch_size=EVALUATED_SETS, verbose=0, return_dict=True)
    if isinstance(model, KanervaMachine):
        logs["nll_undrawn"] = nll_undrawn(model, sets)
        logs["conditional_bound_elsewhere"] = bound_elsewhere(model, sets)
    sets = sets[:RECALLED_SETS]
    noisy = corrupted(sets, options.flipped)
    wrong = []
    for i in range(0, len(sets), EVALUATED_SETS):
        few = sets[i : i + EVALUATED_SETS]
        found = model.recall(few, noisy[i : i + EVALUATED_SETS], ITERATIONS).numpy()
        wrong.append((found > 0.5) != (few[:, None] > 0.5))  # (sets, iterations, T, 28, 28)
    shares = [np.mean(noisy != sets), *np.concatenate(wrong).mean((0, 2, 3, 4))]
    told = samples_told_apart(model, options, images)
    return {"test": logs, "wrong_pixels": [float(share) for share in shares], "told_apart": told}


def nll_undrawn(machine: KanervaMachine, sets: np.ndarray) -> float:
    """-log p(x | R^T w) at the mean weights, as the published code has it: no part of a bound."""
    losses = []
    for few in np.array_split(sets, -(-len(sets) // EVALUATED_SETS)):
        shades = np.clip(machine.reconstruct(few).numpy(), 1e-6, 1.0 - 1e-6)
        right = np.where(few > 0.5, shades, 1.0 - shades)
        losses.append(-np.log(right).sum(axis=(2, 3)).mean(axis=1))
    return float(np.concatenate(losses).mean())


def bound_elsewhere(machine: KanervaMachine, sets: np.ndarray) -> float:
    """The conditional bound given a memory that holds another set.

    By as much as it is higher than given their own memory, what is stored helps.
    """
    losses = []
    for few in np.array_split(sets, max(1, len(sets) // EVALUATED_SETS)):
        codes = machine.encode(machine.as_images("few", few))
        other = keras.tree.map_structure(lambda x: np.roll(x, 1, axis=0), machine.write(codes))
        losses.append(machine.losses_of(few, codes, other)["conditional_bound"].numpy())
    return float(np.concatenate(losses).mean())


def samples_told_apart(
    model: ImageSetModel, options: Options, images: np.ndarray
) -> dict[str, float]:
    """How well fresh classifiers know samples from images, and the memories that hold them."""
    sets: list[np.ndarray] = []
    samples: list[np.ndarray] = []
    # Each image once: a classifier knows again what it has seen.
    known, rng = fixed_sets(images, options), np.random.default_rng(0)
    for number in range(-(-len(known) // EVALUATED_SETS)):
        batch = known[number * EVALUATED_SETS : (number + 1) * EVALUATED_SETS]
        shades = model.generate(batch, options.set_size, seed=number).numpy()
        sets.append(batch)
        samples.append((rng.random(shades.shape) < shades).astype("float32"))
    pixels = SHAPE[0] * SHAPE[1]
    real, fake = (np.concatenate(x).reshape(-1, pixels)[:TOLD_APART] for x in (sets, samples))
    results = {"samples_told_apart": told_apart(real, fake, 0)}
    if isinstance(model, KanervaMachine):
        memories = [
            np.concatenate([model.write(model.encode(x)).memory.numpy() for x in kind])
            for kind in (sets, samples)
        ]
        real, fake = (memory.reshape(len(memory), -1) for memory in memories)
        results["memories_told_apart"] = told_apart(real, fake, 0)
    return results


def told_apart(real: np.ndarray, fake: np.ndarray, seed: int) -> float:
    """The share that a small network gets right on the half of the rows that it has not seen.

    Args:
        real: (n, features).
        fake: (n, features).
        seed: of the network.
    """
    keras.utils.set_random_seed(seed)
    x = np.stack([real, fake], axis=1).reshape(-1, real.shape[1])  # taken in turns
    x = (x - x.mean(0)) / (x.std(0) + 1e-6)
    y = np.tile([1.0, 0.0], len(real))
    half = len(real) // 2 * 2
    judge = keras.Sequential([keras.layers.Dense(64, "relu"), keras.layers.Dense(1)])
    judge.compile("adam", keras.losses.BinaryCrossentropy(from_logits=True), jit_compile=False)
    judge.fit(x[:half], y[:half], batch_size=64, epochs=10, verbose=0)
    logits = judge.predict(x[half:], batch_size=1024, verbose=0)[:, 0]
    return float(np.mean((logits > 0) == (y[half:] > 0.5)))


def run_seed(
    options: Options, seed: int, folder: RunFolder, results: dict[str, Any], images: dict[str, Any]
) -> None:
    """Train and evaluate one seed, and add it to the results."""
    print(f"seed {seed}")
    path = resuming.checkpoint_of(folder, seed)
    model = resuming.latest_or(make_model(options, seed), path)
    model = train(model, options, seed, folder, images)
    if not model.compiled:
        model.compile()
    seconds = folder.history(f"seed_{seed}.csv")["seconds"].sum(skipna=False)
    found = evaluate(model, options, images["test"])
    sets = fixed_sets(images["test"], options, 2)
    folder.save_figure(f"seed_{seed}-recall.png", draw_recall(model, options, sets[:1]))
    folder.save_figure(f"seed_{seed}-samples.png", draw_samples(model, sets))
    results[str(seed)] = {**found, "seconds": round(float(seconds), 1)}
    folder.write_json(RESULTS, results)


# Tables and pictures.


def draw_recall(model: ImageSetModel, options: Options, sets: np.ndarray) -> Figure:
    """Rows of images of one set: as they are, corrupted, and after each of some recalls."""
    noisy = corrupted(sets, options.flipped)
    found = model.recall(sets, noisy, ITERATIONS).numpy()[0]
    shown = sorted({min(k, ITERATIONS) for k in (1, 2, 3, ITERATIONS)})
    columns = min(16, options.set_size)
    rows = [sets[0], noisy[0], *(found[k - 1] for k in shown)]
    pixels = np.concatenate([row[:columns] for row in rows]).reshape(-1, SHAPE[0] * SHAPE[1])
    title = f"stored, corrupted, recalled {', '.join(map(str, shown))} times"
    return plots.sample_grid(pixels, SHAPE, columns, title)


def draw_samples(model: ImageSetModel, sets: np.ndarray) -> Figure:
    """Of each of two sets a row of its images, and two of samples of the memory that holds it."""
    columns = min(16, sets.shape[1])
    samples = model.generate(sets, 2 * columns, seed=0).numpy()
    rows = [part for pair in zip(sets[:, :columns], samples, strict=True) for part in pair]
    pixels = np.concatenate(rows).reshape(-1, SHAPE[0] * SHAPE[1])
    return plots.sample_grid(pixels, SHAPE, columns, "a row of a set, two rows of samples; twice")


def report(folder: RunFolder, options: Options, results: dict[str, Any]) -> None:
    """Write the tables and draw the curves, of all runs."""
    rows: list[dict[str, Any]] = []
    recalls: list[dict[Any, Any]] = []
    learning = {}
    runs = [(folder, options, results)]
    runs += [
        (each, their, each.read_json(RESULTS)) for each, their in runs_beside(options, _SAME, TABLE)
    ]
    for each, their, found in runs:
        name = their.variant()
        for seed, result in found.items():
            terms = {log: value for log, value in result["test"].items() if log != "loss"}
            rows.append(
                {"method": name, "seed": int(seed), **terms, **result.get("told_apart", {})}
            )
            recalls.append(
                {"method": name, "seed": int(seed), **dict(enumerate(result["wrong_pixels"]))}
            )
        history = pd.concat([each.history(f"seed_{seed}.csv") for seed in found]).groupby("epoch")
        mean = history["val_bound"].mean()
        learning[name] = ((mean.index + 1) * INTERVAL).tolist(), mean.tolist()
    for name, nats in PUBLISHED[options.dataset].items():
        rows.append({"method": f"{name}, published", "conditional_bound": nats})
    table, recalled = pd.DataFrame(rows), pd.DataFrame(recalls)
    write_text(folder / "recall.csv", recalled.to_csv(index=False, float_format="%.5f"))
    means = recalled.drop(columns="seed").groupby("method", sort=False).mean()
    iterations = means.columns.tolist()
    curves: dict[str, tuple[list, list]] = {
        str(name): (iterations, (100 * shares).tolist()) for name, shares in means.iterrows()
    }
    figure = plots.curves(curves, "iterations of recall", "wrong pixels (%)")
    folder.save_figure("recall.png", figure)
    figure = plots.curves(learning, "training batches", "bound, some test sets (nats per image)")
    folder.save_figure("learning.png", figure)
    write_text(folder / TABLE, table.to_csv(index=False, float_format="%.4f"))
    print(table.drop(columns="seed").groupby("method", sort=False).mean().round(2).to_string())


def start(options: Options) -> tuple[RunFolder, Options, dict[str, Any], dict[str, np.ndarray]]:
    """Folder and options of a new run, or of one to resume, its results so far, and the images."""
    if not options.resume:
        images = load(options)  # refused before a folder is made
        runs_beside(options, _SAME, TABLE)
        return RunFolder(options.out, options), options, {}, images
    folder, stored = RunFolder.open(options.resume, Options)
    if "data_dir" in options.given:
        stored.data_dir = options.data_dir
    images = load(stored)
    folder.remove_left_over()
    results = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    return folder, stored, results, images


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    try:
        folder, options, results, images = start(Options.parse(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        for seed in options.all_seeds():
            if str(seed) not in results:
                run_seed(options, seed, folder, results, images)
            checkpoints.remove(resuming.checkpoint_of(folder, seed))
        report(folder, options, results)
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
