"""Train on the copy task and count the sequences that are copied exactly, as the paper does.

python -m train.copy_task --method positive_negative --seeds 10

Every prediction is counted before it is learned from. Writes a run folder: config.json, and for
each seed seed_K.csv (per 1000 steps: NLL in nats and wrong bits per sequence, correct predictions,
the discriminator's logs, seconds), seed_K.keras, the trained transducer, and seed_K-half.keras, as
it was when it first copied half of a window's sequences; nll.png, and results.json with counts and
errors on longer sequences. A run that was broken off goes on by
`--resume RUN` from its last checkpoint, to the same weights.
"""

import argparse
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from mf_keras import (
    MemoryReplay,
    PositiveNegativeMemoryForcing,
    SequenceTransducer,
    TeacherForcing,
    callbacks,
    data,
    plots,
)
from train import options as shared
from train import strategy as devices
from train.run_folder import RunFolder

METHODS = ("teacher_forcing", "positive_negative")
RESULTS = "results.json"
WINDOW = 1000  # steps between two rows of the history
STEPS_PER_EXECUTION = 200
CHECKPOINT_WINDOWS = 10  # between two savings
LONGER = (1, 2, 4)  # lengths that are tested, in lengths that were trained
TEST_SEQUENCES, TEST_SEED = 500, 2**40  # a stream that no seed of a run draws


def parse_arguments(arguments=None):
    """The options of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.copy_task", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--method", choices=METHODS, default="teacher_forcing", help="default: teacher_forcing"
    )
    parser.add_argument(
        "--seeds", type=shared.positive_int, default=1, help="how many runs, one a seed; default: 1"
    )
    parser.add_argument("--first-seed", type=shared.seed, default=0, help="default: 0")
    parser.add_argument(
        "--steps",
        type=shared.positive_int,
        default=100_000,
        help=f"training steps, a multiple of {WINDOW}; default: 100000",
    )
    parser.add_argument("--length", type=shared.positive_int, default=12, help="rows; default: 12")
    parser.add_argument("--width", type=shared.positive_int, default=6, help="bits; default: 6")
    parser.add_argument("--batch-size", type=shared.positive_int, default=1, help="default: 1")
    parser.add_argument(
        "--learning-rate", type=shared.positive_float, default=1e-4, help="Adam's; default: 1e-4"
    )
    parser.add_argument("--out", help="run folder, new; default: runs/copy_task-METHOD")
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this folder, by its own options"
    )
    add_forcing_options(parser)
    shared.add_model_options(parser)
    devices.add_options(parser)
    options = parser.parse_args(arguments)
    if options.steps % WINDOW:
        parser.error(f"argument --steps: must be a multiple of {WINDOW}, got {options.steps}")
    options.out = options.out or f"runs/copy_task-{options.method}"
    return options


def add_forcing_options(parser):
    """Options of the discriminator and its buffers."""
    group = parser.add_argument_group("positive/negative forcing")
    group.add_argument(
        "--weight", type=shared.positive_float, default=1.0, help="of C_p; default: 1"
    )
    group.add_argument(
        "--no-gate", action="store_true", help="eq. 10 to the letter; default: gate (0.75, 0.99)"
    )
    group.add_argument(
        "--capacity", type=shared.positive_int, default=512, help="of each buffer; default: 512"
    )
    group.add_argument(
        "--discriminator-batch",
        type=shared.positive_int,
        default=8,
        help="positive and as many negative dynamics a step; default: 8",
    )
    group.add_argument(
        "--discriminator-learning-rate",
        type=shared.positive_float,
        default=1e-3,
        help="Adam's; default: 1e-3",
    )
    group.add_argument(
        "--final-memory",
        action="store_true",
        help="show the discriminator the last memory alone, not the whole dynamics",
    )


def make_model(options, seed):
    """The compiled model of one seed; both methods begin with the same weights."""
    keras.utils.set_random_seed(seed)
    transducer = SequenceTransducer(shared.make_cell(options, options.width))
    transducer.build((None, None, options.width + 1))
    optimizer = shared.make_optimizer(options.learning_rate)
    several = tf.distribute.has_strategy()  # under which Keras cannot run several steps at once
    compiling = {"steps_per_execution": 1 if several else STEPS_PER_EXECUTION}
    if options.method == "teacher_forcing":
        model = TeacherForcing(transducer)
    else:
        model = PositiveNegativeMemoryForcing(
            transducer,
            replay=MemoryReplay(options.capacity),
            discriminator_batch=options.discriminator_batch,
            weight=options.weight,
            final_memory=options.final_memory,
            seed=seed,
            **({"gate": None} if options.no_gate else {}),
        )
        rate = options.discriminator_learning_rate
        compiling["discriminator_optimizer"] = keras.optimizers.Adam(rate)
    model.compile(optimizer, **compiling)
    return model


def train(options, seed, folder, strategy):
    """Train one seed, from its last checkpoint if there is one; returns the transducer."""
    history, checkpoint = f"seed_{seed}.csv", folder / f"seed_{seed}-last.keras"
    with strategy.scope():
        model = (
            keras.models.load_model(checkpoint)
            if checkpoint.exists()
            else make_model(options, seed)
        )
    done = int(model.optimizer.iterations.numpy())
    folder.keep_rows(history, done // WINDOW)
    stream = data.copy_task(options.length, options.width, seed=seed).batch(options.batch_size)
    windows = options.steps // WINDOW
    with folder.csv_logger(history) as logger:
        model.fit(
            stream.skip(done).prefetch(tf.data.AUTOTUNE),
            initial_epoch=done // WINDOW,
            epochs=windows,
            steps_per_epoch=WINDOW,
            callbacks=[
                WindowProgress(windows, WINDOW * options.batch_size),
                logger,
                callbacks.StopOnNonFinite(),
                WindowCheckpoint(checkpoint),
                SaveHalfTrained(folder / f"seed_{seed}-half.keras", WINDOW * options.batch_size),
            ],
            verbose=0,
        )
    transducer = model.generator
    callbacks.save_model(transducer, folder / f"seed_{seed}.keras")
    checkpoint.unlink(missing_ok=True)
    return transducer


class WindowProgress(keras.callbacks.Callback):
    """One progress bar for a whole run: thousands of steps, with the share copied exactly."""

    def __init__(self, windows, sequences_per_window):
        super().__init__()
        self.bar = keras.utils.Progbar(windows, unit_name="k", stateful_metrics=["nll", "correct"])
        self.sequences = sequences_per_window

    def on_epoch_begin(self, epoch, logs=None):
        """Start the clock."""
        self.start = time.time()

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar by one window, and log its seconds for the callbacks that follow."""
        logs["seconds"] = time.time() - self.start
        share = logs["correct_predictions"] / self.sequences
        self.bar.update(epoch + 1, [("nll", logs["nll"]), ("correct", share)])


