"""What a time step costs on an accelerator, and whether its numbers are those of a CPU.

python -m benchmarks.gpu --json gpu.json

It runs on JAX and needs nothing beside but Keras and the packages Keras needs. Every case is a
process with its own flags of XLA and its own time limit, the most wanted first; a case that fails
or is too slow says so. All together end after `--budget` seconds. On a CPU it only shows that it
runs: `python -m benchmarks.gpu --time 6 --batches 4`.

* equality: outputs, traces and gradients beside `gpu_references.npz`, which a CPU wrote; with exact
  float32 products, and with those that JAX takes by itself (TF32 on recent GPUs).
* launch: what one more small kernel in a loop costs, with and without CUDA graphs.
* unroll: the DNC of the paper's sizes, forward and backward, and forward alone.
* memory forcing: a training step without gates, by `train_on_batch`.
* floors: Keras' GRU on JAX; cuDNN's by torch, where that is installed.
"""

import argparse
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import time

REFERENCES = pathlib.Path(__file__).with_name("gpu_references.npz")
PACKAGE = pathlib.Path(__file__).parent.parent
GRAPHS = (
    "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,"
    "DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE --xla_gpu_graph_min_graph_size=1"
)
# name -> (function, its arguments, flags of XLA, seconds that it may take)
CASES = {
    "equality": ("equality", {}, "", 120),
    "launch": ("launch", {}, "", 40),
    "launch, graphs": ("launch", {}, GRAPHS, 40),
    "unroll": ("unroll", {}, "", 120),
    "memory forcing": ("memory_forcing", {}, "", 150),
    "gru": ("gru", {}, "", 60),
    "torch gru": ("torch_gru", {}, "", 40),
    "unroll, graphs": ("unroll", {}, GRAPHS, 100),
    "unroll, sqrt": ("unroll", {"chunk": "sqrt"}, "", 90),
    "memory forcing, graphs": ("memory_forcing", {}, GRAPHS, 120),
}
_ROW = "ROW "


def record(**row):
    """Hand a row to the process that began this one."""
    print(_ROW + json.dumps(row), flush=True)


