"""How long a time step of a DNC takes, beside Keras' own loop, a plain GRU and PyPI's `dnc`.

python -m benchmarks.unroll --json unroll.json

The paper's sizes (GRU-64, memory 20 x 16, 4 read heads), forward and backward unless stated. Every
row runs in its own process on otherwise idle cores; times are the best of several calls, and peak
memory is the process's. The bare arithmetic is that of `benchmarks.cells`, at the rate of a large
matrix product in the same run. PyPI's `dnc` (with torch) is measured where it is installed.
"""

import argparse
import importlib.util

from benchmarks import cells, measure

PRODUCT_SIZE = 2048
PRODUCT_GFLOP = 2 * PRODUCT_SIZE**3 / 1e9
FLOOR = "gru/xla"
MEMORY = {"memory_size": 20, "word_size": 16, "num_reads": 4}


def make(case, time, batch):
    """The function to time."""
    if case == "dnc_torch":
        return make_torch(time, batch)
    import keras
    import tensorflow as tf

    from mf_keras import DNCCell, MemoryRNN, backend, unroll

    x = tf.random.stateless_uniform((batch, time, 1), seed=(0, 0))
    kind, _, way = case.partition("/")
    if kind == "gru":
        layer = keras.Sequential(
            [keras.layers.GRU(64, return_sequences=True), keras.layers.Dense(1)]
        )
    else:
        cell = DNCCell(keras.layers.GRUCell(64), 1, **MEMORY)
        around = MemoryRNN if kind == "memory_rnn" else keras.layers.RNN
        layer = around(cell, return_sequences=True)
    if way == "fit":
        model = keras.Sequential([keras.Input((time, 1)), layer])
        model.compile("adam", "mse")
        return lambda: model.train_on_batch(x, x)
    layer.build((batch, time, 1))
    variables = [v.value for v in layer.trainable_variables]

    def loss():
        if kind != "unroll":
            return tf.reduce_sum(layer(x) ** 2)
        outputs, trace, _ = unroll(cell, x, keep=() if way == "outputs" else None)
        total = tf.reduce_sum(outputs**2)
        if way == "trace":
            total += tf.reduce_sum(trace.hidden**2) + tf.reduce_sum(trace.memory**2)
        return total

    def step():
        if way == "forward":
            return loss()
        with tf.GradientTape() as tape:
            total = loss()
        return tape.gradient(total, variables)

    if way in ("xla", "graph"):
        compiled = tf.function(step, jit_compile=way == "xla")
    else:
        compiled = backend.compiled(step)
    return lambda: [part.numpy() for part in tf.nest.flatten(compiled())]


def _product():
    """The function to time for the machine's rate of multiplication."""
    return measure.make_product(PRODUCT_SIZE)[0]


def make_torch(time, batch):
    """The same step by PyPI's `dnc`."""
    import torch
    from dnc import DNC

    model = DNC(1, 64, rnn_type="gru", nr_cells=20, cell_size=16, read_heads=4, batch_first=True)
    x = torch.rand(batch, time, 1)

    def step():
        outputs, _ = model(x, (None, None, None), reset_experience=True)
        model.zero_grad()
        (outputs**2).sum().backward()

    return step


CASES = {
    "unroll/outputs": "unroll(keep=()), compiled loops, as TeacherForcing does",
    "unroll/loops": "the same with the whole trace",
    "unroll/trace": "the same, gradients through hidden and memory too",
    "unroll/forward": "the same, forward only",
    "unroll/xla": "unroll, one program of XLA",
    "rnn/graph": "keras.layers.RNN(DNCCell), TF graph, Keras' default",
    "rnn/xla": "keras.layers.RNN(DNCCell), XLA",
    "rnn/fit": "keras.layers.RNN(DNCCell), compile and train_on_batch",
    "memory_rnn/fit": "MemoryRNN(DNCCell), compile and train_on_batch",
    FLOOR: "keras.layers.GRU(64) + Dense(1), XLA: the floor",
    "dnc_torch": "PyPI dnc on torch",
}


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, nargs="+", default=[98, 784], help="sequence lengths")
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=list(CASES))
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows = []
    rate = 1e9 * PRODUCT_GFLOP / measure.isolated(_product)["seconds"]
    print(f"matrix product: {1e-9 * rate:.0f} GFLOP/s")
    print(
        f"{'':58}{'T':>6}{'us/step':>9}{'x floor':>9}{'x arith.':>9}{'peak MiB':>9}{'first s':>9}"
    )
    for time in options.times:
        floor = measure.isolated(make, FLOOR, time, options.batch)
        for case in options.cases:
            if case == "dnc_torch" and importlib.util.find_spec("dnc") is None:
                print(f"{CASES[case]:58}  not installed")
                continue
            row = floor if case == FLOOR else measure.isolated(make, case, time, options.batch)
            row = {"case": case, "time": time, "batch": options.batch, **row}
            row["ratio_to_floor"] = row["seconds"] / floor["seconds"]
            row["ratio_to_arithmetic"] = None  # a GRU's is another one
            if case != FLOOR:
                arithmetic = cells.flop("dense", time, options.batch, **MEMORY)
                arithmetic /= 3 if case == "unroll/forward" else 1
                row["ratio_to_arithmetic"] = row["seconds"] * rate / arithmetic
            rows.append(row)
            ratio = row["ratio_to_arithmetic"]
            print(
                f"{CASES[case]:58}{time:6d}{1e6 * row['seconds'] / time:9.0f}"
                f"{row['ratio_to_floor']:9.1f}{'' if ratio is None else f'{ratio:.1f}':>9}"
                f"{row['peak_mib']:9.0f}{row['first_seconds']:9.1f}",
                flush=True,
            )
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
