"""How what runs over time is compiled: as a whole, loop by loop, or not at all."""

import contextlib
import functools
import threading

import tensorflow as tf

_mode = threading.local()  # the replicas of a strategy are threads


def compiled(function):
    """`function` as a graph whose loops XLA compiles, anew for every new set of input shapes."""

    @functools.wraps(function)
    def run(*args):
        with compiling_loops():
            return function(*args)

    return tf.function(run, autograph=False)


@contextlib.contextmanager
def compiling_loops(wanted=True):
    """Within, every scan that is traced into a graph is compiled by XLA.

    A loop by itself is compiled rather than the whole graph around it, since one program of XLA
    keeps little more than one core of a CPU busy, and TensorFlow runs several programs at a time:
    two halves of a batch take half the time on two cores (see `cores`).

    Args:
        wanted: False leaves things as they are.
    """
    before = getattr(_mode, "loops", False)
    _mode.loops = before or wanted
    try:
        yield
    finally:
        _mode.loops = before


def loops_are_compiled():
    """Whether the scans that are traced now are to be compiled."""
    return getattr(_mode, "loops", False) and not tf.executing_eagerly()