def timed(function, *arguments):
    """Seconds of the first call, and the median of later ones, each until the device is done."""
    import jax

    times = []
    while len(times) < 4 or (sum(times[1:]) < 1.0 and len(times) < 30):
        start = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - start)
    return times[0], sorted(times[1:])[len(times[1:]) // 2]


def memory():
    """The most bytes that were in use on the device; None where it does not say."""
    import jax

    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def numbers():
    """Outputs, traces and gradients of small cells with fixed weights, by name."""
    import jax
    import jax.numpy as jnp
    import keras
    import numpy as np

    from mf_keras import DNCCell, NTMCell, backend, unroll

    options = {"memory_size": 6, "word_size": 4, "num_reads": 2, "learn_initial_memory": True}
    makes = {
        "dense": lambda: DNCCell(keras.layers.GRUCell(8), 2, **options),
        "sparse": lambda: DNCCell(
            keras.layers.LSTMCell(8), 2, **options, linkage="sparse", num_links=2
        ),
        "ntm": lambda: NTMCell(keras.layers.GRUCell(8), 2, **options),
    }
    found = {}
    for name, make in makes.items():
        rng = np.random.default_rng(0)
        cell = make()
        cell.build((None, 3))
        for variable in cell.trainable_variables:
            variable.assign(rng.normal(scale=0.5, size=variable.shape))
        x = jnp.asarray(rng.normal(size=(4, 20, 3)), "float32")
        usage = jnp.asarray(rng.uniform(size=(4, 6)), "float32")  # no two slots are alike

        @jax.jit
        def gradients(x, usage, cell=cell):
            state = cell.initial_state(4)
            if "usage" in state._fields:
                state = state._replace(usage=usage)

            def run(x):
                outputs, trace, _ = unroll(cell, x, state)
                seen = [outputs, trace.hidden, trace.memory]
                return [sum(jnp.sum(jnp.sin(part)) for part in seen)], seen

            _, seen, pull = backend.pullback(run, cell.trainable_variables, [x])
            to_weights, to_x = pull([jnp.ones(())])
            return [*seen, *to_weights, *to_x]

        for index, array in enumerate(gradients(x, usage)):
            found[f"{name}/{index}"] = np.asarray(array)
    return found


def equality(options):
    """The largest difference to the references, relative to each array's largest entry."""
    import jax
    import numpy as np

    references = np.load(REFERENCES)
    for precision in ("highest", None):
        jax.config.update("jax_default_matmul_precision", precision)
        worst = {}
        for name, array in numbers().items():
            expected = references[name]
            difference = np.abs(array - expected).max() / max(np.abs(expected).max(), 1e-6)
            part = "outputs and traces" if int(name.split("/")[1]) < 3 else "gradients"
            worst[part] = max(worst.get(part, 0.0), float(difference))
        record(case=f"{options.child}, {precision or 'default'} precision", **worst)


def launch(options):
    """The slope over the number of reductions in a loop, which cannot be one kernel."""
    import jax
    import jax.numpy as jnp

    def loop(kernels):
        def body(_, x):
            for _ in range(kernels):
                x = x / (1.0 + jnp.sum(x * x))
            return x

        return jax.jit(lambda x: jax.lax.fori_loop(0, options.time, body, x))

    counts = (8, 32)
    seconds = [timed(loop(count), jnp.ones((64, 64)))[1] for count in counts]
    slope = (seconds[1] - seconds[0]) / (counts[1] - counts[0]) / options.time
    record(case=options.child, us_per_kernel=1e6 * slope)


def _measure(options, batch, function, *arguments, name=None):
    first, seconds = timed(function, *arguments)
    record(
        case=name or options.child,
        batch=batch,
        us_per_step=1e6 * seconds / options.time,
        seconds=seconds,
        first_seconds=first,
        peak_bytes=memory(),
    )


def unroll(options, chunk=None):
    """`unroll`, whose gradient reaches the weights."""
    import jax
    import jax.numpy as jnp
    import keras

    from mf_keras import DNCCell
    from mf_keras import unroll as run

    cell = DNCCell(keras.layers.GRUCell(64), 1, memory_size=20, word_size=16, num_reads=4)
    cell.build((None, 1))
    variables = cell.trainable_variables

    def loss(weights, x):
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            return jnp.sum(run(cell, x, keep=(), chunk=chunk)[0] ** 2)

    weights = [v.value for v in variables]
    for batch in options.batches:
        x = _bits(batch, options.time)
        _measure(options, batch, jax.jit(jax.grad(loss)), weights, x)
        if chunk is None and batch == options.batches[0]:
            _measure(options, batch, jax.jit(loss), weights, x, name=f"{options.child}, forward")


def gru(options):
    """Keras' GRU and a dense layer."""
    import jax
    import jax.numpy as jnp
    import keras

    layer = keras.Sequential([keras.layers.GRU(64, return_sequences=True), keras.layers.Dense(1)])
    layer.build((None, options.time, 1))
    variables = layer.trainable_variables

    def loss(weights, x):
        with keras.StatelessScope(list(zip(variables, weights, strict=True))):
            return jnp.sum(layer(x) ** 2)

    weights = [v.value for v in variables]
    for batch in options.batches:
        _measure(options, batch, jax.jit(jax.grad(loss)), weights, _bits(batch, options.time))


def memory_forcing(options):
    """A whole training step."""
    import keras
    import numpy as np

    from mf_keras import DNCCell, MemoryForcing, SequenceGenerator

    for batch in options.batches:
        cell = DNCCell(keras.layers.GRUCell(64), 1, memory_size=20, word_size=16, num_reads=4)
        model = MemoryForcing(SequenceGenerator(cell), gate=None)
        model.compile(keras.optimizers.Adam(1e-3))
        x = np.asarray(_bits(batch, options.time))
        _measure(options, batch, model.train_on_batch, x)


def torch_gru(options):
    """cuDNN's GRU."""
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for batch in options.batches:
        layer = torch.nn.GRU(1, 64, batch_first=True).to(device)
        x = torch.rand(batch, options.time, 1, device=device)

        def step(layer=layer, x=x):
            layer.zero_grad(set_to_none=True)
            (layer(x)[0] ** 2).sum().backward()
            if device == "cuda":
                torch.cuda.synchronize()

        _measure(options, batch, step)


def _bits(batch, length):
    import jax.numpy as jnp
    import numpy as np

    bits = np.random.default_rng(0).integers(0, 2, (batch, length, 1))
    return jnp.asarray(bits, "float32")


def device():
    """Where JAX computes, and its version."""
    import jax

    record(device=str(jax.local_devices()[0].device_kind), jax=jax.__version__)


def rows_of(case, options, flags, limit):
    """The rows that a case's process gives in its time, and what went wrong."""
    command = [sys.executable, "-m", "benchmarks.gpu", "--child", case]
    command += ["--time", str(options.time), "--batches", *map(str, options.batches)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONUNBUFFERED": "1"}
    environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    try:
        done = subprocess.run(
            command, env=environment, cwd=PACKAGE, capture_output=True, text=True, timeout=limit
        )
        text, error = done.stdout, done.stderr[-400:] if done.returncode else None
    except subprocess.TimeoutExpired as expired:
        text = expired.stdout or b""
        text, error = text.decode() if isinstance(text, bytes) else text, f"over {limit:.0f} s"
    found = [line[len(_ROW) :] for line in text.splitlines() if line.startswith(_ROW)]
    return [json.loads(line) for line in found], error


def main(arguments=None):
    """Run the cases, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--time", type=int, default=784, help="time steps; default: 784")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 256, 1024])
    parser.add_argument("--budget", type=float, default=450, help="seconds; default: 450")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--json", type=pathlib.Path, help="file to write the rows to")
    parser.add_argument("--write-references", action="store_true", help="on a CPU only")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child == "device":
        return device()
    if options.child:
        name, extra, _, _ = CASES[options.child]
        return globals()[name](options, **extra)
    if options.write_references:
        import numpy as np

        return np.savez_compressed(REFERENCES, **numbers())
    end = time.monotonic() + options.budget
    rows, error = rows_of("device", options, "", 60)
    print(rows or error, flush=True)
    for case in options.cases:
        _, _, flags, limit = CASES[case]
        limit = min(limit, end - time.monotonic())
        found, error = rows_of(case, options, flags, limit) if limit > 10 else ([], "no time left")
        found += [{"case": case, "error": error}] if error else []
        for row in found:
            numbers_of = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
            print(*(f"{k} {v}" for k, v in numbers_of.items()), sep="  ", flush=True)
        rows += found
        if options.json:  # after each: what was measured stays, whatever comes
            options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
