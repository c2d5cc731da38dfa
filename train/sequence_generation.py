"""Train a generator of images, pixel by pixel, and draw what it does.

python -m train.sequence_generation --dataset digits --method teacher_forcing --epochs 80

Writes a run folder: config.json, history.csv (nats per image, each epoch), last.keras (everything,
to go on from) and last.previous.keras (the one before), best.keras (the generator of the best
validation NLL), pictures of samples, memory and learning curves, and results.json with the NLL of
the whole test split. Ctrl-C saves; `--resume RUN` goes on to the same weights and history that a
run without the interruption has, also after a kill or a full disk.
"""

import argparse
import json
import math
import sys

import keras
import numpy as np
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
from train import machine, resuming
from train import options as shared
from train import strategy as devices
from train.run_folder import MARKER, RunFolder

# The binarisation of MNIST is a random draw; no model of it can have a lower NLL in nats per image
# than the entropy of that draw, some 45.5, and what an image's class tells. Below it something is
# wrong, such as a model that sees the pixel it predicts.
LOWEST_POSSIBLE_NLL = {"binarized_mnist": 47.0, "digits": 0.0}
IMAGE_SHAPES = {"binarized_mnist": data.BINARIZED_MNIST_SHAPE, "digits": data.DIGITS_SHAPE}
METHODS = {
    "teacher_forcing": TeacherForcing,
    "professor_forcing": ProfessorForcing,
    "memory_forcing": MemoryForcing,
}
HISTORY, RESULTS = "history.csv", "results.json"
LAST, BEST = "last.keras", "best.keras"
EPOCHS = 10  # the paper's
FORCING_OPTIONS = {"no_gate", "discriminator_learning_rate"}  # that teacher forcing does not have
DATA_FOLDERS = ("data_dir", "manual_dir")  # options, which a run may be resumed with
EVALUATION_BATCH = 200  # divides every evaluated split, so nothing is compiled twice


def parse_arguments(arguments=None):
    """The options of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.sequence_generation", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument(
        "--dataset", choices=sorted(IMAGE_SHAPES), default="digits", help="default: digits"
    )
    parser.add_argument(
        "--method",
        choices=sorted(METHODS),
        default="teacher_forcing",
        help="default: teacher_forcing",
    )
    parser.add_argument("--data-dir", help="folder where TFDS has prepared binarized_mnist")
    parser.add_argument("--manual-dir", help="folder with binarized_mnist's published text files")
    parser.add_argument("--epochs", type=shared.positive_int, help="default: 10")
    parser.add_argument("--batch-size", type=shared.positive_int, default=64, help="default: 64")
    parser.add_argument(
        "--learning-rate", type=shared.positive_float, default=1e-4, help="Adam's; default: 1e-4"
    )
    parser.add_argument(
        "--cosine",
        action="store_true",
        help="the learning rate falls to 0 along half a cosine over the epochs; default: it stays",
    )
    parser.add_argument("--seed", type=shared.seed, default=0, help="default: 0")
    parser.add_argument("--out", help="run folder, new; default: runs/DATASET-METHOD-SEED")
    parser.add_argument(
        "--pictures-every",
        metavar="EPOCHS",
        type=shared.positive_int,
        help="draw samples and memory so often while it trains, to RUN/pictures and, for "
        "TensorBoard, RUN/events; default: only at the end",
    )
    parser.add_argument(
        "--checkpoint-steps",
        metavar="STEPS",
        type=shared.positive_int,
        default=200,
        help="between two checkpoints inside an epoch; default: 200",
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with the run in this folder, by its own options; with --epochs, to so many, "
        "with --data-dir or --manual-dir, if its data have moved",
    )
    add_forcing_options(parser)
    shared.add_model_options(parser)
    devices.add_options(parser)
    options = resuming.parse(parser, arguments, ("epochs", *DATA_FOLDERS))
    shared.check_forcing_options(parser, options, FORCING_OPTIONS)
    if not options.resume:
        options.epochs = options.epochs or EPOCHS
    options.out = options.out or f"runs/{options.dataset}-{options.method}-{options.seed}"
    return options


def add_forcing_options(parser):
    """Options of the discriminators."""
    group = parser.add_argument_group("Professor and Memory Forcing")
    group.add_argument(
        "--no-gate",
        action="store_true",
        help="eq. 9 to the letter; default: gates (0.75, 0.99)",
    )
    group.add_argument(
        "--discriminator-learning-rate",
        type=shared.positive_float,
        default=1e-3,
        help="Adam's; default: 1e-3",
    )


def load(options):
    """The dataset's splits by name, unbatched."""
    if options.dataset == "digits":
        return {split: data.digits(split) for split in ("train", "validation", "test")}
    folders = {name: getattr(options, name) for name in DATA_FOLDERS}
    splits = ("train", "validation", "test")
    return {split: data.binarized_mnist(split, **folders) for split in splits}


