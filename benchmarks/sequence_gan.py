"""Time of a SeqGAN step with roll-outs, beside the arithmetic in it.

python -m benchmarks.sequence_gan
python -m benchmarks.sequence_gan --batch 64 --length 20 --classes 5000 --rollouts 16

The generator is the paper's: an embedding and an LSTM of 32 units. `final` is a step with
roll-outs, `no rollouts` one with D of the sample at every step, `teacher` one of maximum
likelihood. The arithmetic counts multiplications and additions of the generator's matrices in the
roll-outs, each of which runs all T steps; the machine's rate is that of a product of two large
matrices.
"""

import argparse

import keras
import numpy as np

from benchmarks import measure
from mf_keras import SequenceGAN, SequenceGenerator, TeacherForcing
from mf_keras.outputs import Categorical
from train.runs.memoryless import MemorylessCell


def make_generator(classes, units=32):
    """An LSTM around embedded tokens."""
    keras.utils.set_random_seed(0)
    cell = MemorylessCell(keras.layers.LSTMCell(units), classes, 1, 1, 1)
    return SequenceGenerator(cell, Categorical(classes, embedding=units))


def step_of(name, options):
    """A function that takes one training step, compiled."""
    generator = make_generator(options.classes)
    if name == "teacher":
        model = TeacherForcing(generator)
    else:
        rollouts = options.rollouts if name == "final" else 0
        model = SequenceGAN(generator, rollouts=rollouts)
    model.compile(keras.optimizers.Adam(1e-3))
    x = np.random.default_rng(0).integers(options.classes, size=(options.batch, options.length))
    return lambda: model.train_on_batch(x.astype("int32"))


def rollout_flop(options, units=32):
    """Multiplications and additions of the roll-outs of one step."""
    runs = options.batch * options.rollouts * (options.length - 1) * options.length
    # The cell reads a vector and its read vector of one number; so does the readout.
    lstm = 2 * (units + 1 + units) * 4 * units
    return runs * (lstm + 2 * (units + 1) * options.classes)


def main(arguments=None):
    """Print a row for each step."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    sizes = {"batch": 64, "length": 20, "classes": 5000, "rollouts": 16, "rounds": 3}
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"default: {default}")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    product, flop = measure.make_product()
    functions = {name: step_of(name, options) for name in ("final", "no rollouts", "teacher")}
    found = measure.race({**functions, "product": product}, options.rounds)
    rate = flop / found.pop("product")
    least = rollout_flop(options) / rate
    print(f"{'step':<14}{'seconds':>10}")
    for name, seconds in found.items():
        print(f"{name:<14}{seconds:10.3f}")
    print(f"{rollout_flop(options) / 1e9:.1f} GFLOP of roll-outs take {least:.3f} s at "
          f"{rate / 1e9:.0f} GFLOP/s: {found['final'] / least:.1f} x that")  # fmt: skip
    if options.json:
        rows = [{"step": name, "seconds": seconds} for name, seconds in found.items()]
        measure.write_json(options.json, [*rows, {"step": "arithmetic", "seconds": least}])


if __name__ == "__main__":
    main()
