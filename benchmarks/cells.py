"""How the time of a step grows with slots, word size, read heads, length and batch.

python -m benchmarks.cells --sweep N --json runs/cells_N.json
python -m benchmarks.cells --sweep kind --layout batch_first

Forward and backward of `unroll`, its loops compiled by XLA as `fit` does by default. All the cases
of a sweep are timed in turns in one process, best of several rounds, beside the floor,
`keras.layers.GRU(64)` and `Dense`, of the same length and batch, and the bare arithmetic: the
multiplications and additions of the equations, counted, three times a forward pass, over the rate
of a 1024 x 1024 matrix product in the same run.
`--layout` is the cells' argument; sparse links and Kanerva cells are always batch first.
For N the slope is that of log time over log N, from N = 256 on.
"""

import argparse

from benchmarks import measure

PAPER = {"memory_size": 20, "word_size": 16, "num_reads": 4, "time": 32, "batch": 64}
UNITS = 64
SLOTS = (256, 512, 1024, 2048, 4096)

# Sweep -> (what all its cases have, the option that varies, {kind of cell: values}).
SWEEPS = {
    "N": (
        {"batch": 4, "time": 16},
        "memory_size",
        {"sparse": (20, 64, *SLOTS), "unlinked": SLOTS, "dense": (20, 64, *SLOTS[:4])},
    ),
    "W": ({}, "word_size", {"dense": (8, 16, 32, 64)}),
    "R": ({}, "num_reads", {"dense": (1, 2, 4, 8)}),
    "T": ({}, "time", {"dense": (10, 100, 1000)}),
    "B": ({}, "batch", {"dense": (1, 4, 16, 64, 256)}),
    "kind": (
        {},
        "time",
        dict.fromkeys(("dense", "sparse", "unlinked", "ntm", "mann", "kanerva"), (32,)),
    ),
}


def make_cell(kind, layout="auto", **sizes):
    """A cell with a GRU of 64 units."""
    import keras

    from mf_keras import DNCCell, KanervaCell, MANNCell, NTMCell

    controller = keras.layers.GRUCell(UNITS)
    if kind == "kanerva":
        return KanervaCell(controller, 1, **sizes)
    others = {"ntm": NTMCell, "mann": MANNCell}
    if kind in others:
        return others[kind](controller, 1, **sizes, layout=layout)
    if kind == "sparse":
        return DNCCell(controller, 1, **sizes, linkage="sparse")
    linkage = None if kind == "unlinked" else "dense"
    return DNCCell(controller, 1, **sizes, linkage=linkage, layout=layout)


def make(kind, time, batch, **sizes):
    """Forward and backward of one batch; `kind` "floor" is the plain GRU."""
    import keras
    import tensorflow as tf

    from mf_keras import backend, unroll

    x = tf.random.stateless_uniform((batch, time, 1), seed=(0, 0))
    if kind == "floor":
        layer = keras.Sequential(
            [keras.layers.GRU(UNITS, return_sequences=True), keras.layers.Dense(1)]
        )
        layer.build(x.shape)
        run, variables = layer, layer.trainable_variables
    else:
        cell = make_cell(kind, **sizes)
        cell.build((None, 1))
        run, variables = lambda x: unroll(cell, x, keep=())[0], cell.trainable_variables
    values = [v.value for v in variables]

    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(run(x) ** 2)
        return tape.gradient(loss, values)

    floor = kind == "floor"
    compiled = tf.function(step, jit_compile=True) if floor else backend.compiled(step)
    return lambda: [x.numpy() for x in compiled()]


def flop(kind, time, batch, memory_size, word_size, num_reads):
    """Multiplications and additions of forward and backward, the latter at twice the former.

    Counted are the products with the weights, the lookups, the write, the reads and the links;
    what is linear in N only (usage, allocation, softmax) is not.
    """
    n, w, r, c = memory_size, word_size, num_reads, UNITS
    interfaces = {"ntm": (r + 1) * (w + 6) + 2 * w, "mann": r * (w + 1), "kanerva": r * w + w + 1}
    interface = interfaces.get(kind, w * r + 3 * w + 5 * r + 3)
    step = 2 * (1 + r * w + c) * 3 * c + 2 * c * interface + 2 * (c + r * w)
    if kind == "kanerva":
        k = min(n, w)
        # Systems of k equations, their solutions for r + 1 words; mean, covariance, read.
        step += 2 * (2 * n * w * k + k**3 / 3) + (r + 1) * (4 * n * w + 2 * k * k)
        step += 4 * n * w + 8 * n * n + 2 * r * n * w
    elif kind == "mann":
        step += 2 * n * w * r + 2 * n * w + n * w + 4 * r * n * w  # lookup, rows, write, read
    else:
        step += 2 * n * w * (r + 1) + 2 * 2 * n * w  # lookups, lengths of the rows
        step += 5 * n * w + 2 * r * n * w  # write, read
    if kind == "dense":
        step += 6 * n * n + 2 * 2 * r * n * n
    elif kind == "sparse":
        step += 6 * n * 8 + 2 * 2 * r * n * 8
    return 3 * step * time * batch


def sweep(name, rounds, layout="auto"):
    """The rows of one sweep."""
    import numpy as np

    common, varied, kinds = SWEEPS[name]
    product, product_flop = measure.make_product()
    cases = {"product": product}
    for kind, values in kinds.items():
        for value in values:
            case = {**PAPER, **common, varied: value}
            cases[kind, value] = make(kind, **case, layout=layout)
            shape = case["time"], case["batch"]
            cases.setdefault(("floor", shape), make("floor", *shape))
    best = measure.race(cases, rounds)
    rate = product_flop / best["product"]
    rows = []
    for kind, values in kinds.items():
        for value in values:
            case = {**PAPER, **common, varied: value}
            seconds = best[kind, value]
            row = {"kind": kind, **case, "seconds": seconds}
            row["ratio_to_floor"] = seconds / best["floor", (case["time"], case["batch"])]
            row["ratio_to_arithmetic"] = seconds / (flop(kind, **case) / rate)
            rows.append(row)
        large = [v for v in values if name == "N" and v >= SLOTS[0]]
        if large:
            slope, _ = np.polyfit(np.log(large), np.log([best[kind, v] for v in large]), 1)
            print(f"slope of {kind}, N >= {SLOTS[0]}: {slope:.2f}")
    if name == "N":
        print(f"dense / sparse at N = 2048: {best['dense', 2048] / best['sparse', 2048]:.1f}")
    print(f"matrix product: {rate / 1e9:.0f} GFLOP/s")
    return rows


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sweep", choices=sorted(SWEEPS), default="N", help="default: N")
    parser.add_argument("--layout", default="auto", help="batch_first or batch_last; default: auto")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    rows = sweep(options.sweep, options.rounds, options.layout)
    varied = SWEEPS[options.sweep][1]
    print(f"{'':10}{varied:>12}{'us/step':>10}{'x floor':>9}{'x arithmetic':>14}")
    for row in rows:
        print(
            f"{row['kind']:10}{row[varied]:12d}{1e6 * row['seconds'] / row['time']:10.0f}"
            f"{row['ratio_to_floor']:9.1f}{row['ratio_to_arithmetic']:14.1f}"
        )
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