def make_model(options, steps=None):
    """The compiled model that trains; `--cosine` needs to know how many steps in all."""
    generator = SequenceGenerator(shared.make_cell(options, units=1))
    forcing, compiling = {}, {}
    if options.method != "teacher_forcing":
        forcing = {"seed": options.seed, **({"gate": None} if options.no_gate else {})}
        rate = options.discriminator_learning_rate
        compiling["discriminator_optimizer"] = keras.optimizers.Adam(rate)
    model = METHODS[options.method](generator, **forcing)
    optimizer = shared.make_optimizer(options.learning_rate, steps if options.cosine else None)
    model.compile(optimizer, **compiling)
    return model


def batching(split, options):
    """The rows of a batch, and the batches of an epoch."""
    size = int(split.cardinality())
    rows = min(options.batch_size, size)
    return rows, size // rows


def training_batches(split, batch_size, seed):
    """An endless stream of batches, each epoch in an order that seed and epoch determine.

    So a resumed run skips what it has seen and goes on with the same batches.
    """
    images = np.stack(list(split.as_numpy_iterator())).astype("uint8")
    size = len(images)
    images = tf.constant(images)

    def epoch(index):
        order = tf.random.experimental.stateless_shuffle(tf.range(size), seed=[seed, index])
        chosen = tf.data.Dataset.from_tensor_slices(order).batch(batch_size, drop_remainder=True)
        return chosen.map(lambda rows: tf.cast(tf.gather(images, rows), tf.float32))

    return tf.data.Dataset.counter().flat_map(epoch)


