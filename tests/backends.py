"""TensorFlow for the tests; where Keras runs on JAX, the few of its names that tests of both use.

A test that uses another name there is skipped: it tests what is TensorFlow's alone, or takes a
gradient by `tf.GradientTape`. `tests/backend/jax/` compares gradients and training steps with
numbers that TensorFlow wrote.
"""

import types

import keras
import numpy as np
import pytest

ON_JAX = keras.backend.backend() == "jax"


class _Missing:
    """What JAX does not have: any use of it skips the test."""

    def __init__(self, name):
        self._name = name

    def _skip(self, *args, **kwargs):
        pytest.skip(f"{self._name} is TensorFlow's alone", allow_module_level=True)

    __call__ = __enter__ = __iter__ = __mro_entries__ = _skip

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing(f"{self._name}.{name}")


class _Tensorflow(types.ModuleType):
    """Names of TensorFlow, of JAX."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _Missing(f"tf.{name}")


def _stand_in():
    import jax
    import jax.numpy as jnp

    tf = _Tensorflow("tensorflow")
    for name in ("float16", "float32", "float64", "bfloat16", "int32", "int64", "uint8"):
        setattr(tf, name, jnp.dtype(name))
    tf.bool = jnp.dtype(bool)

    def constant(value, dtype=None):
        return jnp.asarray(value, dtype=dtype)

    def function(run=None, jit_compile=None, autograph=True, reduce_retracing=None):
        return jax.jit if run is None else jax.jit(run)

    def reduced(reduce):
        return lambda x, axis=None, keepdims=False: reduce(x, axis=axis, keepdims=keepdims)

    tf.constant = tf.convert_to_tensor = tf.identity = constant
    tf.function = function
    tf.zeros = lambda shape, dtype="float32": jnp.zeros(shape, dtype)
    tf.ones = lambda shape, dtype="float32": jnp.ones(shape, dtype)
    tf.eye, tf.where, tf.abs, tf.exp, tf.sin = jnp.eye, jnp.where, jnp.abs, jnp.exp, jnp.sin
    tf.zeros_like, tf.ones_like, tf.reshape = jnp.zeros_like, jnp.ones_like, jnp.reshape
    tf.cast = lambda x, dtype: jnp.asarray(x).astype(dtype)
    tf.range, tf.equal, tf.stack, tf.transpose = jnp.arange, jnp.equal, jnp.stack, jnp.transpose
    tf.concat = lambda parts, axis: jnp.concatenate(parts, axis=axis)
    tf.reduce_sum, tf.reduce_mean = reduced(jnp.sum), reduced(jnp.mean)
    tf.reduce_max, tf.reduce_prod = reduced(jnp.max), reduced(jnp.prod)
    tf.sigmoid, tf.one_hot, tf.norm = jax.nn.sigmoid, jax.nn.one_hot, jnp.linalg.norm
    tf.einsum, tf.is_tensor = jnp.einsum, lambda x: isinstance(x, jax.Array)
    tf.nn = types.SimpleNamespace(softmax=jax.nn.softmax, softplus=jax.nn.softplus)
    tf.math = types.SimpleNamespace(log=jnp.log, top_k=jax.lax.top_k)
    tf.nest = types.SimpleNamespace(
        map_structure=keras.tree.map_structure, flatten=keras.tree.flatten
    )
    tf.experimental = types.SimpleNamespace(numpy=types.SimpleNamespace(moveaxis=np.moveaxis))
    tf.experimental.numpy.moveaxis = jnp.moveaxis
    return tf


if ON_JAX:
    tf = _stand_in()
    type(tf.zeros(())).numpy = lambda x: np.asarray(x)  # as tensors of TensorFlow have it
    execution = _Missing("the execution on cores")
else:
    import tensorflow as tf

    from mf_keras.backend.tensorflow import execution

__all__ = ["ON_JAX", "execution", "tf"]
