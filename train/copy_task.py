"""Train on the copy task and count the sequences that are copied exactly, as the paper does.

python -m train.copy_task --method positive_negative --seeds 10

Every prediction is counted before the transducer learns from it. Writes a run folder: config.json,
and for each seed seed_K.csv (a row per interval of 1000 steps: NLL in nats and wrong bits per
sequence, correct predictions, the discriminator's logs, seconds), seed_K.keras, the trained
transducer, and seed_K-half.keras, the transducer when it first copied half of the sequences of an
interval; nll.png, and results.json with counts, and errors on longer sequences. Ctrl-C saves;
`--resume RUN` resumes an interrupted run from its last checkpoint, seed_K-last.keras or
seed_K-last.previous.keras, to the same weights and rows.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from mf_keras import (
    MemoryReplay,
    PositiveNegativeMemoryForcing,
    SequenceTransducer,
    TeacherForcing,
    callbacks,
    checkpoints,
    data,
    plots,
)
from train.runs import resuming
from train.runs.devices import DeviceOptions, make_strategy
from train.runs.folder import RunFolder
from train.runs.model import ForcingOptions, ModelOptions, make_optimizer
from train.runs.options import (
    BASELINE,
    Role,
    SeedsOptions,
    option,
    positive_float,
    positive_int,
)

METHODS = (BASELINE, "positive_negative")
RESULTS = "results.json"
INTERVAL = 1000  # steps of a row of the history, an epoch of Keras
STEPS_PER_EXECUTION = 200
LONGER = (1, 2, 4)  # lengths that are tested, as multiples of the length that was trained
TEST_SEQUENCES, TEST_SEED = 500, 2**40  # a stream that no seed of a run draws


@dataclasses.dataclass(kw_only=True)
class ReplayOptions(ForcingOptions):
    """Options of the discriminator and its buffers."""

    title = "positive/negative forcing"
    weight: float = option(1.0, "of C_p", positive_float, role=Role.VARIANT)
    capacity: int = option(512, "of each buffer", positive_int, role=Role.VARIANT)
    discriminator_batch: int = option(
        8, "positive, and as many negative, dynamics a step", positive_int, role=Role.VARIANT
    )
    final_memory: bool = option(
        False,
        "give the discriminator only the last memory, not the whole dynamics",
        role=Role.VARIANT,
    )


@dataclasses.dataclass(kw_only=True)
class Options(ReplayOptions, ModelOptions, DeviceOptions, SeedsOptions):
    """The options of a run."""

    command = "train.copy_task"
    marker = "seeds"

    method: str = option(BASELINE, "how to train", role=Role.RUN, choices=METHODS)
    steps: int = option(
        100_000, f"training steps, a multiple of {INTERVAL}", positive_int, role=Role.RUN
    )
    length: int = option(12, "rows", positive_int)
    width: int = option(6, "bits", positive_int)
    batch_size: int = option(1, "sequences", positive_int)
    learning_rate: float = option(1e-4, "of Adam", positive_float)
    out: str = option("", "run folder, new; default: runs/copy_task-METHOD", role=Role.FILES)
    checkpoint_windows: int = option(
        10,
        f"intervals of {INTERVAL} steps between two checkpoints",
        positive_int,
        role=Role.FILES,
        metavar="INTERVALS",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.out = self.out or f"runs/copy_task-{self.method}"

    def check(self) -> None:
        """Refuse numbers that do not go together."""
        super().check()
        if self.steps % INTERVAL:
            raise ValueError(
                f"argument --steps: must be a multiple of {INTERVAL}, got {self.steps}"
            )
        if self.capacity <= self.discriminator_batch:
            raise ValueError(
                f"argument --capacity: must be above the {self.discriminator_batch} of "
                f"--discriminator-batch, got {self.capacity}"
            )

    @property
    def intervals(self) -> int:
        """How many intervals a training has."""
        return self.steps // INTERVAL

    @property
    def interval_sequences(self) -> int:
        """How many sequences an interval has."""
        return INTERVAL * self.batch_size


def make_model(options: Options, seed: int) -> keras.Model:
    """The compiled model of one seed; both methods start with the same weights."""
    keras.utils.set_random_seed(seed)
    transducer = SequenceTransducer(options.make_cell(options.width))
    transducer.build((None, None, options.width + 1))
    compiling: dict[str, Any] = {}
    if not tf.distribute.has_strategy():  # under which Keras can do neither
        # Beside the loops, a step of one short sequence is much work of TensorFlow's own.
        compiling = {"steps_per_execution": STEPS_PER_EXECUTION, "jit_compile": True}
    if options.method == BASELINE:
        model = TeacherForcing(transducer)
    else:
        model = PositiveNegativeMemoryForcing(
            transducer,
            replay=MemoryReplay(options.capacity),
            discriminator_batch=options.discriminator_batch,
            weight=options.weight,
            final_memory=options.final_memory,
            seed=seed,
            **options.gate(),
        )
        compiling["discriminator_optimizer"] = options.discriminator_optimizer()
    model.compile(make_optimizer(options.learning_rate), **compiling)
    return model


def train(model: keras.Model, options: Options, seed: int, folder: RunFolder) -> None:
    """Train one seed from the model's step to the end.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    history, every = f"seed_{seed}.csv", options.checkpoint_windows
    resuming.cut_history(folder, history, model.trained_steps, INTERVAL, every)
    stream = data.copy_task(options.length, options.width, seed=seed).batch(options.batch_size)
    with folder.csv_logger(history) as logger:
        resuming.fit_from_checkpoint(
            model,
            stream,
            INTERVAL,
            options.intervals,
            len(folder.history(history)),
            callbacks.Checkpoint(resuming.checkpoint_of(folder, seed), epochs=every),
            callbacks=[
                Progress(options),
                logger,
                callbacks.StopOnNonFinite(),
                SaveHalfTrained(folder / f"seed_{seed}-half.keras", options),
            ],
            verbose=0,
        )
    checkpoints.save_model(model.generator, folder / f"seed_{seed}.keras")