def train(model, splits, options, folder):
    """Fit from where the model is to the last epoch; returns which epoch's generator is the best.

    Raises:
        KeyboardInterrupt: after saving.
        FloatingPointError: something is NaN or infinite.
        mf_keras.files.NotWrittenError: the disk is full.
    """
    batch_size, per_epoch = batching(splits["train"], options)
    batches = training_batches(splits["train"], batch_size, options.seed)
    rows = folder.rows(HISTORY)
    best = callbacks.SaveBest(folder / BEST, model.generator)
    for row in rows:
        if row["val_nll"] < best.best:
            best.best, best.best_epoch = row["val_nll"], int(row["epoch"]) + 1
    with folder.csv_logger(HISTORY) as logger:
        resuming.fit_from_checkpoint(
            model,
            batches,
            per_epoch,
            options.epochs,
            len(rows),
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


def pictures(model, splits, options, folder):
    """The callback that draws while it trains, if the options ask for it."""
    if not options.pictures_every:
        return []
    drawing = callbacks.Pictures(
        folder / "pictures",
        model.generator,
        example=next(splits["train"].as_numpy_iterator()),
        image_shape=IMAGE_SHAPES[options.dataset],
        every=options.pictures_every,
        seed=options.seed,
        tensorboard=folder / "events",
    )
    for row in folder.rows(HISTORY):
        epoch = int(row.pop("epoch")) + 1
        for name, value in row.items():
            drawing.history.setdefault(name, []).append((epoch, value))
    return [drawing]


def evaluate(generator, splits):
    """NLL of whole splits: for each a dict of nats per image and bits per pixel."""
    model = TeacherForcing(generator)
    model.compile()
    found = []
    for split in splits:
        logs = model.evaluate(split.batch(EVALUATION_BATCH), verbose=0, return_dict=True)
        found.append({name: float(logs[name]) for name in ("nll", "bits_per_step")})
    return found


def draw(generator, splits, options, folder):
    """The pictures of a run."""
    shape = IMAGE_SHAPES[options.dataset]
    samples = generator.sample(64, shape[0] * shape[1], seed=options.seed)
    folder.save_figure("samples.png", plots.sample_grid(samples, shape, title="samples"))
    images = np.stack(list(splits["train"].take(64).as_numpy_iterator()))
    folder.save_figure("data.png", plots.sample_grid(images, shape, title="training images"))
    _, trace = generator.teacher_force(images[:1])
    memory = trace.memory[0]
    folder.save_figure("memory.png", plots.memory_heatmaps(memory, title="memory, one image"))
    _, _, free = generator.free_run(1, len(memory), seed=options.seed)
    both = {"teacher-forced": memory, "free-running": free.memory[0]}
    folder.save_figure("memory_free_running.png", plots.memory_comparison(both))
    over_time = plots.memory_over_time(memory, trace.write_weights[0], trace.read_weights[0])
    folder.save_figure("memory_over_time.png", over_time)


def draw_history(history, folder):
    """NLL, and the accuracy of the discriminators, over the epochs."""
    epochs = [row["epoch"] + 1 for row in history]
    logs = {name: (epochs, [row[name] for row in history]) for name in history[0]}
    for name, figure in plots.training_curves(logs).items():
        folder.save_figure(f"{name}.png", figure)


def check_possible(dataset, nll):
    """Raise the alarm for an NLL, in nats per image, that no model of the data can have.

    Raises:
        ValueError: it is below `LOWEST_POSSIBLE_NLL`.
    """
    lowest = LOWEST_POSSIBLE_NLL[dataset]
    if nll < lowest:
        raise ValueError(
            f"ALARM: {nll:.2f} nats is below {lowest}, which no model of this data can reach. The "
            "model sees what it should predict, or the data or the evaluation is wrong."
        )


def train_seconds(history):
    """Seconds of all epochs, of each since it was last gone on with; None if some are unknown."""
    seconds = [row.get("seconds", np.nan) for row in history]
    return round(sum(seconds), 1) if np.isfinite(seconds).all() else None


def finish(options, splits, best_epoch, folder):
    """Evaluate and draw the best generator; write and print the results."""
    generator = checkpoints.load(folder / BEST)
    history = folder.rows(HISTORY)
    test, validation = evaluate(generator, [splits["test"], splits["validation"]])
    results = {
        "test": test,
        "validation": validation,
        "best_epoch": best_epoch,
        "epochs": options.epochs,
        "train_seconds": train_seconds(history),
        **machine.describe(),
    }
    folder.write_json(RESULTS, results)
    draw(generator, splits, options, folder)
    draw_history(history, folder)
    test_nll = results["test"]["nll"]
    print(f"test NLL: {test_nll:.2f} nats per image, at the best epoch by validation, {best_epoch}")
    print(f"run folder: {folder.path}")
    try:
        check_possible(options.dataset, test_nll)
    except ValueError as error:
        sys.exit(str(error))


def start(options):
    """Data, folder and model of a new run, or of one to go on with."""
    if options.resume:
        folder, config = RunFolder.open(options.resume, "dataset")
        given, options = options, resuming.options_of(config, parse_arguments)
        if given.epochs is not None:
            options.epochs = _other_epochs(given.epochs, options)
        for name in DATA_FOLDERS:
            setattr(options, name, getattr(given, name) or getattr(options, name))
        strategy, splits = devices.make(options), load(options)
        folder.remove_left_over()
    else:
        strategy, splits = devices.make(options), load(options)
        folder = RunFolder(options.out, vars(options))
    keras.utils.set_random_seed(options.seed)
    per_epoch = batching(splits["train"], options)[1]
    with strategy.scope():
        new = make_model(options, options.epochs * per_epoch)
        model = checkpoints.load_latest(folder / LAST, like=new)
    if model is not None:
        print(f"going on from step {model.trained_steps}")
    model = new if model is None else model
    begun = math.ceil(model.trained_steps / per_epoch)
    if options.epochs < begun:
        raise ValueError(
            f"--epochs must be at least the {begun} that the run has, got {options.epochs}."
        )
    resuming.keep_known(folder, HISTORY, model.trained_steps, per_epoch)
    folder.write_json(MARKER, vars(options))  # perhaps with more epochs
    if len(folder.rows(HISTORY)) < options.epochs:
        (folder / RESULTS).unlink(missing_ok=True)  # those of fewer
    return options, splits, folder, model


def _other_epochs(epochs, options):
    """The number of epochs that a run shall have in the place of its own."""
    if options.cosine and epochs != options.epochs:
        raise ValueError(
            f"--epochs must be the {options.epochs} over which --cosine lets the learning rate of "
            f"this run fall, got {epochs}."
        )
    return epochs


def main(arguments=None):
    """Run the experiment."""
    options = parse_arguments(arguments)
    try:
        options, splits, folder, model = start(options)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"{model.generator.count_params()} weights; settings: {json.dumps(vars(options))}")
    with resuming.told_how(f"python -m train.sequence_generation --resume {folder.path}"):
        best_epoch = train(model, splits, options, folder)
        finish(options, splits, best_epoch, folder)


if __name__ == "__main__":
    main()
