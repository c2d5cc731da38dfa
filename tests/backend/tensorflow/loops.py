"""A loop with weights, and what must come out of it, for the tests of scan and execution."""

import keras
import numpy as np
import tensorflow as tf

from mf_keras import backend

XLA_ROUNDS = {"rtol": 1e-9, "atol": 1e-12}  # otherwise than TensorFlow


def problem(time, batch=2, size=3):
    """A step with weights, two carries and two inputs, one of them a mask."""
    rng = np.random.default_rng(0)
    weights = keras.Variable(rng.normal(size=(size, size)), dtype="float64")
    start = {"h": rng.normal(size=(batch, size)), "sum": rng.normal(size=(batch, size))}
    inputs = (rng.normal(size=(time, batch, size)), rng.uniform(size=(time, batch, 1)) > 0.3)

    def step(carry, inputs_t):
        x, mask = inputs_t
        h = tf.tanh(carry["h"] @ weights + x)
        new = {"h": h, "sum": carry["sum"] + h * h}
        return {name: tf.where(mask, new[name], carry[name]) for name in new}

    as_tensors = tf.nest.map_structure(tf.constant, (start, inputs))
    return step, weights, *as_tensors


def swap(x):
    """The first two axes changed for each other."""
    return tf.transpose(x, (1, 0, 2))


def run(step, weights, start, inputs, keep=None, chunk=None, sums=None):
    """Results, and gradients of a function of everything that is returned."""
    sources = [weights.value, start, inputs[0]]

    def scan(start, inputs):
        inputs = tf.nest.map_structure(swap, inputs)
        stacked, last = backend.scan(step, [weights], start, inputs, keep, chunk, sums=sums)
        return {name: None if x is None else swap(x) for name, x in stacked.items()}, last

    with tf.GradientTape() as tape:
        tape.watch(sources)
        # Rows come first where they are shared out to the cores.
        stacked, last = backend.on_cores(scan, start, tf.nest.map_structure(swap, inputs))
        stacked = {name: None if x is None else swap(x) for name, x in stacked.items()}
        results = [stacked["h"], last["h"], last["sum"]]
        loss = sum(tf.reduce_sum(tf.sin(x * (i + 2.0))) for i, x in enumerate(results))
    return stacked, last, tape.gradient(loss, sources)


def by_loop(step, weights, start, inputs):
    """The same by a Python loop under one tape."""
    sources = [weights.value, start, inputs[0]]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        carry, states = start, []
        for t in range(len(inputs[0])):
            carry = step(carry, (inputs[0][t], inputs[1][t]))
            states.append(carry["h"])
        results = [tf.stack(states), carry["h"], carry["sum"]]
        loss = sum(tf.reduce_sum(tf.sin(x * (i + 2.0))) for i, x in enumerate(results))
    return results, tape.gradient(loss, sources)


def assert_close(actual, expected, rtol=1e-12, atol=1e-14):
    for x, y in zip(tf.nest.flatten(actual), tf.nest.flatten(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol, atol)