class Progress(keras.callbacks.Callback):
    """One progress bar for a whole training, in intervals, with the share copied exactly."""

    def __init__(self, options: Options) -> None:
        super().__init__()
        metrics = ["nll", "correct"]
        self.bar = keras.utils.Progbar(options.intervals, unit_name="k", stateful_metrics=metrics)
        self.sequences = options.interval_sequences

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar by one interval."""
        share = logs["correct_predictions"] / self.sequences
        self.bar.update(epoch + 1, [("nll", logs["nll"]), ("correct", share)])


class SaveHalfTrained(keras.callbacks.Callback):
    """Save the transducer after the first interval with half of the predictions correct.

    If there is none, after the last interval. Figures 1 and 2 of the paper compare what such a
    transducer does in a correct and in a wrong prediction.
    """

    def __init__(self, path: pathlib.Path, options: Options) -> None:
        super().__init__()
        self.path, self.intervals = path, options.intervals
        self.enough = options.interval_sequences / 2
        self.done = path.exists()

    def on_epoch_end(self, epoch, logs=None):
        """Save, if it is time to."""
        enough = logs["correct_predictions"] >= self.enough
        if not self.done and (enough or epoch + 1 == self.intervals):
            checkpoints.save_model(self.model.generator, self.path)
            self.done = True


def summarize(history: pd.DataFrame, batch_size: int) -> dict[str, Any]:
    """The results of one seed, from the rows of its history."""
    correct = history["correct_predictions"].to_numpy()
    converged = np.flatnonzero(correct >= 0.95 * INTERVAL * batch_size)
    return {
        "correct_predictions": int(correct.sum()),
        "predictions": len(history) * INTERVAL * batch_size,
        "last_nll": float(history["nll"].iloc[-1]),
        "steps_to_95_percent": int(converged[0] + 1) * INTERVAL if len(converged) else None,
        "seconds": round(float(history["seconds"].sum(skipna=False)), 1),
    }


def evaluate(transducer: SequenceTransducer, options: Options) -> dict[str, dict[str, float]]:
    """Errors on new sequences, as long as those of the training and longer, by their length."""
    model = TeacherForcing(transducer)
    model.compile(jit_compile=False)
    errors = {}
    for length in (factor * options.length for factor in LONGER):
        test = data.copy_task(length, options.width, seed=TEST_SEED).take(TEST_SEQUENCES)
        logs = model.evaluate(test.batch(TEST_SEQUENCES // 5), verbose=0, return_dict=True)
        errors[str(length)] = {
            "bit_errors": logs["bit_errors"],
            "correct": logs["correct_predictions"] / TEST_SEQUENCES,
        }
    return errors


def draw(folder: RunFolder, seeds: Iterable[int]) -> None:
    """The NLL of every seed over the training, and the accuracy of the discriminators."""
    histories = {seed: folder.history(f"seed_{seed}.csv") for seed in seeds}
    pictures = {
        "nll": ("nll.png", "NLL (nats per sequence)"),
        "discriminator_accuracy": ("discriminator.png", "discriminator accuracy"),
    }
    for name, (file, label) in pictures.items():
        series = {}
        for seed, rows in histories.items():
            if name in rows:
                # Without intervals in which no discriminator played, if it played in some.
                rows = rows[rows[name] > 0] if rows[name].any() else rows
                series[f"seed {seed}"] = (rows["epoch"] + 1).tolist(), rows[name].tolist()
        if series:
            figure = plots.curves(series, "training steps (thousands)", label)
            folder.save_figure(file, figure)


def start(options: Options) -> tuple[RunFolder, Options, dict[str, Any], tf.distribute.Strategy]:
    """Folder and options of a new run, or of one to resume; its results so far; its devices."""
    if not options.resume:
        strategy = make_strategy(options, options.batch_size)
        return RunFolder(options.out, options), options, {}, strategy
    folder, options = RunFolder.open(options.resume, Options)
    folder.remove_left_over()
    results = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    return folder, options, results, make_strategy(options, options.batch_size)


def run_seed(
    options: Options,
    seed: int,
    folder: RunFolder,
    results: dict[str, Any],
    strategy: tf.distribute.Strategy,
) -> None:
    """Train and evaluate one seed, and add it to the results."""
    print(f"seed {seed}")
    with strategy.scope():
        new = make_model(options, seed)
        model = resuming.latest_or(new, resuming.checkpoint_of(folder, seed))
    train(model, options, seed, folder)
    result = summarize(folder.history(f"seed_{seed}.csv"), options.batch_size)
    results[str(seed)] = {**result, "test": evaluate(model.generator, options)}
    folder.write_json(RESULTS, results)
    print(
        f"correct predictions: {result['correct_predictions']} of {result['predictions']}, "
        f"{result['seconds']:.0f} s"
    )


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment."""
    try:
        folder, options, results, strategy = start(Options.parse(arguments))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    seeds = options.all_seeds()
    with resuming.report_interruption(f"python -m {Options.command} --resume {folder.path}"):
        for seed in seeds:
            if str(seed) not in results:
                run_seed(options, seed, folder, results, strategy)
            checkpoints.remove(resuming.checkpoint_of(folder, seed))
        draw(folder, seeds)
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
