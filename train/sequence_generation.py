"""Train a generator of images, pixel by pixel, and draw what it does.

python -m train.sequence_generation --dataset digits --method teacher_forcing --epochs 80

Writes a run folder: config.json, history.csv (nats per image, each epoch), last.keras (all that a
resumed run needs) and last.previous.keras (the checkpoint before), best.keras (the generator of the
best validation NLL), pictures of samples, memory and learning curves, and results.json with the NLL
of the whole test split. Ctrl-C saves; `--resume RUN` ends with the same weights and history as a
run without the interruption, also after a kill or a full disk.
"""

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mf_keras import (
    MemoryForcing,
    ProfessorForcing,
    SequenceGenerator,
    TeacherForcing,
    callbacks,
    checkpoints,
    data,
    plots,
)
from train.runs import machine, resuming
from train.runs.devices import DeviceOptions, make_strategy
from train.runs.folder import RunFolder
from train.runs.model import ForcingOptions, ModelOptions, make_optimizer
from train.runs.options import (
    BASELINE,
    ExperimentOptions,
    Role,
    option,
    positive_float,
    positive_int,
    random_seed,
)

# The binarisation of MNIST is a random draw; no model of it can have a lower NLL in nats per image
# than the entropy of that draw, some 45.5, and the information of an image's class. Below it
# something is wrong, such as a model that sees the pixel it predicts.
LOWEST_POSSIBLE_NLL = {"binarized_mnist": 47.0, "digits": 0.0}
IMAGE_SHAPES = {"binarized_mnist": data.BINARIZED_MNIST_SHAPE, "digits": data.DIGITS_SHAPE}
METHODS = {
    BASELINE: TeacherForcing,
    "professor_forcing": ProfessorForcing,
    "memory_forcing": MemoryForcing,
}
HISTORY, RESULTS = "history.csv", "results.json"
LAST, BEST = "last.keras", "best.keras"
SPLITS = ("train", "validation", "test")
EVALUATION_BATCH = 200  # divides every evaluated split, so nothing is compiled twice

Splits = dict[str, tf.data.Dataset]


