"""Train a generator of images, pixel by pixel, and draw what it does.

python -m train.sequence_generation --dataset digits --method teacher_forcing --epochs 80

Writes a run folder: config.json, history.csv (nats per image, each epoch), best.keras (the
generator of the best validation NLL), samples.png, data.png, nll.png, memory.png,
memory_over_time.png, and results.json with the NLL of the whole test split.
"""

import argparse
import json
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from mf_keras import SequenceGenerator, TeacherForcing, callbacks, data, plots
from train import options as shared
from train.run_folder import RunFolder

# The binarisation of MNIST is a random draw; no model of it can have a lower NLL in nats per image
# than the entropy of that draw, some 45.5, and what an image's class tells. Below it something is
# wrong, such as a model that sees the pixel it predicts.
LOWEST_POSSIBLE_NLL = {"binarized_mnist": 47.0, "digits": 0.0}
IMAGE_SHAPES = {"binarized_mnist": data.BINARIZED_MNIST_SHAPE, "digits": data.DIGITS_SHAPE}
METHODS = {"teacher_forcing": TeacherForcing}
EVALUATION_BATCH = 200  # divides every evaluated split, so nothing is compiled twice


def parse_arguments(arguments=None):
    """The options of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.sequence_generation", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("--dataset", choices=sorted(IMAGE_SHAPES), required=True)
    parser.add_argument("--method", choices=sorted(METHODS), default="teacher_forcing")
    parser.add_argument("--data-dir", help="folder where TFDS has prepared binarized_mnist")
    parser.add_argument("--manual-dir", help="folder with binarized_mnist's published text files")
    parser.add_argument("--epochs", type=shared.positive_int, default=10, help="default: 10")
    parser.add_argument("--batch-size", type=shared.positive_int, default=64, help="default: 64")
    parser.add_argument(
        "--learning-rate", type=shared.positive_float, default=1e-4, help="Adam's; default: 1e-4"
    )
    parser.add_argument("--seed", type=shared.seed, default=0, help="default: 0")
    parser.add_argument("--out", help="run folder, new; default: runs/DATASET-METHOD-SEED")
    shared.add_model_options(parser)
    options = parser.parse_args(arguments)
    options.out = options.out or f"runs/{options.dataset}-{options.method}-{options.seed}"
    return options


def load(options):
    """The dataset's splits by name, unbatched."""
    if options.dataset == "digits":
        return {split: data.digits(split) for split in ("train", "validation", "test")}
    folders = {"data_dir": options.data_dir, "manual_dir": options.manual_dir}
    splits = ("train", "validation", "test")
    return {split: data.binarized_mnist(split, **folders) for split in splits}


def make_model(options):
    """The compiled model that trains."""
    generator = SequenceGenerator(shared.make_cell(options, units=1))
    model = METHODS[options.method](generator)
    model.compile(shared.make_optimizer(options.learning_rate))
    return model


def train(model, splits, options, folder):
    """Fit, keeping the best generator; returns the history and the best epoch."""
    size = int(splits["train"].cardinality())
    batch_size = min(options.batch_size, size)
    batches = (
        splits["train"].shuffle(size, seed=options.seed).batch(batch_size, drop_remainder=True)
    )
    best = callbacks.SaveBest(folder / "best.keras", model.generator)
    history = model.fit(
        batches.prefetch(tf.data.AUTOTUNE),
        epochs=options.epochs,
        validation_data=splits["validation"].batch(EVALUATION_BATCH),
        callbacks=[
            best,
            keras.callbacks.CSVLogger(folder / "history.csv"),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    return history.history, best.best_epoch


def evaluate(generator, split):
    """NLL of a whole split: nats per image and bits per pixel."""
    model = TeacherForcing(generator)
    model.compile()
    logs = model.evaluate(split.batch(EVALUATION_BATCH), verbose=0, return_dict=True)
    return {"nll": float(logs["nll"]), "bits_per_step": float(logs["bits_per_step"])}


def draw(generator, splits, history, options, folder):
    """The pictures of a run."""
    shape = IMAGE_SHAPES[options.dataset]
    samples = generator.sample(64, shape[0] * shape[1], seed=options.seed)
    folder.save_figure("samples.png", plots.sample_grid(samples, shape, title="samples"))
    images = np.stack(list(splits["train"].take(64).as_numpy_iterator()))
    folder.save_figure("data.png", plots.sample_grid(images, shape, title="training images"))
    epochs = np.arange(1, len(history["nll"]) + 1)
    series = {"training": (epochs, history["nll"]), "validation": (epochs, history["val_nll"])}
    folder.save_figure("nll.png", plots.curves(series, "epoch", "NLL (nats per image)"))
    _, trace = generator.teacher_force(images[:1])
    memory = trace.memory[0]
    folder.save_figure("memory.png", plots.memory_heatmaps(memory, title="memory, one image"))
    over_time = plots.memory_over_time(memory, trace.write_weights[0], trace.read_weights[0])
    folder.save_figure("memory_over_time.png", over_time)


def finish(options, splits, history, best_epoch, seconds, folder):
    """Evaluate and draw the best generator; write and print the results."""
    generator = keras.models.load_model(folder / "best.keras")
    results = {
        "test": evaluate(generator, splits["test"]),
        "validation": evaluate(generator, splits["validation"]),
        "best_epoch": best_epoch,
        "epochs": len(history["nll"]),
        "train_seconds": round(seconds, 1),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    folder.write_json("results.json", results)
    draw(generator, splits, history, options, folder)
    test_nll = results["test"]["nll"]
    print(f"test NLL: {test_nll:.2f} nats per image, at the best epoch by validation, {best_epoch}")
    print(f"run folder: {folder.path}")
    if test_nll < LOWEST_POSSIBLE_NLL[options.dataset]:
        sys.exit(
            f"ALARM: {test_nll:.2f} nats is below {LOWEST_POSSIBLE_NLL[options.dataset]}, which no "
            "model of this data can reach. The model sees what it should predict, or the data or "
            "the evaluation is wrong."
        )


def main(arguments=None):
    options = parse_arguments(arguments)
    keras.utils.set_random_seed(options.seed)
    try:
        splits = load(options)
        folder = RunFolder(options.out, vars(options))
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    model = make_model(options)
    print(f"{model.generator.count_params()} weights; settings: {json.dumps(vars(options))}")
    start = time.time()
    try:
        history, best_epoch = train(model, splits, options, folder)
    except KeyboardInterrupt:
        sys.exit(f"\nstopped; the best generator so far and the history are in {folder.path}")
    finish(options, splits, history, best_epoch, time.time() - start, folder)


if __name__ == "__main__":
    main()
