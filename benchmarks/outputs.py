"""How long a training step takes for each kind of output, beside that for as many bits.

python -m benchmarks.outputs
python -m benchmarks.outputs --rounds 10 --json runs/outputs.json

`TeacherForcing.train_on_batch` of the paper's DNC (GRU-64, memory 20 x 16, 4 read heads) on one
batch, all rows in turns in one process, best of several rounds. The last column is the time over
that of the Bernoulli output of as many units, whose loop over time has the same sizes; what it has
more or less are the loss, what is read of a step, and the checks of the data.
"""

import argparse

from benchmarks import measure

CLASSES = 64


def make_outputs():
    """Name -> an output, and the bits that it is compared with."""
    from mf_keras.outputs import Bernoulli, Categorical, GaussianMixture, Joint

    mixture = GaussianMixture(2, 10)
    pen = Joint({"move": mixture, "pen": Categorical(3)})
    found = {f"Bernoulli({bits})": (Bernoulli(bits), bits) for bits in (1, CLASSES)}
    return {
        **found,
        f"Categorical({CLASSES})": (Categorical(CLASSES), CLASSES),
        f"Categorical({CLASSES}, embedding=16)": (Categorical(CLASSES, embedding=16), CLASSES),
        "GaussianMixture(2, 10)": (mixture, CLASSES),
        "Joint, move and pen": (pen, CLASSES),
        "Bernoulli(10000)": (Bernoulli(10_000), 10_000),
        "Categorical(10000, embedding=16)": (Categorical(10_000, embedding=16), 10_000),
    }


def sequences(output, batch, time):
    """Made sequences in the output's form."""
    import numpy as np

    from mf_keras.outputs import Bernoulli, Categorical, GaussianMixture

    rng = np.random.default_rng(0)
    if isinstance(output, Bernoulli):
        return rng.integers(0, 2, (batch, time, output.size)).astype("float32")
    if isinstance(output, Categorical):
        return rng.integers(0, output.size, (batch, time)).astype("int32")
    moves = rng.normal(size=(batch, time, 2)).astype("float32")
    if isinstance(output, GaussianMixture):
        return moves
    return output.pack({"move": moves, "pen": rng.integers(0, 3, (batch, time))})


def make(output, batch, time):
    """The function to time: one step of training."""
    import keras

    from mf_keras import DNCCell, SequenceGenerator, TeacherForcing

    keras.utils.set_random_seed(0)
    cell = DNCCell(keras.layers.GRUCell(64), output.size, memory_size=20, word_size=16, num_reads=4)
    model = TeacherForcing(SequenceGenerator(cell, output))
    model.compile("adam")
    x = sequences(output, batch, time)
    return lambda: model.train_on_batch(x)


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--time", type=int, default=98, help="sequence length; default: 98")
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    parser.add_argument("--rounds", type=int, default=20, help="how often each; default: 20")
    parser.add_argument("--large", action="store_true", help="also 10 000 classes and bits")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    found = make_outputs()
    if not options.large:
        found = {name: pair for name, pair in found.items() if pair[1] <= CLASSES}
    cases = {n: make(output, options.batch, options.time) for n, (output, _) in found.items()}
    best, rows = measure.race(cases, options.rounds), []
    print(f"{'output':34}{'units':>7}{'ms/step':>9}{'x bits':>8}")
    for name, (output, bits) in found.items():
        seconds = best[name]
        ratio = seconds / best[f"Bernoulli({bits})"]
        sizes = {"units": output.size, "time": options.time, "batch": options.batch}
        rows.append({"output": name, **sizes, "seconds": seconds, "ratio_to_bits": ratio})
        print(f"{name:34}{output.size:7}{1e3 * seconds:9.1f}{ratio:8.2f}")
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
