"""Whether the discriminators can tell the two behaviours apart, the generator being frozen.

python -m benchmarks.discriminators
python -m benchmarks.discriminators --run runs/A

A generator is trained for one epoch on the digits and frozen; with `--run` it is the best one of a
run of train.sequence_generation, on that run's data. Each discriminator, of the default sizes and
with the default optimizer, then learns to tell its teacher-forced from its free-running behaviour;
its accuracy is measured on fresh noise and on validation images. 0.5 is chance.
"""

import argparse
import sys

import keras
import numpy as np
import tensorflow as tf

from benchmarks import measure
from mf_keras import MemoryForcing, checkpoints
from train.runs.folder import RunFolder
from train.sequence_generation import BEST, Options, images, load, make_model

BATCH = 64


def train_generator(train, seed):
    """One epoch of teacher forcing, Adam 3e-3."""
    keras.utils.set_random_seed(seed)
    model = make_model(Options(learning_rate=3e-3))
    model.fit(train, batch_size=BATCH, verbose=0)
    return model.generator


def read(run, seed):
    """The frozen generator, and the images of training and validation.

    Raises:
        OSError, ValueError: `run` is no run of train.sequence_generation, or has no data.
    """
    generator, options = None, Options()
    if run is not None:
        folder, options = RunFolder.open(run, Options)
        generator = checkpoints.load(folder / BEST)
    splits = load(options)
    train, validation = images(splits["train"]), images(splits["validation"])
    if generator is None:
        generator = train_generator(train, seed)
    return generator, train, validation


def main(arguments=None):
    """Print the accuracies every 50 steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="default: 300")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--run", help="folder of a run; default: a generator of one epoch")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    try:
        generator, train, fresh = read(options.run, options.seed)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    keras.utils.set_random_seed(options.seed)
    model = MemoryForcing(generator, gate=None)
    model.compile(keras.optimizers.SGD(0.0))
    random = np.random.default_rng(options.seed)
    noise = keras.random.SeedGenerator(options.seed + 1)

    @tf.function(jit_compile=True)
    def traces(x):
        _, real = generator.teacher_force(x)
        _, _, free = generator.free_run(BATCH, x.shape[1], noise)
        return {name: (getattr(real, name), getattr(free, name)) for name in model.adversaries}

    @tf.function(jit_compile=True)
    def learn(behaviours):
        for name, adversary in model.adversaries.items():
            adversary.play(*behaviours[name])

    @tf.function(jit_compile=True)
    def accuracy(behaviours):
        shares = {}
        for name, adversary in model.adversaries.items():
            real, free = (adversary.discriminator(part)[:, 0] for part in behaviours[name])
            right = tf.concat([real > 0, free <= 0], axis=0)
            shares[name] = tf.reduce_mean(tf.cast(right, tf.float32))
        return shares

    def batch(split):
        return traces(split[random.choice(len(split), BATCH, replace=False)])

    print(f"{'step':>6}" + "".join(f"{name:>10}" for name in model.adversaries))
    rows = []
    for step in range(options.steps + 1):
        if step % 50 == 0:
            measured = [accuracy(batch(fresh)) for _ in range(5)]
            means = {n: float(np.mean([m[n] for m in measured])) for n in model.adversaries}
            print(f"{step:6d}" + "".join(f"{mean:10.3f}" for mean in means.values()), flush=True)
            rows.append({"step": step, **means})
        learn(batch(train))
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
