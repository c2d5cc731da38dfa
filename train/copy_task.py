"""Train on the copy task and count the sequences that are copied exactly, as the paper does.

python -m train.copy_task --method positive_negative --seeds 10

Every prediction is counted before it is learned from. Writes a run folder: config.json, and for
each seed seed_K.csv (per 1000 steps: NLL in nats and wrong bits per sequence, correct predictions,
the discriminator's logs, seconds), seed_K.keras, the trained transducer, and seed_K-half.keras, as
it was when it first copied half of a window's sequences; nll.png, and results.json with counts and
errors on longer sequences. Ctrl-C saves; a run that was broken off goes on by `--resume RUN` from
its last checkpoint, seed_K-last.keras or seed_K-last.previous.keras, to the same weights and rows.
"""

import argparse
import sys

import keras
import numpy as np
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
from train import options as shared
from train import resuming
from train import strategy as devices
from train.run_folder import RunFolder
from train.windows import SaveHalfTrained, WindowProgress

METHODS = ("teacher_forcing", "positive_negative")
RESULTS = "results.json"
WINDOW = 1000  # steps between two rows of the history
STEPS_PER_EXECUTION = 200
LONGER = (1, 2, 4)  # lengths that are tested, in lengths that were trained
TEST_SEQUENCES, TEST_SEED = 500, 2**40  # a stream that no seed of a run draws
# Options of `add_forcing_options`.
FORCING_OPTIONS = {
    "weight",
    "no_gate",
    "capacity",
    "discriminator_batch",
    "discriminator_learning_rate",
    "final_memory",
}


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
        "--checkpoint-windows",
        metavar="WINDOWS",
        type=shared.positive_int,
        default=10,
        help=f"of {WINDOW} steps between two checkpoints; default: 10",
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="go on with the run in this folder, by its own options"
    )
    add_forcing_options(parser)
    shared.add_model_options(parser)
    devices.add_options(parser)
    options = resuming.parse(parser, arguments, ())
    if options.steps % WINDOW:
        parser.error(f"argument --steps: must be a multiple of {WINDOW}, got {options.steps}")
    shared.check_forcing_options(parser, options, FORCING_OPTIONS)
    if options.capacity <= options.discriminator_batch:
        parser.error(
            f"argument --capacity: must be above the {options.discriminator_batch} of "
            f"--discriminator-batch, got {options.capacity}"
        )
    if options.first_seed + options.seeds > 2**32:
        parser.error("argument --seeds: the last seed must be below 2^32")
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
    compiling = {}
    if not tf.distribute.has_strategy():  # under which Keras can do neither
        # Beside the loops, a step of one short sequence is much work of TensorFlow's own.
        compiling = {"steps_per_execution": STEPS_PER_EXECUTION, "jit_compile": True}
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


def checkpoint_of(folder, seed):
    """Where the training of a seed is kept until it is finished."""
    return folder / f"seed_{seed}-last.keras"


def model_of(options, seed, folder):
    """The model of a seed from its last checkpoint, or a new one.

    Raises:
        ValueError: there are checkpoints, but none can be used.
    """
    new = make_model(options, seed)
    model = checkpoints.load_latest(checkpoint_of(folder, seed), like=new)
    if model is None:
        return new
    print(f"going on from step {model.trained_steps}")
    return model


def train(model, options, seed, folder):
    """Train one seed from where its model is to the end.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    history, windows = f"seed_{seed}.csv", options.steps // WINDOW
    every = options.checkpoint_windows
    resuming.keep_known(folder, history, model.trained_steps, WINDOW, every)
    stream = data.copy_task(options.length, options.width, seed=seed).batch(options.batch_size)
    sequences = WINDOW * options.batch_size
    with folder.csv_logger(history) as logger:
        resuming.fit_from_checkpoint(
            model,
            stream,
            WINDOW,
            windows,
            len(folder.rows(history)),
            callbacks.Checkpoint(checkpoint_of(folder, seed), epochs=every),
            callbacks=[
                WindowProgress(windows, sequences),
                logger,
                callbacks.StopOnNonFinite(),
                SaveHalfTrained(folder / f"seed_{seed}-half.keras", sequences, windows),
            ],
            verbose=0,
        )
    callbacks.save_model(model.generator, folder / f"seed_{seed}.keras")


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
    folder, config = RunFolder.open(options.resume, "seeds")
    folder.remove_left_over()
    known = folder.read_json(RESULTS) if (folder / RESULTS).exists() else {}
    options = resuming.options_of(config, parse_arguments)
    return folder, options, known, devices.make(options)


def run_seed(options, seed, folder, results, strategy):
    """Train and evaluate one seed, and add it to the results."""
    print(f"seed {seed}")
    try:
        with strategy.scope():
            model = model_of(options, seed, folder)
    except ValueError as error:
        sys.exit(f"error: {error}")
    train(model, options, seed, folder)
    result = summarize(folder.rows(f"seed_{seed}.csv"), options)
    results[str(seed)] = {**result, "test": evaluate(model.generator, options)}
    folder.write_json(RESULTS, results)
    print(
        f"correct predictions: {result['correct_predictions']} of {result['predictions']}, "
        f"{result['seconds']:.0f} s"
    )


def main(arguments=None):
    """Run the experiment."""
    options = parse_arguments(arguments)
    try:
        folder, options, results, strategy = start(options)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    with resuming.told_how(f"python -m train.copy_task --resume {folder.path}"):
        for seed in seeds:
            if str(seed) not in results:
                run_seed(options, seed, folder, results, strategy)
            checkpoints.remove(checkpoint_of(folder, seed))
        draw(folder, seeds)
    print(f"run folder: {folder.path}")


if __name__ == "__main__":
    main()
