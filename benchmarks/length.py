"""Time and memory over the length of a sequence, with and without recomputing in chunks.

python -m benchmarks.length --times 1000 10000 --json runs/length.json

Forward and backward of a DNC of the paper's sizes, its loops compiled by XLA. Every row runs in a
process of its own. `states` is the peak memory of that process less that of the same process at
T = 10, which holds the libraries and the compiler.
"""

import argparse

from benchmarks import measure

CASES = {
    "everything": ({}, "the whole trace"),
    "outputs": ({"keep": ()}, "outputs only"),
    "chunks": ({"keep": (), "chunk": "sqrt"}, "outputs only, chunks of sqrt(T)"),
}


def make(case, time, batch):
    """Forward and backward of one batch."""
    import keras
    import tensorflow as tf

    from mf_keras import DNCCell, backend, unroll

    cell = DNCCell(keras.layers.GRUCell(64), 1)
    cell.build((None, 1))
    variables = [v.value for v in cell.trainable_variables]
    x = tf.random.stateless_uniform((batch, time, 1), seed=(0, 0))

    @backend.compiled
    def step():
        with tf.GradientTape() as tape:
            outputs, _, _ = unroll(cell, x, **CASES[case][0])
            loss = tf.reduce_sum(outputs**2)
        return tape.gradient(loss, variables)

    return lambda: [x.numpy() for x in step()]


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, nargs="+", default=[1000, 10_000], help="lengths T")
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows = []
    print(f"{'':36}{'T':>7}{'us/step':>9}{'peak MiB':>9}{'states MiB':>11}")
    for case, (_, title) in CASES.items():
        bare = measure.isolated(make, case, 10, options.batch)["peak_mib"]
        for time in options.times:
            row = measure.isolated(make, case, time, options.batch)
            row = {"case": case, "time": time, "batch": options.batch, **row}
            row["states_mib"] = row["peak_mib"] - bare
            rows.append(row)
            print(
                f"{title:36}{time:7d}{1e6 * row['seconds'] / time:9.0f}{row['peak_mib']:9.0f}"
                f"{row['states_mib']:11.0f}",
                flush=True,
            )
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
