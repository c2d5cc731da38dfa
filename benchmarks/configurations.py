"""Whether cells of random configurations stay finite, whatever they read and however long.

python -m benchmarks.configurations --count 100 --lengths 1 5000 --json runs/configurations.json

Every configuration has sizes, heads, controller, options and dtype policy of its own. It reads one
batch of extreme sequences: all 0, all 1, and inputs of +-1e4; once with its initial weights, and
once with an interface whose signals, before they are squashed into their ranges, are about +-1e4.
Losses and gradients must be finite, those of the trace included, on which the adversaries of
Memory Forcing look. Two things are not errors:

* gradients in float16 may be finite only at a smaller loss scale, which a
  `keras.optimizers.LossScaleOptimizer` finds;
* a gradient may grow by a factor a step, and so over thousands of steps beyond all floating
  numbers. One that is not finite counts as exploded if it does so in float64, with the same
  weights: if it exceeds 1e10 over fewer steps.

Its five sequences are too few for the layout with the batch last (`mf_keras/layouts.py`), which
tests compare with the one that runs here.

In float16, whose largest number is 65 504, signals of +-1e4 are tried only over few steps: written
again and again they leave its range.
"""

import argparse
import random
import sys
import time
from typing import NamedTuple

import numpy as np

from benchmarks import measure

POLICIES = ("float32", "mixed_bfloat16", "mixed_float16", "float64")
CONTROLLERS = ("GRUCell", "LSTMCell", "SimpleRNNCell", "StackedRNNCells")
LARGE = 1e4
EAGER = 8  # steps, from which on it takes longer than to compile
SCALES = tuple(2.0**-exponent for exponent in range(0, 25, 4))


def draw(number):
    """Configuration `number`: a dict of names and sizes."""
    chance = random.Random(number)

    def size(limit=64):  # small ones as often as large ones
        return round(limit ** chance.random())

    def flag():
        return chance.random() < 0.5

    options = {
        "units": size(),
        "memory_size": size(),
        "word_size": size(),
        "num_reads": size(8),
        "num_writes": size(4),
        "clip": chance.choice([20.0, 1.0, None]),
        "learn_initial_memory": flag(),
    }
    cell = chance.choice(["DNCCell", "DNCCell", "NTMCell"])
    if cell == "NTMCell":
        options["shift_range"] = chance.randint(0, 4)
    else:
        options["linkage"] = chance.choice(["dense", "sparse", None])
        options["num_links"] = size(16)
        options["masked_lookup"], options["erase_on_deallocation"] = flag(), flag()
        options["sharpen_links"] = flag() and options["linkage"] is not None
    return {
        "number": number,
        "policy": POLICIES[number % len(POLICIES)],
        "cell": cell,
        "controller": chance.choice(CONTROLLERS),
        "controller_units": size(),
        "inputs": size(),
        "chunk": chance.choice([None, "sqrt"]),
        "options": options,
    }


def make(configuration):
    """A transducer with such a cell; the same weights at every call."""
    import keras

    import mf_keras

    policy = configuration["policy"]
    keras.utils.set_random_seed(configuration["number"])
    kind, units = configuration["controller"], configuration["controller_units"]
    if kind == "StackedRNNCells":
        cells = [keras.layers.GRUCell(units, dtype=policy), keras.layers.LSTMCell(3, dtype=policy)]
        controller = keras.layers.StackedRNNCells(cells, dtype=policy)
    else:
        controller = getattr(keras.layers, kind)(units, dtype=policy)
    make_cell = getattr(mf_keras, configuration["cell"])
    cell = make_cell(controller, dtype=policy, **configuration["options"])
    transducer = mf_keras.SequenceTransducer(cell, chunk=configuration["chunk"], dtype=policy)
    transducer.build((None, None, configuration["inputs"]))
    return transducer


def extremes(length, size):
    """Inputs by name, (T, D) each."""
    signs = np.random.default_rng(0).choice([-LARGE, LARGE], size=(length, size))
    return {
        "all 0": np.zeros((length, size)),
        "all 1": np.ones((length, size)),
        "all 1e4": np.full((length, size), LARGE),
        "all -1e4": np.full((length, size), -LARGE),
        "+-1e4": signs,
    }


def batch(transducer, length):
    """`(inputs, targets)` of all extremes, in the dtype of the transducer's losses."""
    inputs = np.stack(list(extremes(length, transducer.cell.input_size).values()))
    targets = np.random.default_rng(2).integers(0, 2, (*inputs.shape[:2], transducer.units))
    dtype = "float64" if transducer.cell.compute_dtype == "float64" else "float32"
    return inputs.astype(dtype), targets.astype(dtype)


