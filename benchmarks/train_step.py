"""How long a training step takes: Professor and Memory Forcing beside teacher forcing.

python -m benchmarks.train_step --json train_step.json

The paper's sizes (GRU-64, DNC memory 20 x 16, 4 read heads, discriminators of GRU 128, Dense 256,
8, 4, 1), batch 64. Every row runs in its own process; times are the best of several steps, and peak
memory is the process's. The arithmetic of the discriminators is counted: one forward pass over both
halves of the batch, and one backward pass for weights and inputs at twice the cost. The last column
is the time over a goal: two steps of teacher forcing, for the two runs of the generator, and 1.5
times that arithmetic at the rate of a large matrix product on this machine. In the last row the
generator keeps only the states at the ends of chunks: `SequenceGenerator(cell, chunk="sqrt")`.
"""

import argparse

from benchmarks import measure

METHODS = ("teacher_forcing", "professor_forcing", "memory_forcing")
ROWS = [*((method, None) for method in METHODS), ("memory_forcing", "sqrt")]  # with its chunk
PRODUCT_SIZE = 2048
PRODUCT_GFLOP = 2 * PRODUCT_SIZE**3 / 1e9
WATCHED = {"teacher_forcing": [], "professor_forcing": [64], "memory_forcing": [64, 20 * 16]}


def make(method, time, batch, chunk=None):
    """The function to time: one step of training on one batch."""
    import keras
    import numpy as np

    from train.sequence_generation import Options, make_model

    keras.utils.set_random_seed(0)
    model = make_model(Options(method=method))
    model.generator.chunk = chunk
    x = np.random.default_rng(0).integers(0, 2, size=(batch, time, 1)).astype("float32")
    return lambda: model.train_on_batch(x)


def discriminator_gflop(method, time, batch):
    """Multiplications and additions of the discriminators in one step, in 1e9."""
    units = 128
    total = 0
    for features in WATCHED[method]:
        forward = 2 * (2 * batch) * time * (features + units) * 3 * units
        total += 3 * forward  # the dense layers, once a sequence, do not count
    return total / 1e9


def make_product():
    """The function to time for the machine's rate of multiplication."""
    product, _ = measure.make_product(PRODUCT_SIZE)
    return product


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--time", type=int, default=784, help="sequence length; default: 784")
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows, teacher = [], None
    rate = PRODUCT_GFLOP / measure.isolated(make_product)["seconds"]
    print(f"matrix product: {rate:.0f} GFLOP/s")
    print(
        f"{'':26}{'s/step':>9}{'ratio':>8}{'peak MiB':>9}{'first s':>9}{'D GFLOP':>9}{'x goal':>8}"
    )
    for method, chunk in ROWS:
        row = measure.isolated(make, method, options.time, options.batch, chunk)
        teacher = teacher or row["seconds"]
        row["ratio"] = row["seconds"] / teacher
        row["discriminator_gflop"] = discriminator_gflop(method, options.time, options.batch)
        runs = 2 if WATCHED[method] else 1  # of the generator
        goal = runs * teacher + 1.5 * row["discriminator_gflop"] / rate
        row["ratio_to_goal"] = row["seconds"] / goal
        sizes = {"time": options.time, "batch": options.batch}
        rows.append({"method": method, "chunk": chunk, **sizes, **row})
        name = f"{method}, {chunk}" if chunk else method
        print(
            f"{name:26}{row['seconds']:9.3f}{row['ratio']:8.2f}{row['peak_mib']:9.0f}"
            f"{row['first_seconds']:9.1f}{row['discriminator_gflop']:9.1f}"
            f"{row['ratio_to_goal']:8.2f}",
            flush=True,
        )
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
