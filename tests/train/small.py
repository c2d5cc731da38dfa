"""Small experiments: little data, few steps, run operation by operation instead of compiled."""

import contextlib
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import DNCCell, SequenceGenerator, callbacks, checkpoints
from train import copy_task, sequence_data, sequence_generation
from train.runs.folder import RunFolder

SIZES = ["--controller-units", "4", "--memory-size", "3", "--word-size", "2", "--num-reads", "1"]
GENERATION = ["--epochs", "2", "--batch-size", "4", "--learning-rate", "1e-2", *SIZES]
_TASK = "--method positive_negative --steps 4 --length 1 --width 1 --batch-size 2"
_FORCING = "--capacity 20 --discriminator-batch 2 --weight 0.5 --checkpoint-windows 1"
COPYING = [*_TASK.split(), *_FORCING.split(), "--learning-rate", "1e-2", *SIZES]
SHAPE, T = (2, 2), 4  # of an image
IMAGES = {"train": 9, "validation": 20, "test": 30}


def random_images(n, probability=0.5, seed=0):
    return (np.random.default_rng(seed).random((n, T, 1)) < probability).astype("float32")


def small_splits(options=None):
    """Dark images, so that there is something to learn."""
    return {
        name: tf.data.Dataset.from_tensor_slices(random_images(n, 0.2, seed))
        for seed, (name, n) in enumerate(IMAGES.items())
    }


@contextlib.contextmanager
def small_experiments():
    """Small images for "digits"; intervals of 2 steps; nothing is compiled."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions")
        patch.setattr(sequence_generation, "load", small_splits)
        patch.setattr(sequence_data.DATASETS["digits"], "shape", SHAPE)
        patch.setattr(copy_task, "INTERVAL", 2)
        patch.setattr(copy_task, "STEPS_PER_EXECUTION", 1)
        patch.setattr(copy_task, "LONGER", (1,))
        patch.setattr(copy_task, "TEST_SEQUENCES", 50)
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)


@contextlib.contextmanager
def interrupted(steps):
    """Ctrl-C once a model has been trained for so many steps in `fit`."""
    on_train_batch_end = callbacks.StopOnNonFinite.on_train_batch_end

    def interrupt(self, batch, logs=None):
        on_train_batch_end(self, batch, logs)
        if self.model.trained_steps == steps:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.StopOnNonFinite, "on_train_batch_end", interrupt)
        with pytest.raises(SystemExit, match="stopped and saved; to resume: python"):
            yield


def finished_generator(path, method, seed, bias=0.0, *options):
    """A folder as a run leaves it; its generator's pixels are noise of the given log odds."""
    more = ["--method", method, "--seed", str(seed), *options]
    folder = RunFolder(path, sequence_generation.Options.parse(more))
    keras.utils.set_random_seed(seed)
    cell = DNCCell(keras.layers.GRUCell(4), 1, memory_size=3, word_size=2, num_reads=1)
    generator = SequenceGenerator(cell)
    generator.trainable_variables[-1].assign([bias])
    checkpoints.save_model(generator, folder / "best.keras")
    folder.write_json("results.json", {})
    return str(path)


def without(rows, name="seconds"):
    """A history without a column."""
    return rows.drop(columns=name)


def generated(path, method, seed, val_nll, *options, test_nll=None, epochs=None):
    """A run folder with these validation NLLs; of a finished run if it has a test NLL."""
    epochs = str(epochs or len(val_nll))
    more = ["--method", method, "--seed", str(seed), "--epochs", epochs, *options]
    folder = RunFolder(path, sequence_generation.Options.parse(more))
    rows = ["epoch,nll,seconds,val_nll"]
    rows += [f"{i},{nll + 1},{10 + i},{nll}" for i, nll in enumerate(val_nll)]
    (path / "history.csv").write_text("\n".join(rows) + "\n")
    if test_nll is not None:
        best = val_nll.index(min(val_nll)) + 1
        test = {"nll": test_nll, "bits_per_step": test_nll / 64}
        folder.write_json("results.json", {"test": test, "best_epoch": best, "processor": "one"})
    return str(path)


def copied(path, method, correct, *options, first_seed=0):
    """A run folder of one finished seed for each number of correct predictions.

    Each has two intervals; these are the predictions of the second one.
    """
    more = ["--method", method, "--first-seed", str(first_seed), "--seeds", str(len(correct))]
    folder = RunFolder(path, copy_task.Options.parse([*more, *options]))
    for seed, number in enumerate(correct, first_seed):
        rows = ["epoch,correct_predictions,nll,seconds", "0,0,5.0,25.0", f"1,{number},2.5,35.0"]
        (path / f"seed_{seed}.csv").write_text("\n".join(rows) + "\n")
    test = {"12": {"correct": 0.75}, "24": {"bit_errors": 70.0}, "48": {"bit_errors": 140.0}}
    seeds = range(first_seed, first_seed + len(correct))
    folder.write_json("results.json", {str(seed): {"test": test} for seed in seeds})
    return str(path)