def step_of(transducer):
    """A function `(inputs, targets, scale) -> (losses (B,), gradients)`, of the scaled loss."""
    import tensorflow as tf

    variables = [variable.value for variable in transducer.trainable_variables]

    def step(inputs, targets, scale):
        with tf.GradientTape() as tape:
            logits, trace = transducer.trace(inputs, keep=("hidden", "memory"))
            losses = transducer.output.nll(targets, logits)
            for part in (trace.hidden, trace.memory):
                seen = tf.tanh(tf.cast(part, losses.dtype))
                losses += tf.reduce_mean(tf.reshape(seen, (tf.shape(seen)[0], -1)), axis=1)
            total = scale * tf.reduce_mean(losses)
        return losses, tape.gradient(total, variables, unconnected_gradients="zero")

    return step


class Outcome(NamedTuple):
    """What a configuration did."""

    not_finite: list  # in words
    loss_scale: float  # the smallest one that was needed; below 1 only in float16
    exploded: list  # in words, what did over many steps


def check(configuration, lengths):
    """Run a configuration on everything extreme: an `Outcome`.

    Args:
        configuration: from `draw`.
        lengths: numbers of steps T. Long sequences run under XLA, as training does; short ones
            eagerly, which is quicker than to compile them.
    """
    from mf_keras import backend

    transducer = make(configuration)
    eager = step_of(transducer)
    compiled = backend.compiled(eager)
    half = transducer.cell.compute_dtype == "float16"
    bias = transducer.cell.interface.bias
    signs = np.random.default_rng(1).choice([-LARGE, LARGE], size=bias.shape)
    found, scales, exploded = [], [1.0], []
    for weights, value in (("initial weights", 0.0 * signs), ("large signals", signs)):
        bias.assign(value)
        for length in lengths:
            if half and length > EAGER and weights == "large signals":
                continue
            step = eager if length <= EAGER else compiled
            losses, gradients, scale = at_some_scale(transducer, step, length)
            where = f"T = {length}, {weights}"
            if gradients and length > EAGER and explodes(configuration, transducer, length):
                exploded.append(where)
            else:
                losses += gradients
                scales.append(scale)
            found += [f"{where}: {name}" for name in losses]
    return Outcome(found, min(scales), exploded)


def explodes(configuration, transducer, length):
    """Whether the gradient exceeds 1e10 in float64 over fewer steps than these."""
    import tensorflow as tf

    twin = make({**configuration, "policy": "float64"})
    twin.set_weights(transducer.get_weights())
    sizes = twin.cell.input_size, twin.units
    specs = [tf.TensorSpec((None, None, size), tf.float64) for size in sizes]
    signature = [*specs, tf.TensorSpec((), tf.float64)]
    step = tf.function(step_of(twin), input_signature=signature, autograph=False)
    steps = 32
    while steps < length:
        inputs, targets = batch(twin, steps)
        _, gradients = step(inputs, targets, 1.0)
        largest = max(float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients)
        if not np.isfinite(largest) or largest > 1e10:
            return np.isfinite(largest)
        steps *= 2
    return False


def at_some_scale(transducer, step, length):
    """What `not_finite` gives, and the loss scale at which: the largest of those that suit."""
    half = transducer.cell.compute_dtype == "float16"
    for scale in SCALES if half else SCALES[:1]:
        losses, gradients = not_finite(transducer, step, length, scale)
        if not gradients:
            break
    return losses, gradients, scale


def not_finite(transducer, step, length, scale):
    """Names of the inputs whose losses are not finite, and of weights whose gradients are not."""
    inputs, targets = batch(transducer, length)
    losses, gradients = step(inputs, targets, inputs.dtype.type(scale))
    names = zip(extremes(1, 1), losses, strict=True)
    wrong = [name for name, loss in names if not np.isfinite(loss)]
    pairs = zip(transducer.trainable_variables, gradients, strict=True)
    return wrong, [
        variable.path
        for variable, gradient in pairs
        if not np.isfinite(np.asarray(gradient, "float64")).all()
    ]


def main(arguments=None):
    """Check all configurations, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--count", type=int, default=100, help="configurations; default: 100")
    parser.add_argument("--first", type=int, default=0, help="number of the first; default: 0")
    parser.add_argument("--lengths", type=int, nargs="+", default=[1, 5000], help="default: 1 5000")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows, begin = [], time.monotonic()
    for number in range(options.first, options.first + options.count):
        configuration, start = draw(number), time.monotonic()
        outcome = check(configuration, options.lengths)
        rows.append({**configuration, **outcome._asdict()})
        words = "; ".join(outcome.not_finite) or "finite"
        words += f" at loss scale {outcome.loss_scale}" * (outcome.loss_scale < 1)
        print(
            f"{number:4d} {configuration['policy']:15}{configuration['cell']:8} "
            f"{configuration['controller']:16}{time.monotonic() - start:7.1f} s  "
            f"{'; '.join([words, *(f'exploded: {where}' for where in outcome.exploded)])}",
            flush=True,
        )
    bad = sum(bool(row["not_finite"]) for row in rows)
    exploded = sum(bool(row["exploded"]) for row in rows)
    print(
        f"{len(rows)} configurations, {bad} not finite, {exploded} exploded, "
        f"{time.monotonic() - begin:.0f} s"
    )
    if options.json:
        measure.write_json(options.json, rows)
    if bad:
        sys.exit(1)


if __name__ == "__main__":
    main()
