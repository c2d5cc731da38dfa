"""Train a generator of sequences, step by step, and draw what it does.

python -m train.sequence_generation --dataset digits --method teacher_forcing --epochs 80
python -m train.sequence_generation --dataset music --collection jsb --epochs 100

Writes a run folder: config.json, history.csv (nats per sequence, each epoch), last.keras (all that
a resumed run needs) and last.previous.keras (the checkpoint before), best.keras (the generator of
the best validation NLL; of sequence_gan, which does not minimise the NLL, that of the last epoch),
samples as pictures or text, pictures of memory and learning curves, and results.json with the NLL
of the whole test split. Ctrl-C saves; `--resume RUN` ends with the same weights and history as a
run without the interruption, also after a kill or a full disk.
"""

import dataclasses
import hashlib
import json
import math
import pathlib
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
    SequenceGAN,
    SequenceGenerator,
    TeacherForcing,
    callbacks,
    checkpoints,
    plots,
)
from train.runs import machine, resuming
from train.runs.devices import DeviceOptions, make_strategy
from train.runs.folder import RunFolder, write_text
from train.runs.model import (
    NO_MEMORY,
    SEQUENCE_GAN,
    WATCHED,
    BehaviourOptions,
    ModelOptions,
    SequenceGANOptions,
    make_optimizer,
)
from train.runs.options import (
    BASELINE,
    ExperimentOptions,
    Role,
    flag,
    option,
    positive_float,
    positive_int,
    random_seed,
    stored,
)
from train.sequence_data import (
    DATASETS,
    Images,
    SequenceData,
    Splits,
    batches_of_unequal,
    bucket_lengths,
    evaluation_batches,
    in_buckets,
    padded,
    sequences,
    steps_of,
)

METHODS = {
    BASELINE: TeacherForcing,
    "professor_forcing": ProfessorForcing,
    "memory_forcing": MemoryForcing,
    SEQUENCE_GAN: SequenceGAN,
}
HISTORY, RESULTS = "history.csv", "results.json"
LAST, BEST = "last.keras", "best.keras"
SHOWN = 64  # samples in the pictures
SCORED = 640  # validation sequences, by the discriminators after every epoch
EVALUATION_BATCH = 200  # divides every evaluated split, so nothing is compiled twice


@dataclasses.dataclass(kw_only=True)
class Options(SequenceGANOptions, BehaviourOptions, ModelOptions, DeviceOptions, ExperimentOptions):
    """The options of a run."""

    command = "train.sequence_generation"
    marker = "dataset"

    dataset: str = option("digits", "what to generate", choices=sorted(DATASETS))
    method: str = option(BASELINE, "how to train", role=Role.RUN, choices=sorted(METHODS))
    data_dir: str | None = option(
        None,
        "folder of the data: where TFDS has prepared binarized_mnist or tiny_shakespeare, or with "
        "the .mat files of the music",
        role=Role.FILES,
        resumable=True,
    )
    manual_dir: str | None = option(
        None,
        "folder with the published text files of binarized_mnist",
        role=Role.FILES,
        resumable=True,
    )
    files: Sequence[str] | None = option(
        None,
        "of lines: three text files, for training, validation and test; of strokes: one .npz",
        role=Role.FILES,
        resumable=True,
        nargs="+",
        metavar="FILE",
    )
    files_sha256: str = stored("of what --files hold, one after the other")
    collection: str = option(
        "jsb",
        "of the music",
        role=Role.RARE_SETTING,
        choices=("jsb", "muse_data", "nottingham", "piano_midi"),
    )
    length: int = option(100, "characters of a piece", positive_int, role=Role.RARE_SETTING)
    components: int = option(
        20, "of the mixture of a pen's moves", positive_int, role=Role.RARE_SETTING
    )
    epochs: int = option(
        10, "of the training split", positive_int, role=Role.RUN, resumable=True
    )  # 10 in the paper
    batch_size: int = option(64, "sequences", positive_int)
    learning_rate: float = option(1e-4, "of Adam", positive_float)
    cosine: bool = option(
        False,
        "the learning rate falls to 0 along half a cosine over the epochs; default: it is constant",
    )
    seed: int = option(
        0, "of weights, order of the sequences and noise", random_seed, role=Role.RUN
    )
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
        "--data-dir, --manual-dir and --files where the same data are",
        role=Role.FILES,
        metavar="RUN",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/{self.dataset}-{self.method}-{self.seed}"

    def check(self) -> None:
        """Refuse options of other data, and a memory's method without a memory."""
        super().check()
        if self.resume is not None:  # the run's own are checked with the changes
            return
        chosen = self.kind.arguments
        for name in sorted(frozenset().union(*(kind.arguments for kind in DATASETS.values()))):
            if name not in chosen and getattr(self, name) != DEFAULTS[name]:
                raise ValueError(f"argument {flag(name)}: --dataset {self.dataset} has none")
        if self.method == "memory_forcing" and self.cell == NO_MEMORY:
            raise ValueError(f"argument --method: --cell {NO_MEMORY} has no memory")
        if self.pictures_every is not None and not isinstance(self.kind, Images):
            raise ValueError(
                f"argument --pictures-every: --dataset {self.dataset} is drawn only at the end"
            )

    @property
    def kind(self) -> SequenceData:
        """What the data are."""
        return DATASETS[self.dataset]

    def settings(self) -> dict[str, Any]:
        """As in the base class; with `--cosine` the epochs, which set all learning rates, too."""
        epochs = {"epochs": self.epochs} if self.cosine else {}
        return dict(sorted((super().settings() | epochs).items()))

    @property
    def image_shape(self) -> tuple[int, int]:
        """(height, width) of an image.

        Raises:
            ValueError: the data are no images.
        """
        if not isinstance(self.kind, Images):
            raise ValueError(f"the data must be images for this, got --dataset {self.dataset}.")
        return self.kind.shape


