"""Whether the discriminators can tell the two behaviours apart, the generator being frozen.

python -m benchmarks.discriminators

A generator is trained for one epoch on the digits and frozen. Each discriminator, of the default
sizes and with the default optimizer, then learns to tell its teacher-forced from its free-running
behaviour; its accuracy is measured on fresh noise and on validation images.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf

from mf_keras import MemoryForcing, data
from train.sequence_generation import make_model, parse_arguments

BATCH = 64


def split(name):
    """A split of the digits, (n, 64, 1)."""
    return np.stack(list(data.digits(name).as_numpy_iterator()))


def train_generator(seed):
    """One epoch of teacher forcing, Adam 3e-3."""
    keras.utils.set_random_seed(seed)
    model = make_model(parse_arguments(["--learning-rate", "3e-3"]))
    model.fit(split("train"), batch_size=BATCH, verbose=0)
    return model.generator


def main(arguments=None):
    """Print the accuracies every 50 steps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="default: 300")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    options = parser.parse_args(arguments)
    generator = train_generator(options.seed)
    model = MemoryForcing(generator, gate=None)
    model.compile(keras.optimizers.SGD(0.0))
    random = np.random.default_rng(options.seed)
    train, fresh = split("train"), split("validation")
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

    def batch(images):
        return traces(images[random.choice(len(images), BATCH, replace=False)])

    print(f"{'step':>6}" + "".join(f"{name:>10}" for name in model.adversaries))
    for step in range(options.steps + 1):
        if step % 50 == 0:
            measured = [accuracy(batch(fresh)) for _ in range(5)]
            means = [np.mean([float(m[name]) for m in measured]) for name in model.adversaries]
            print(f"{step:6d}" + "".join(f"{mean:10.3f}" for mean in means), flush=True)
        learn(batch(train))


if __name__ == "__main__":
    main()