class WindowCheckpoint(keras.callbacks.Callback):
    """Save everything every so many windows."""

    def __init__(self, path):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        """Save, if it is time to."""
        if (epoch + 1) % CHECKPOINT_WINDOWS == 0:
            callbacks.save_model(self.model, self.path)


class SaveHalfTrained(keras.callbacks.Callback):
    """Keep the transducer of the first window half of whose predictions are correct, or the last.

    It does some things right and some wrong, which figures 1 and 2 of the paper compare.
    """

    def __init__(self, path, sequences_per_window):
        super().__init__()
        self.path = path
        self.enough = sequences_per_window / 2
        self.done = path.exists()

    def on_epoch_end(self, epoch, logs=None):
        """Save, if it is time to."""
        if not self.done and logs["correct_predictions"] >= self.enough:
            callbacks.save_model(self.model.generator, self.path)
            self.done = True

    def on_train_end(self, logs=None):
        """Save the last one, if it never came so far."""
        if not self.done:
            callbacks.save_model(self.model.generator, self.path)


def summarize(history, options):
    """Counts of one seed, from the rows of its history."""
    correct = np.array([row["correct_predictions"] for row in history])
    converged = np.flatnonzero(correct >= 0.95 * WINDOW * options.batch_size)
    return {
        "correct_predictions": int(correct.sum()),
        "predictions": options.steps * options.batch_size,
        "last_nll": history[-1]["nll"],
        "steps_to_95_percent": int(converged[0] + 1) * WINDOW if len(converged) else None,
        "seconds": round(sum(row["seconds"] for row in history), 1),
    }


def evaluate(transducer, options):
    """Errors on new sequences, as long as those of the training and longer."""
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


def draw(folder, seeds):
    """The NLL of every seed over the training, and what the discriminators knew."""
    histories = {seed: folder.rows(f"seed_{seed}.csv") for seed in seeds}

    def series(name):
        return {
            f"seed {seed}": ([row["epoch"] + 1 for row in rows], [row[name] for row in rows])
            for seed, rows in histories.items()
        }

    steps = "training steps (thousands)"
    folder.save_figure("nll.png", plots.curves(series("nll"), steps, "NLL (nats per sequence)"))
    if "discriminator_accuracy" in next(iter(histories.values()))[0]:
        figure = plots.curves(series("discriminator_accuracy"), steps, "discriminator accuracy")
        folder.save_figure("discriminator.png", figure)


def start(options):
    """Folder and options of a new run, or of one to go on with; its results so far; its devices."""
    if not options.resume:
        strategy = devices.make(options)
        return RunFolder(options.out, vars(options)), options, {}, strategy
    folder, config = RunFolder.open(options.resume)
    known = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    options = argparse.Namespace(**config)
    return folder, options, known, devices.make(options)


def main(arguments=None):
    """Run the experiment."""
    options = parse_arguments(arguments)
    try:
        folder, options, results, strategy = start(options)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    try:
        for seed in seeds:
            if str(seed) in results:
                continue
            print(f"seed {seed}")
            transducer = train(options, seed, folder, strategy)
            result = summarize(folder.rows(f"seed_{seed}.csv"), options)
            results[str(seed)] = {**result, "test": evaluate(transducer, options)}
            folder.write_json(RESULTS, results)
            print(
                f"correct predictions: {result['correct_predictions']} of "
                f"{result['predictions']}, {result['seconds']:.0f} s"
            )
    except FloatingPointError as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; to go on: python -m train.copy_task --resume {folder.path}")
    draw(folder, seeds)
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
