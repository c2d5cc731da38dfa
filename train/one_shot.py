"""Learn to classify characters of new classes within an episode (Santoro et al. 2016).

python -m train.one_shot --method mann --seeds 3 --data-dir FOLDER
python -m train.one_shot --method lstm --seeds 3 --data-dir FOLDER --beside runs/one_shot-mann

FOLDER holds Omniglot as TensorFlow Datasets prepares it. Writes a run folder: config.json; for each
seed seed_K.csv (a row per interval of 200 batches: NLL in nats and wrong labels per episode, the
share of right labels at every presentation of a class in new episodes of new classes, seconds),
seed_K.keras, the trained transducer, and seed_K.png, an episode with its answers; results.json and
accuracy.csv with the shares at the end, beside the nearest neighbour's on the same episodes, the
published ones and those of other runs; learning.png and accuracy.png. Ctrl-C saves; `--resume RUN`
resumes an interrupted run from its last checkpoint to the same weights and rows.
"""

import dataclasses
import sys
from typing import Any

import keras
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mf_keras import (
    DNCCell,
    KanervaCell,
    MANNCell,
    SequenceTransducer,
    TeacherForcing,
    callbacks,
    checkpoints,
    data,
    plots,
)
from mf_keras.cells import MemoryCell
from mf_keras.outputs import Categorical
from train.runs import resuming
from train.runs.beside import runs_beside
from train.runs.devices import use_few_threads
from train.runs.folder import RunFolder, write_text
from train.runs.memoryless import MemorylessCell
from train.runs.options import (
    INTERVAL,
    ImageOptions,
    Role,
    flag,
    option,
    positive_float,
    positive_int,
)

METHODS = ("mann", "dnc", "kanerva", "lstm")
RESULTS, TABLE = "results.json", "accuracy.csv"
TEST_EPISODES, TEST_SEED = 400, 2**40  # a stream that no seed of a run draws
WATCHED_EPISODES = 100  # of these, after every interval
MEMORY = ("memory_size", "word_size", "num_reads")
_EPISODES = ("classes", "shots", "image_size")  # options of what is compared
# Table 1 of the paper, 5 classes with one-hot labels: per cent right at these presentations.
PUBLISHED_AT = (1, 2, 3, 4, 5, 10)
PUBLISHED = {
    "MANN, published": (36.4, 82.8, 91.0, 92.6, 94.9, 98.1),
    "LSTM, published": (24.4, 49.5, 55.3, 61.0, 63.6, 62.5),
}


@dataclasses.dataclass(kw_only=True)
class Options(ImageOptions):
    """The options of a run."""

    command = "train.one_shot"
    marker = "shots"

    method: str = option("mann", "what has the memory", role=Role.RUN, choices=METHODS)
    strengths: bool = option(False, "of the MANN: learned key strengths", role=Role.VARIANT)
    write_vectors: bool = option(
        False, "of the MANN: write vectors other than the keys", role=Role.VARIANT
    )
    controller_units: int = option(100, "of the LSTM; the paper has 200", positive_int)
    memory_size: int = option(64, "slots of the memory; the paper has 128", positive_int)
    word_size: int = option(20, "length of a slot; the paper has 40", positive_int)
    num_reads: int = option(4, "read heads", positive_int)

    steps: int = option(
        20_000, f"training batches, a multiple of {INTERVAL}", positive_int, role=Role.RUN
    )
    classes: int = option(5, "of an episode", positive_int)
    shots: int = option(10, "images of a class in an episode", positive_int)
    image_size: int = option(14, "pixels of a side; the paper has 20", positive_int)
    batch_size: int = option(16, "episodes", positive_int)
    learning_rate: float = option(1e-3, "of Adam", positive_float)
    out: str = option("", "run folder, new; default: runs/one_shot-METHOD", role=Role.FILES)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/one_shot-{self.method}"

    def check(self) -> None:
        """Refuse numbers that do not go together."""
        super().check()
        for name in ("strengths", "write_vectors"):
            if getattr(self, name) and self.method != "mann":
                raise ValueError(
                    f"argument {flag(name)}: goes with --method mann, not {self.method}"
                )
        if self.method == "lstm":
            for name in self.not_default(Role.SETTING).keys() & {*MEMORY}:
                raise ValueError(
                    f"argument --{name.replace('_', '-')}: --method lstm has no memory"
                )

    def make_cell(self) -> MemoryCell:
        """The cell, which gives a logit a class."""
        sizes: dict[str, Any] = {name: getattr(self, name) for name in MEMORY}
        kinds: dict[str, Any] = {"dnc": DNCCell, "kanerva": KanervaCell, "mann": MANNCell}
        controller = keras.layers.LSTMCell(self.controller_units)
        if self.method == "lstm":
            return MemorylessCell(controller, self.classes, 1, 1, 1)
        if self.method == "mann":
            sizes |= {"strengths": self.strengths, "write_vectors": self.write_vectors}
        return kinds[self.method](controller, self.classes, **sizes)

    def episodes(self, split: str, seed: int) -> Any:
        """The stream of a split of the classes."""
        return data.omniglot_episodes(
            split,
            self.classes,
            self.shots,
            self.image_size,
            seed=seed,
            data_dir=self.data_dir,
        )