DEFAULTS = {field.name: field.default for field in dataclasses.fields(Options)}


def load(options: Options) -> Splits:
    """The dataset's splits by name, unbatched: of images (T, 1) of 0/1."""
    return options.kind.load(options)


def images(split: tf.data.Dataset) -> np.ndarray:
    """All sequences of a split of equal lengths, (n, T, *step)."""
    return np.stack(sequences(split))


def make_model(options: Options, steps: int | None = None) -> keras.Model:
    """The compiled model that trains; `--cosine` needs `steps`, those of the whole training."""
    output = options.kind.output(options)
    generator = SequenceGenerator(options.make_cell(output.size), output)
    optimizer = make_optimizer(options.learning_rate, steps if options.cosine else None)
    # The lengths of a stream of unequal ones are not in its specification, and yet few.
    compiling: dict[str, Any] = {"jit_compile": "loops" if options.kind.unequal else "auto"}
    if options.method == BASELINE:
        model = TeacherForcing(generator)
        model.compile(optimizer, **compiling)
    else:
        if options.method == SEQUENCE_GAN:
            arguments = options.sequence_gan()
        else:
            arguments = options.of_behaviours(WATCHED[options.method])
        model = METHODS[options.method](generator, seed=options.seed, **arguments)
        discriminators = options.discriminator_optimizer()
        model.compile(optimizer, discriminator_optimizer=discriminators, **compiling)
    return model


def lengths_of(splits: Splits, options: Options) -> tuple[int, ...] | None:
    """The numbers of steps that batches have; None where all sequences have the same."""
    return bucket_lengths(splits) if options.kind.unequal else None


