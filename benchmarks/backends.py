"""What a time step costs on TensorFlow and on JAX, on the cores of one machine.

python -m benchmarks.backends --python tensorflow=.venv/bin/python jax=.venv-jax/bin/python

Each row is a process of its own, in turns; times are the best of several calls. The paper's sizes:
GRU-64, memory 20 x 16, 4 read heads. JAX keeps little more than one core busy, so it is also
measured with two devices made of the CPU, between which `keras.distribution.DataParallel` shares
the batch.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import time

CASES = {
    "unroll": "unroll(keep=()), forward and backward",
    "teacher_forcing": "TeacherForcing, train_on_batch",
    "memory_forcing": "MemoryForcing without gates, train_on_batch",
}


def make(case, length, batch):
    """The function to time."""
    import keras
    import numpy as np
    from keras import ops

    from mf_keras import DNCCell, MemoryForcing, SequenceGenerator, TeacherForcing, backend, unroll

    x = np.random.default_rng(0).integers(0, 2, (batch, length, 1)).astype("float32")
    cell = DNCCell(keras.layers.GRUCell(64), 1, memory_size=20, word_size=16, num_reads=4)
    if case != "unroll":
        generator = SequenceGenerator(cell)
        teacher = case == "teacher_forcing"
        model = TeacherForcing(generator) if teacher else MemoryForcing(generator, gate=None)
        model.compile(keras.optimizers.Adam(1e-3))
        return lambda: model.train_on_batch(x)
    cell.build((None, 1))

    def gradients(x):
        def loss():
            return [ops.sum(unroll(cell, x, keep=())[0] ** 2)], None

        return backend.pullback(loss, cell.trainable_variables)[2]([ops.ones(())])[0]

    run = backend.CompiledFor(cell, gradients)
    return lambda: [np.asarray(gradient) for gradient in run(x)]


def child(case, length, batch):
    """Time one case and print a row."""
    import keras

    devices = int(os.environ.get("MF_DEVICES", "1"))
    if devices > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    run = make(case, length, batch)
    start = time.perf_counter()
    run()
    first, times, work = time.perf_counter() - start, [], []
    while len(times) < 3 or (sum(times) < 3.0 and len(times) < 20):
        start, before = time.perf_counter(), time.process_time()
        run()
        times.append(time.perf_counter() - start)
        work.append(time.process_time() - before)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    row = {"backend": keras.backend.backend(), "devices": devices, "case": case, "time": length}
    row |= {"us_per_step": 1e6 * min(times) / length, "cpu_us": 1e6 * min(work) / length}
    print(json.dumps({**row, "batch": batch, "first_seconds": first, "peak_mib": peak}))


def row_of(python, backend, devices, case, length, batch):
    """A case's row, from a process of its own."""
    flags = os.environ.get("XLA_FLAGS", "")
    if devices > 1:
        flags += f" --xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": flags}
    environment |= {"MF_DEVICES": str(devices), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, "-m", "benchmarks.backends", "--child", case]
    command += ["--times", str(length), "--batch", str(batch)]
    done = subprocess.run(
        command,
        env=environment,
        cwd=pathlib.Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(arguments=None):
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--times", type=int, nargs="+", default=[98, 784], help="sequence lengths")
    parser.add_argument("--batch", type=int, default=64, help="default: 64")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--rounds", type=int, default=2, help="of which the best; default: 2")
    parser.add_argument("--python", nargs="+", help="BACKEND=PYTHON; default: this one")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        child(options.child, options.times[0], options.batch)
        return
    default = [f"{backend}={sys.executable}" for backend in ("tensorflow", "jax")]
    pythons = dict(pair.split("=", 1) for pair in options.python or default)
    ways = [(backend, 1) for backend in pythons]
    ways += [("jax", 2)] * ("jax" in pythons)
    print(
        f"{'':46}{'T':>5}  {'backend':18}{'us/step':>9}{'CPU us':>8}{'first s':>9}{'peak MiB':>9}"
    )
    for case in options.cases:
        for length in options.times:
            best = {}
            for _ in range(options.rounds):
                for way in ways:
                    row = row_of(pythons[way[0]], *way, case, length, options.batch)
                    if way not in best or row["us_per_step"] < best[way]["us_per_step"]:
                        best[way] = row
            for (backend, devices), row in best.items():
                name = backend if devices == 1 else f"{backend}, {devices} devices"
                print(
                    f"{CASES[case]:46}{length:5}  {name:18}{row['us_per_step']:9.0f}"
                    f"{row['cpu_us']:8.0f}{row['first_seconds']:9.1f}{row['peak_mib']:9.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