# What is measured.


def presentations(targets: np.ndarray) -> np.ndarray:
    """How often the class of each step has come before: (B, T) of ints for labels (B, T)."""
    same = targets[:, :, None] == targets[:, None, :]
    return np.tril(same, -1).sum(-1)


def accuracy_by_presentation(answers: np.ndarray, targets: np.ndarray) -> list[float]:
    """The share of right labels at the 1st, 2nd, ... presentation of a class.

    Args:
        answers: (B, T) of labels.
        targets: (B, T) of labels.
    """
    times = presentations(targets)
    right = answers == targets
    return [float(right[times == k].mean()) for k in range(times.max() + 1)]


def nearest_neighbours(images: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The label of the most similar image before, by the cosine of their pixels; 0 at first.

    Args:
        images: (B, T, pixels).
        targets: (B, T) of labels.

    Returns:
        (B, T) of labels.
    """
    lengths = np.linalg.norm(images, axis=-1, keepdims=True)
    units = images / np.maximum(lengths, 1e-6)
    similarity = units @ units.transpose(0, 2, 1)
    similarity[:, ~np.tri(images.shape[1], k=-1, dtype=bool)] = -np.inf  # only those before
    nearest = similarity.argmax(-1)
    answers = np.take_along_axis(targets, nearest, axis=1)
    answers[:, 0] = 0
    return answers


def fixed_episodes(options: Options, split: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets of the episodes that all methods and seeds are tested on."""
    batch = options.episodes(split, TEST_SEED).batch(count).take(1)
    inputs, targets, _ = next(batch.as_numpy_iterator())
    return inputs, targets


def answer(model: TeacherForcing, inputs: np.ndarray) -> np.ndarray:
    """The model's logits, (B, T, classes)."""
    return model.predict(inputs, batch_size=WATCHED_EPISODES, verbose=0)


# Training.


def make_model(options: Options, seed: int) -> TeacherForcing:
    """The compiled model of one seed."""
    keras.utils.set_random_seed(seed)
    transducer = SequenceTransducer(options.make_cell(), Categorical(options.classes))
    transducer.build((None, None, options.image_size**2 + options.classes))
    model = TeacherForcing(transducer)
    model.compile(keras.optimizers.Adam(options.learning_rate))
    return model


class Watch(keras.callbacks.Callback):
    """Adds the accuracies in new episodes to the logs, and shows them beside a progress bar."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.inputs, self.targets = fixed_episodes(options, "test", WATCHED_EPISODES)
        names = ["nll", "first", "second", "last"]
        intervals = options.steps // INTERVAL
        self.bar = keras.utils.Progbar(intervals, unit_name="interval", stateful_metrics=names)

    def on_epoch_end(self, epoch, logs=None):
        """Test, and advance the bar by one interval."""
        answers = answer(self.model, self.inputs).argmax(-1)
        shares = accuracy_by_presentation(answers, self.targets)
        logs.update({f"accuracy_{k}": share for k, share in enumerate(shares, 1)})
        shown = {"first": shares[0], "second": shares[min(1, len(shares) - 1)], "last": shares[-1]}
        self.bar.update(epoch + 1, [("nll", logs["nll"]), *shown.items()])


def train(model: TeacherForcing, options: Options, seed: int, folder: RunFolder) -> None:
    """Train one seed from the model's batch to the end.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    history, every = f"seed_{seed}.csv", options.checkpoint_intervals
    resuming.cut_history(folder, history, model.trained_steps, INTERVAL, every)
    stream = options.episodes("train", seed).batch(options.batch_size, drop_remainder=True)
    with folder.csv_logger(history) as logger:
        resuming.fit_from_checkpoint(
            model,
            stream,
            INTERVAL,
            options.steps // INTERVAL,
            len(folder.history(history)),
            callbacks.Checkpoint(resuming.checkpoint_of(folder, seed), epochs=every),
            callbacks=[Watch(options), logger, callbacks.StopOnNonFinite()],
            verbose=0,
        )
    checkpoints.save_model(model.generator, folder / f"seed_{seed}.keras")


def evaluate(model: TeacherForcing, options: Options) -> dict[str, list[float]]:
    """Accuracies by presentation in new episodes, of the classes of both splits."""
    accuracies = {}
    for split in ("train", "test"):
        inputs, targets = fixed_episodes(options, split, TEST_EPISODES)
        answers = answer(model, inputs).argmax(-1)
        accuracies[split] = accuracy_by_presentation(answers, targets)
    return accuracies


def run_seed(options: Options, seed: int, folder: RunFolder, results: dict[str, Any]) -> None:
    """Train and evaluate one seed, and add it to the results."""
    print(f"seed {seed}")
    path = resuming.checkpoint_of(folder, seed)
    model = resuming.latest_or(make_model(options, seed), path)
    train(model, options, seed, folder)
    seconds = folder.history(f"seed_{seed}.csv")["seconds"].sum(skipna=False)
    results[str(seed)] = {**evaluate(model, options), "seconds": round(float(seconds), 1)}
    folder.write_json(RESULTS, results)
    inputs, targets = fixed_episodes(options, "test", 1)
    logits = answer(model, inputs)
    images = inputs[0, :, : options.image_size**2]
    folder.save_figure(f"seed_{seed}.png", draw_episode(images, targets[0], logits[0]))


# Tables and pictures.


def draw_episode(images: np.ndarray, targets: np.ndarray, logits: np.ndarray) -> Figure:
    """The images of an episode in their order, each with its label and the model's answer.

    Args:
        images: (T, pixels) in [0, 1], square.
        targets: (T,) of labels.
        logits: (T, classes).
    """
    size, columns = int(np.sqrt(images.shape[1])), 10
    rows = -(-len(images) // columns)
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares = powers / powers.sum(-1, keepdims=True)
    times = presentations(targets[None])[0]
    figure = Figure(figsize=(0.9 * columns, 1.2 * rows + 0.4), layout="constrained")
    figure.suptitle("label, presentation: answer, its probability", fontsize=9)
    for i, axes in enumerate(figure.subplots(rows, columns, squeeze=False).ravel()):
        axes.set_axis_off()
        if i < len(images):
            axes.imshow(images[i].reshape(size, size), cmap="gray_r", vmin=0.0, vmax=1.0)
            guess = int(shares[i].argmax())
            colour = "#009E73" if guess == targets[i] else "#D55E00"
            words = f"{targets[i]}, {times[i] + 1}: {guess}, {shares[i, guess]:.2f}"
            axes.set_title(words, fontsize=6, color=colour, pad=2)
    return figure


def accuracy_rows(options: Options, results: dict[str, Any]) -> list[dict[Any, Any]]:
    """Rows of the table: of each seed of a run, in new classes."""
    return [
        {"method": options.variant(), "seed": int(seed), **dict(enumerate(result["test"], 1))}
        for seed, result in results.items()
        if seed.isdecimal()
    ]


def table(options: Options, results: dict[str, Any]) -> pd.DataFrame:
    """A row for each seed of this and of other runs, the nearest neighbour, what is published."""
    rows = accuracy_rows(options, results)
    for folder, their in runs_beside(options, _EPISODES, TABLE):
        rows += accuracy_rows(their, folder.read_json(RESULTS))
    nearest = enumerate(results["nearest neighbour"], 1)
    rows.append({"method": "nearest neighbour", **dict(nearest)})
    if (options.classes, options.shots) == (5, 10):
        for name, percents in PUBLISHED.items():
            shares = (percent / 100 for percent in percents)
            published: dict[Any, float] = dict(zip(PUBLISHED_AT, shares, strict=True))
            rows.append({"method": name, **published})
    return pd.DataFrame(rows)


def report(folder: RunFolder, options: Options, results: dict[str, Any]) -> None:
    """Write the table and draw the curves, of all runs."""
    found = table(options, results)
    write_text(folder / TABLE, found.to_csv(index=False, float_format="%.4f"))
    means = found.drop(columns="seed").groupby("method", sort=False).mean()
    series: dict[str, tuple[list, list]] = {}
    for method, shares in means.iterrows():
        known = shares.dropna()
        series[str(method)] = (known.index.tolist(), (100 * known).tolist())
    figure = plots.curves(series, "presentation of a class", "right (%)")
    folder.save_figure("accuracy.png", figure)

    series = {}
    for each, their in [(folder, options), *runs_beside(options, _EPISODES, TABLE)]:
        seeds = their.all_seeds()
        rows = pd.concat([each.history(f"seed_{seed}.csv") for seed in seeds]).groupby("epoch")
        for number in sorted({min(2, their.shots), their.shots}):
            mean = 100 * rows[f"accuracy_{number}"].mean()
            batches = (mean.index + 1) * INTERVAL
            series[f"{their.variant()}, {number}"] = (batches.tolist(), mean.tolist())
    figure = plots.curves(series, "training batches", "right at a presentation (%)")
    folder.save_figure("learning.png", figure)
    print((100 * means).round(1).to_string(na_rep=""))


def start(options: Options) -> tuple[RunFolder, Options, dict[str, Any]]:
    """Folder and options of a new run, or of one to resume, and its results so far."""
    use_few_threads(options.batch_size)
    if not options.resume:
        options.episodes("test", TEST_SEED)  # refused before a folder is made
        runs_beside(options, _EPISODES, TABLE)
        return RunFolder(options.out, options), options, {}
    folder, stored = RunFolder.open(options.resume, Options)
    if "data_dir" in options.given:
        stored.data_dir = options.data_dir
    folder.remove_left_over()
    results = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    return folder, stored, results


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    try:
        folder, options, results = start(Options.parse(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        for seed in options.all_seeds():
            if str(seed) not in results:
                run_seed(options, seed, folder, results)
            checkpoints.remove(resuming.checkpoint_of(folder, seed))
        if "nearest neighbour" not in results:
            inputs, targets = fixed_episodes(options, "test", TEST_EPISODES)
            images = inputs[..., : options.image_size**2]
            answers = nearest_neighbours(images, targets)
            results["nearest neighbour"] = accuracy_by_presentation(answers, targets)
            folder.write_json(RESULTS, results)
        report(folder, options, results)
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