@dataclasses.dataclass(kw_only=True)
class Options(ForcingOptions, ModelOptions, DeviceOptions, ExperimentOptions):
    """The options of a run."""

    command = "train.sequence_generation"
    marker = "dataset"

    dataset: str = option("digits", "images to generate", choices=sorted(IMAGE_SHAPES))
    method: str = option(BASELINE, "how to train", role=Role.RUN, choices=sorted(METHODS))
    data_dir: str | None = option(
        None,
        "folder where TFDS has prepared binarized_mnist",
        role=Role.FILES,
        resumable=True,
    )
    manual_dir: str | None = option(
        None,
        "folder with the published text files of binarized_mnist",
        role=Role.FILES,
        resumable=True,
    )
    epochs: int = option(
        10, "of the training split", positive_int, role=Role.RUN, resumable=True
    )  # 10 in the paper
    batch_size: int = option(64, "images", positive_int)
    learning_rate: float = option(1e-4, "of Adam", positive_float)
    cosine: bool = option(
        False,
        "the learning rate falls to 0 along half a cosine over the epochs; default: it is constant",
    )
    seed: int = option(0, "of weights, order of the images and noise", random_seed, role=Role.RUN)
    out: str = option("", "run folder, new; default: runs/DATASET-METHOD-SEED", role=Role.FILES)
    pictures_every: int | None = option(
        None,
        "draw samples and memory during the training, to RUN/pictures and, for TensorBoard, "
        "RUN/events; default: only at the end",
        positive_int,
        role=Role.FILES,
        metavar="EPOCHS",
    )
    checkpoint_steps: int = option(
        200,
        "between two checkpoints inside an epoch",
        positive_int,
        role=Role.FILES,
        metavar="STEPS",
    )
    resume: str | None = option(
        None,
        "resume the run in this folder with its own options; --epochs changes how many, "
        "--data-dir and --manual-dir where the data are",
        role=Role.FILES,
        metavar="RUN",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/{self.dataset}-{self.method}-{self.seed}"

    def settings(self) -> dict[str, Any]:
        """As in the base class; with `--cosine` the epochs, which set all learning rates, too."""
        epochs = {"epochs": self.epochs} if self.cosine else {}
        return dict(sorted((super().settings() | epochs).items()))

    @property
    def image_shape(self) -> tuple[int, int]:
        """(height, width) of an image."""
        return IMAGE_SHAPES[self.dataset]


def load(options: Options) -> Splits:
    """The dataset's splits by name, unbatched: images (T, 1) of 0/1."""
    if options.dataset == "digits":
        return {split: data.digits(split) for split in SPLITS}
    folders = {"data_dir": options.data_dir, "manual_dir": options.manual_dir}
    return {split: data.binarized_mnist(split, **folders) for split in SPLITS}


def images(split: tf.data.Dataset) -> np.ndarray:
    """All images of a split, (n, T, 1)."""
    return np.stack(list(split.as_numpy_iterator()))


def make_model(options: Options, steps: int | None = None) -> keras.Model:
    """The compiled model that trains; `--cosine` needs `steps`, those of the whole training."""
    generator = SequenceGenerator(options.make_cell(units=1))
    optimizer = make_optimizer(options.learning_rate, steps if options.cosine else None)
    if options.method == BASELINE:
        model = TeacherForcing(generator)
        model.compile(optimizer)
    else:
        model = METHODS[options.method](generator, seed=options.seed, **options.gate())
        model.compile(optimizer, discriminator_optimizer=options.discriminator_optimizer())
    return model


def batching(split: tf.data.Dataset, options: Options) -> tuple[int, int]:
    """Images of a batch, and batches of an epoch."""
    size = int(split.cardinality())
    batch_size = min(options.batch_size, size)
    return batch_size, size // batch_size


def training_batches(split: tf.data.Dataset, batch_size: int, seed: int) -> tf.data.Dataset:
    """An endless stream of batches, each epoch in an order that seed and epoch determine.

    So a resumed run skips the batches that it has seen and continues with the same ones.
    """
    pixels = tf.constant(images(split).astype("uint8"))
    size = len(pixels)

    def epoch(index):
        order = tf.random.experimental.stateless_shuffle(tf.range(size), seed=[seed, index])
        chosen = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return chosen.map(lambda rows: tf.cast(tf.gather(pixels, rows), tf.float32))

    return tf.data.Dataset.counter().flat_map(epoch)


def train(model: keras.Model, splits: Splits, options: Options, folder: RunFolder) -> int:
    """Fit from the model's step to the last epoch; returns the epoch of the best generator.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    batch_size, per_epoch = batching(splits["train"], options)
    history = folder.history(HISTORY)
    best = callbacks.SaveBest(folder / BEST, model.generator)
    if len(history):
        row = int(history["val_nll"].argmin())
        best.best, best.best_epoch = float(history["val_nll"][row]), row + 1
    with folder.csv_logger(HISTORY) as logger:
        resuming.fit_from_checkpoint(
            model,
            training_batches(splits["train"], batch_size, options.seed),
            per_epoch,
            options.epochs,
            len(history),
            callbacks.Checkpoint(folder / LAST, every=options.checkpoint_steps),
            validation_data=splits["validation"].batch(EVALUATION_BATCH),
            callbacks=[
                callbacks.StopOnNonFinite(),
                best,
                logger,
                *pictures(model, splits, options, folder),
            ],
        )
    return best.best_epoch


def pictures(
    model: keras.Model, splits: Splits, options: Options, folder: RunFolder
) -> list[keras.callbacks.Callback]:
    """The callback that draws during the training, if the options ask for it."""
    if options.pictures_every is None:
        return []
    drawing = callbacks.Pictures(
        folder / "pictures",
        model.generator,
        example=next(splits["train"].as_numpy_iterator()),
        image_shape=options.image_shape,
        every=options.pictures_every,
        seed=options.seed,
        tensorboard=folder / "events",
    )
    logs = curves_of(folder.history(HISTORY))
    drawing.history = {name: list(zip(*series, strict=True)) for name, series in logs.items()}
    return [drawing]


def curves_of(history: pd.DataFrame) -> dict[str, tuple[list[int], list[float]]]:
    """Name of a log -> its epochs, counted from 1, and its values."""
    logs = history.drop(columns="epoch", errors="ignore")
    epochs = [int(epoch) + 1 for epoch in history.get("epoch", [])]
    return {str(name): (epochs, values.tolist()) for name, values in logs.items()}


def evaluate(
    generator: SequenceGenerator, splits: Sequence[tf.data.Dataset]
) -> list[dict[str, float]]:
    """NLL of whole splits: for each a dict of nats per image and bits per pixel."""
    model = TeacherForcing(generator)
    model.compile()
    found = []
    for split in splits:
        logs = model.evaluate(split.batch(EVALUATION_BATCH), verbose=0, return_dict=True)
        found.append({name: float(logs[name]) for name in ("nll", "bits_per_step")})
    return found


def draw(generator: SequenceGenerator, splits: Splits, options: Options, folder: RunFolder) -> None:
    """The pictures of a run: samples, images, memory and the curves of its history."""
    shape = options.image_shape
    samples = generator.sample(64, math.prod(shape), seed=options.seed)
    folder.save_figure("samples.png", plots.sample_grid(samples, shape, title="samples"))
    real = images(splits["train"].take(64))
    folder.save_figure("data.png", plots.sample_grid(real, shape, title="training images"))
    _, trace = generator.teacher_force(real[:1])
    memory = trace.memory[0]
    folder.save_figure("memory.png", plots.memory_heatmaps(memory, title="memory, one image"))
    _, _, free = generator.free_run(1, len(memory), seed=options.seed)
    both = {"teacher-forced": memory, "free-running": free.memory[0]}
    folder.save_figure("memory_free_running.png", plots.memory_comparison(both))
    writes = getattr(trace, "write_weights", None)  # which a cell need not have
    writes = None if writes is None else writes[0]
    over_time = plots.memory_over_time(memory, writes, trace.read_weights[0])
    folder.save_figure("memory_over_time.png", over_time)
    for name, figure in plots.training_curves(curves_of(folder.history(HISTORY))).items():
        folder.save_figure(f"{name}.png", figure)


def check_possible(dataset: str, nll: float) -> None:
    """Check that a model of the data can have this NLL, in nats per image.

    Raises:
        ValueError: it is below `LOWEST_POSSIBLE_NLL`.
    """
    lowest = LOWEST_POSSIBLE_NLL[dataset]
    if nll < lowest:
        raise ValueError(
            f"ALARM: {nll:.2f} nats is below {lowest}, which no model of this data can reach. The "
            "model sees what it should predict, or the data or the evaluation is wrong."
        )


def finish(options: Options, splits: Splits, best_epoch: int, folder: RunFolder) -> None:
    """Evaluate and draw the best generator; write and print the results."""
    generator = checkpoints.load(folder / BEST)
    test, validation = evaluate(generator, [splits["test"], splits["validation"]])
    results = {
        "test": test,
        "validation": validation,
        "best_epoch": best_epoch,
        "epochs": options.epochs,
        # Of an interrupted epoch, those since the run was resumed.
        "train_seconds": round(float(folder.history(HISTORY)["seconds"].sum()), 1),
        **machine.describe(),
    }
    folder.write_json(RESULTS, results)
    draw(generator, splits, options, folder)
    print(
        f"test NLL: {test['nll']:.2f} nats per image, at the best epoch by validation, {best_epoch}"
    )
    print(f"run folder: {folder.path}")
    try:
        check_possible(options.dataset, test["nll"])
    except ValueError as error:
        sys.exit(str(error))


def start(options: Options) -> tuple[Options, Splits, RunFolder, keras.Model]:
    """Options, data, folder and model of a new run, or of one to resume."""
    folder = None
    if options.resume:
        folder, options = resumed(options.resume, options)
    strategy, splits = make_strategy(options, options.batch_size), load(options)
    if folder is None:
        folder = RunFolder(options.out, options)
    else:
        folder.remove_left_over()
    keras.utils.set_random_seed(options.seed)
    per_epoch = batching(splits["train"], options)[1]
    with strategy.scope():
        new = make_model(options, options.epochs * per_epoch)
        model = checkpoints.load_latest(folder / LAST, like=new)
    if model is not None:
        print(f"resuming from step {model.trained_steps}")
    model = new if model is None else model
    started = math.ceil(model.trained_steps / per_epoch)
    if options.epochs < started:
        raise ValueError(
            f"--epochs must be at least the {started} that the run has, got {options.epochs}."
        )
    resuming.cut_history(folder, HISTORY, model.trained_steps, per_epoch)
    folder.write_options(options)  # perhaps with more epochs
    if len(folder.history(HISTORY)) < options.epochs:
        (folder / RESULTS).unlink(missing_ok=True)  # those of fewer
    return options, splits, folder, model


def resumed(path: str, options: Options) -> tuple[RunFolder, Options]:
    """The folder of the run to resume and its options, changed by those of the command line."""
    folder, own = RunFolder.open(path, Options)
    changes = {name: getattr(options, name) for name in options.given - {"resume"}}
    epochs = changes.get("epochs", own.epochs)
    if own.cosine and epochs != own.epochs:
        raise ValueError(
            f"--epochs must be the {own.epochs} over which --cosine lowers the learning rate of "
            f"this run, got {epochs}."
        )
    return folder, dataclasses.replace(own, **changes)


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    try:
        options, splits, folder, model = start(Options.parse(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{model.generator.count_params()} weights; settings: {json.dumps(options.config())}")
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        best_epoch = train(model, splits, options, folder)
        finish(options, splits, best_epoch, folder)


if __name__ == "__main__":
    main()
