"""Train on the copy task and count the sequences that are copied exactly, as the paper does.

python -m train.copy_task --method teacher_forcing --steps 100000

Every prediction is counted before it is learned from. Writes a run folder: config.json, for each
seed seed_K.csv (per 1000 steps: NLL in nats per sequence, correct predictions) and seed_K.keras,
nll.png, and results.json.
"""

import argparse
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from mf_keras import SequenceTransducer, TeacherForcing, callbacks, data, plots
from train import options as shared
from train.run_folder import RunFolder

METHODS = {"teacher_forcing": TeacherForcing}
WINDOW = 1000  # steps between two rows of the history
STEPS_PER_EXECUTION = 200


def parse_arguments(arguments=None):
    """The options of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.copy_task", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--method", choices=sorted(METHODS), default="teacher_forcing")
    parser.add_argument(
        "--seeds", type=shared.positive_int, default=1, help="runs, of seeds 0, 1, ...; default: 1"
    )
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
    shared.add_model_options(parser)
    options = parser.parse_args(arguments)
    if options.steps % WINDOW:
        parser.error(f"argument --steps: must be a multiple of {WINDOW}, got {options.steps}")
    options.out = options.out or f"runs/copy_task-{options.method}"
    return options


def train(options, seed, folder):
    """Train one seed; returns its history, one entry per window."""
    keras.utils.set_random_seed(seed)
    transducer = SequenceTransducer(shared.make_cell(options, options.width))
    transducer.build((None, None, options.width + 1))
    model = METHODS[options.method](transducer)
    model.compile(
        shared.make_optimizer(options.learning_rate), steps_per_execution=STEPS_PER_EXECUTION
    )
    stream = data.copy_task(options.length, options.width, seed=seed).batch(options.batch_size)
    print(f"seed {seed}")
    with folder.csv_logger(f"seed_{seed}.csv") as logger:
        history = model.fit(
            stream.prefetch(tf.data.AUTOTUNE),
            epochs=options.steps // WINDOW,
            steps_per_epoch=WINDOW,
            callbacks=[
                WindowProgress(options.steps // WINDOW, WINDOW * options.batch_size),
                logger,
                callbacks.StopOnNonFinite(),
            ],
            verbose=0,
        )
    callbacks.save_model(transducer, folder / f"seed_{seed}.keras")
    return history.history


class WindowProgress(keras.callbacks.Callback):
    """One progress bar for a whole run: thousands of steps, with the share copied exactly."""

    def __init__(self, windows, sequences_per_window):
        super().__init__()
        self.bar = keras.utils.Progbar(windows, unit_name="k", stateful_metrics=["nll", "correct"])
        self.sequences = sequences_per_window

    def on_epoch_end(self, epoch, logs=None):
        """Advance the bar by one window."""
        share = logs["correct_predictions"] / self.sequences
        self.bar.update(epoch + 1, [("nll", logs["nll"]), ("correct", share)])


def summarize(history, seconds, options):
    """Counts of one seed."""
    correct = np.asarray(history["correct_predictions"])
    converged = np.flatnonzero(correct >= 0.95 * WINDOW * options.batch_size)
    return {
        "correct_predictions": int(correct.sum()),
        "predictions": options.steps * options.batch_size,
        "last_nll": float(history["nll"][-1]),
        "steps_to_95_percent": int(converged[0] + 1) * WINDOW if len(converged) else None,
        "seconds": round(seconds, 1),
    }


def draw(histories, folder):
    """The NLL of every seed over the training (figure 7 of the paper)."""
    series = {
        f"seed {seed}": (np.arange(1, len(history["nll"]) + 1), history["nll"])
        for seed, history in histories.items()
    }
    figure = plots.curves(series, "training steps (thousands)", "NLL (nats per sequence)")
    folder.save_figure("nll.png", figure)


def main(arguments=None):
    """Run the experiment."""
    options = parse_arguments(arguments)
    try:
        folder = RunFolder(options.out, vars(options))
    except OSError as error:
        sys.exit(f"error: {error}")
    histories, results = {}, {}
    try:
        for seed in range(options.seeds):
            start = time.time()
            histories[seed] = train(options, seed, folder)
            results[seed] = summarize(histories[seed], time.time() - start, options)
            folder.write_json("results.json", results)
            print(
                f"correct predictions: {results[seed]['correct_predictions']} of "
                f"{results[seed]['predictions']}, {results[seed]['seconds']:.0f} s"
            )
    except FloatingPointError as error:
        sys.exit(f"\nerror: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; what the seeds so far gave is in {folder.path}")
    draw(histories, folder)
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
