"""How many samples a second the exported `sample` signature draws, beside a plain Keras loop.

python -m benchmarks.sampling --json sampling.json

The paper's sizes (GRU-64, DNC memory 20 x 16, 4 read heads), untrained. The export is measured as a
TensorFlow graph, which is what `export` writes, and with the loop over time compiled by XLA
(`jit_compile=True`). The plain loop is what Keras offers without it: a model of one step, whose
`predict` is called step by step with the last samples and states. `generator.sample` is what Python
code calls, and one teacher-forced forward pass of the same size is what it can be measured by; the
loops of both are compiled and run on all cores. Every row runs in its own process; times are the
best of several calls, the first call, with tracing or compilation, aside. The loop is measured
only at `--loop-lengths`: its time a step is the same at any length.

Why the export is a graph, though XLA is faster: XLA compiles anew for every multiple of 16 rows,
for seconds each time (column "first s"), and `tensorflow_model_server`, by its help, refuses them
unless it is started with `--xla_cpu_compilation_enabled`.
"""

import argparse
import multiprocessing
import pathlib
import tempfile

from benchmarks import measure

CASES = {
    "graph": "exported, TensorFlow graph",
    "xla": "exported, XLA",
    "predict": "Keras loop of model.predict",
    "generator": "generator.sample",
    "forward": "one forward pass, teacher-forced",
}


def make_generator():
    """A generator of the paper's sizes."""
    import keras

    from mf_keras import DNCCell, SequenceGenerator

    keras.utils.set_random_seed(0)
    return SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=1))


def write_export(folder, length, jit_compile):
    """Write an export."""
    make_generator().export(folder, length, jit_compile=jit_compile)


def make(case, folder, length, batch):
    """The function to time: one call that draws `batch` sequences."""
    if case == "predict":
        return make_loop(length, batch)
    if case == "generator":
        generator = make_generator()
        return lambda: generator.sample(batch, length, seed=0).numpy()
    import tensorflow as tf

    if case == "forward":
        from mf_keras import backend

        forward, x = backend.compiled(make_generator().call), tf.zeros((batch, length, 1))
        return lambda: forward(x).numpy()

    sample = tf.saved_model.load(folder).signatures["sample"]
    request = {"seed": tf.range(batch, dtype=tf.int64), "temperature": tf.ones(batch)}
    return lambda: sample(**request)["samples"].numpy()


def make_loop(length, batch):
    """The plain loop: one `predict` a step."""
    import keras
    import numpy as np

    cell = make_generator().cell
    inputs = [keras.Input((size,)) for size in (1, *cell.state_size)]
    logits, states = cell(inputs[0], inputs[1:])
    step = keras.Model(inputs, [logits, *states])
    start = [keras.ops.convert_to_numpy(x) for x in cell.get_initial_state(batch)]
    random = np.random.default_rng(0)

    def run():
        samples, states = [np.zeros((batch, 1), "float32")], start
        for _ in range(length):
            logits, *states = step.predict([samples[-1], *states], batch_size=batch, verbose=0)
            noise = random.uniform(size=logits.shape)
            samples.append((noise < 1.0 / (1.0 + np.exp(-logits))).astype("float32"))
        return np.stack(samples[1:], axis=1)

    return run


def measure_length(length, options, root):
    """The rows of one length, printed as they come."""
    folders = {}
    for case in {"graph", "xla"} & set(options.cases):
        folders[case] = str(pathlib.Path(root) / f"{case}{length}" / "1")
        arguments = (folders[case], length, case == "xla")
        process = multiprocessing.get_context("spawn").Process(target=write_export, args=arguments)
        process.start()
        process.join()
    for batch in options.batches:
        loop = None
        for case in sorted(options.cases, key=lambda case: case != "predict"):  # the loop first
            if case == "predict" and length not in options.loop_lengths:
                continue
            row = measure.isolated(make, case, folders.get(case), length, batch)
            loop = row["seconds"] if case == "predict" else loop
            row["samples_per_second"] = batch / row["seconds"]
            row["times_the_loop"] = loop and loop / row["seconds"]
            ratio = f"{row['times_the_loop']:9.1f}" if loop else f"{'':9}"
            print(
                f"{CASES[case]:30}{length:7d}{batch:7d}{row['seconds']:10.4f}"
                f"{row['samples_per_second']:11.1f}{ratio}{row['first_seconds']:9.1f}"
                f"{row['peak_mib']:9.0f}",
                flush=True,
            )
            yield {"case": case, "length": length, "batch": batch, **row}


def main(arguments=None):
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[64, 784], help="of sequences")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256], help="rows")
    parser.add_argument("--loop-lengths", type=int, nargs="*", default=[64], help="default: 64")
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=list(CASES))
    measure.add_json_option(parser)
    options = parser.parse_args(arguments)
    print(
        f"{'':30}{'length':>7}{'batch':>7}{'seconds':>10}{'samples/s':>11}{'x loop':>9}"
        f"{'first s':>9}{'peak MiB':>9}"
    )
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for length in options.lengths:
            rows += measure_length(length, options, root)
    if options.json:
        measure.write_json(options.json, rows)


if __name__ == "__main__":
    main()