def batching(
    split: tf.data.Dataset, options: Options, lengths: Sequence[int] | None = None
) -> tuple[int, int]:
    """Sequences of a batch, and batches of an epoch."""
    size = int(split.cardinality())
    batch_size = min(options.batch_size, size)
    if lengths is None:
        return batch_size, size // batch_size
    buckets = in_buckets(steps_of(split), lengths, batch_size)
    return batch_size, sum(len(indices) // rows for _, indices, rows in buckets)


def training_batches(
    split: tf.data.Dataset, batch_size: int, seed: int, lengths: Sequence[int] | None = None
) -> tf.data.Dataset:
    """An endless stream of batches, each epoch in an order that seed and epoch determine.

    So a resumed run skips the batches that it has seen and continues with the same ones.
    """
    if lengths is not None:
        return batches_of_unequal(split, lengths, batch_size, seed)
    steps = tf.constant(images(split).astype("uint8"))  # bits, or tokens of a small vocabulary
    size = len(steps)
    dtype = tf.int32 if split.element_spec.dtype == tf.int32 else tf.float32

    def epoch(index):
        order = tf.random.experimental.stateless_shuffle(tf.range(size), seed=[seed, index])
        chosen = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return chosen.map(lambda rows: tf.cast(tf.gather(steps, rows), dtype))

    return tf.data.Dataset.counter().flat_map(epoch)


def train(model: keras.Model, splits: Splits, options: Options, folder: RunFolder) -> int:
    """Fit from the model's step to the last epoch; returns the epoch of the best generator.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    lengths = lengths_of(splits, options)
    batch_size, per_epoch = batching(splits["train"], options, lengths)
    history = folder.history(HISTORY)
    # Of one validation split the NLL per sequence and that per step have the same order.
    kind = SaveLast if options.method == SEQUENCE_GAN else callbacks.SaveBest
    best = kind(folder / BEST, model.generator)
    if len(history):
        row = chosen_row(history, options.method)
        best.best, best.best_epoch = float(history["val_nll"][row]), row + 1
    with folder.csv_logger(HISTORY) as logger:
        resuming.fit_from_checkpoint(
            model,
            training_batches(splits["train"], batch_size, options.seed, lengths),
            per_epoch,
            options.epochs,
            len(history),
            callbacks.Checkpoint(folder / LAST, every=options.checkpoint_steps),
            validation_data=evaluation_batches(splits["validation"], lengths, EVALUATION_BATCH),
            callbacks=[
                callbacks.StopOnNonFinite(),
                best,
                *scores(model, splits["validation"], options),
                logger,
                *pictures(model, splits, options, folder),
            ],
        )
    return best.best_epoch


class SaveLast(callbacks.SaveBest):
    """Keeps the generator of the last epoch."""

    def on_epoch_end(self, epoch, logs=None):
        """Save."""
        self.best = math.inf
        super().on_epoch_end(epoch, logs)


def chosen_row(history: pd.DataFrame, method: str) -> int:
    """The row of the epoch whose generator is kept."""
    return len(history) - 1 if method == SEQUENCE_GAN else int(history["val_nll"].argmin())


def scores(
    model: keras.Model, validation: tf.data.Dataset, options: Options
) -> list[callbacks.DiscriminatorScores]:
    """The callback that scores discriminators of behaviours on sequences that they do not see."""
    if options.method not in WATCHED:
        return []
    held_out = sequences(validation.take(SCORED))
    if not options.kind.unequal:
        return [callbacks.DiscriminatorScores(model, np.stack(held_out), seed=options.seed)]
    weighted = [(x, np.ones(len(x), "float32")) for x in held_out]
    x, sample_weight = padded(weighted, max(map(len, held_out)))
    return [callbacks.DiscriminatorScores(model, x, sample_weight, seed=options.seed)]


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
    generator: SequenceGenerator,
    splits: Sequence[tf.data.Dataset],
    lengths: Sequence[int] | None = None,
) -> list[dict[str, float]]:
    """NLL of whole splits: for each a dict of nats per sequence and step, and bits per step."""
    model = TeacherForcing(generator)
    # What is seen once, in batches of many shapes, is not worth XLA's compilation.
    model.compile(jit_compile="auto" if lengths is None else False)
    found = []
    for split in splits:
        batches = evaluation_batches(split, lengths, EVALUATION_BATCH)
        logs = model.evaluate(batches, verbose=0, return_dict=True)
        names = ("nll", "nll_per_step", "bits_per_step")
        found.append({name: float(logs[name]) for name in names})
    return found


def draw(generator: SequenceGenerator, splits: Splits, options: Options, folder: RunFolder) -> None:
    """The pictures of a run: samples, data, memory and the curves of its history."""
    real = sequences(splits["train"].take(SHOWN))
    length = max(len(x) for x in real)
    samples = keras.ops.convert_to_numpy(generator.sample(SHOWN, length, seed=options.seed))
    options.kind.save(samples, folder)
    pictured: dict[str, tuple[str, Sequence[np.ndarray]]] = {
        "samples": ("samples", samples),
        "data": (f"training {options.kind.sequence}s", real),
    }
    for name, (title, found) in pictured.items():
        picture = options.kind.picture(found, title, options)
        if isinstance(picture, str):
            write_text(folder / f"{name}.txt", picture)
        else:
            folder.save_figure(f"{name}.png", picture)
    if options.cell != NO_MEMORY:
        draw_memory(generator, real[0], options, folder)
    for name, figure in plots.training_curves(curves_of(folder.history(HISTORY))).items():
        folder.save_figure(f"{name}.png", figure)


def draw_memory(
    generator: SequenceGenerator, sequence: np.ndarray, options: Options, folder: RunFolder
) -> None:
    """The pictures of the memory, on a sequence and running free."""
    _, trace = generator.teacher_force(sequence[np.newaxis])
    memory = trace.memory[0]
    title = f"memory, one {options.kind.sequence}"
    folder.save_figure("memory.png", plots.memory_heatmaps(memory, title=title))
    _, _, free = generator.free_run(1, len(memory), seed=options.seed)
    both = {"teacher-forced": memory, "free-running": free.memory[0]}
    folder.save_figure("memory_free_running.png", plots.memory_comparison(both))
    writes = getattr(trace, "write_weights", None)  # which a cell need not have
    writes = None if writes is None else writes[0]
    over_time = plots.memory_over_time(memory, writes, trace.read_weights[0])
    folder.save_figure("memory_over_time.png", over_time)


def check_possible(dataset: str, nll: float) -> None:
    """Check that a model of the data can have this NLL, in nats per sequence.

    Raises:
        ValueError: it is below the data's `lowest_nll`.
    """
    lowest = DATASETS[dataset].lowest_nll
    if nll < lowest:
        raise ValueError(
            f"ALARM: {nll:.2f} nats is below {lowest}, which no model of this data can reach. The "
            "model sees what it should predict, or the data or the evaluation is wrong."
        )


def finish(options: Options, splits: Splits, best_epoch: int, folder: RunFolder) -> None:
    """Evaluate and draw the best generator; write and print the results."""
    generator = checkpoints.load(folder / BEST)
    evaluated, kind = [splits["test"], splits["validation"]], options.kind
    found = evaluate(generator, evaluated, lengths_of(splits, options))
    test, validation = (
        kind.measure(generator, split, logs) for split, logs in zip(evaluated, found, strict=True)
    )
    results = {
        "weights": generator.count_params(),
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
    chosen = "the last" if options.method == SEQUENCE_GAN else "the best epoch by validation"
    print(f"test NLL: {kind.describe(test)}, at {chosen}, {best_epoch}")
    for line in game(folder.history(HISTORY), options):
        print(line)
    print(f"run folder: {folder.path}")
    try:
        check_possible(options.dataset, test["nll"])
    except ValueError as error:
        sys.exit(str(error))


def game(history: pd.DataFrame, options: Options) -> list[str]:
    """What the discriminators of a run did, a line each; none of a run without."""
    lines = []
    for field in WATCHED.get(options.method, ()):
        log = f"{field}_discriminator"
        opened = 100 * history[f"{log}_gate_open"].mean()
        line = f"{field}: the generator received the discriminator's gradient in {opened:.0f} % of "
        line += f"the steps; accuracy in the last epoch {history[f'{log}_accuracy'].iloc[-1]:.2f}"
        if f"val_{log}_auc" in history:
            line += f", AUC on held-out behaviours {history[f'val_{log}_auc'].iloc[-1]:.2f}"
        lines.append(f"{line} (chance: 0.5)")
    return lines


def start(options: Options) -> tuple[Options, Splits, RunFolder, keras.Model]:
    """Options, data, folder and model of a new run, or of one to resume."""
    folder = None
    if options.resume:
        folder, options = resumed(options.resume, options)
    strategy, splits = make_strategy(options, options.batch_size), load(options)
    if folder is None:
        options = dataclasses.replace(options, files_sha256=digest(options))
        folder = RunFolder(options.out, options)
    else:
        folder.remove_left_over()
    keras.utils.set_random_seed(options.seed)
    per_epoch = batching(splits["train"], options, lengths_of(splits, options))[1]
    with strategy.scope():
        new = make_model(options, options.epochs * per_epoch)
        model = resuming.latest_or(new, folder / LAST)
    resuming.go_on(folder, options, HISTORY, model.trained_steps, per_epoch)
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
    changed = dataclasses.replace(own, **changes)
    if "files" in changes and own.files_sha256 not in ("", digest(changed)):
        raise ValueError("--files must hold what they held when the run was started, got others.")
    return folder, changed


def digest(options: Options) -> str:
    """The SHA-256 of what `--files` hold, one after the other; "" without."""
    if not options.files:
        return ""
    found = hashlib.sha256()
    for file in options.files:
        found.update(pathlib.Path(file).read_bytes())
    return found.hexdigest()


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
