"""Measure a function in a process of its own: time and peak memory."""

import argparse
import json
import multiprocessing
import pathlib
import platform
import resource
import sys
import time

from train.runs.machine import processor


def isolated(function, *arguments):
    """`function(*arguments)` in a fresh process, so that its peak memory is its own.

    The function returns a callable, which is called once to warm up and compile, then timed.

    Returns:
        A dict: seconds (best of several calls), first_seconds (with tracing and compilation),
        peak_mib (of the whole process, MiB, the libraries' 700 or so included).
    """
    return in_process(_measure, function, arguments)


def in_process(target, *arguments):
    """What `target(sender, *arguments)` sends, from a fresh process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(sender, *arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    finally:
        process.join()


def _measure(sender, function, arguments):
    run = function(*arguments)
    start = time.perf_counter()
    run()
    first = time.perf_counter() - start
    times = []
    while len(times) < 3 or (sum(times) < 3.0 and len(times) < 20):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak /= 2**20 if sys.platform == "darwin" else 2**10  # which tells bytes, where Linux tells KiB
    sender.send({"seconds": min(times), "first_seconds": first, "peak_mib": peak})


def race(functions, rounds=5, clock=time.perf_counter):
    """Best time of each function, in seconds, in turns: what disturbs one disturbs all.

    Args:
        functions: dict of callables without arguments; each is called once to compile first.
        rounds: how often each is timed.
        clock: what to time by; `time.process_time` for CPU time.
    """
    for function in functions.values():
        function()
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            start = clock()
            function()
            best[name] = min(best[name], clock() - start)
    return best


def make_product(size=1024):
    """A product of two matrices, to measure how fast the machine multiplies.

    Returns:
        `(function, flop)`: what to time, and its multiplications and additions.
    """
    import tensorflow as tf

    x = tf.random.stateless_normal((size, size), seed=(0, 0))
    product = tf.function(lambda: tf.matmul(x, x), jit_compile=True)
    return lambda: product().numpy(), 2 * size**3


def add_json_option(parser):
    """The option `--json`; where it cannot be written, that is said before anything is measured."""
    parser.add_argument("--json", type=_json_path, help="file to write the rows to")


def _json_path(text):
    """An argparse type: a file that is not there, or that `write_json` wrote."""
    from mf_keras import files  # here, so that a measured process is without TensorFlow's memory

    try:
        files.check_ours(text, b'{\n  "machine": {')
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return pathlib.Path(text)


def write_json(path, rows):
    """Write the rows with the machine they were measured on."""
    from mf_keras import files

    machine = {"processor": processor(), "python": platform.python_version()}
    content = json.dumps({"machine": machine, "rows": rows}, indent=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as temporary:
        temporary.write_text(content + "\n", encoding="utf-8")
