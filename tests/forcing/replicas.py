"""Small models and runs for the tests of several replicas, which need processes of their own."""

import keras
import numpy as np
import tensorflow as tf

from mf_keras import (
    DNCCell,
    MemoryForcing,
    MemoryReplay,
    Policy,
    PositiveNegativeMemoryForcing,
    Reinforce,
    SequenceDiscriminator,
    SequenceGAN,
    SequenceGenerator,
    SequenceTransducer,
    TeacherForcing,
)
from mf_keras.environments import CopyEnvironment
from tests.small import binary

TIME = 2


def make(method, jit_compile="auto", run_eagerly=True, clipnorm=None, **kwargs):
    """A compiled model, the same at every call; it runs eagerly to spare tracing."""
    keras.utils.set_random_seed(1)
    # Rows of 1e-6 have a direction that a rounding error changes, so begin with other rows.
    cell = DNCCell(
        keras.layers.GRUCell(4),
        1,
        memory_size=3,
        word_size=2,
        num_reads=1,
        learn_initial_memory=True,
        linkage=None,  # half of the operations of a step, which run one by one here
    )
    if method is PositiveNegativeMemoryForcing:
        model = SequenceTransducer(cell)
        model.build((None, None, 2))
        kwargs["discriminator"] = discriminator(3, 2)
        kwargs.update(replay=MemoryReplay(5), discriminator_batch=3)
    elif method is Reinforce:
        model = Policy(cell, CopyEnvironment(TIME))
    else:
        model = SequenceGenerator(cell)
        if method is SequenceGAN:
            kwargs["discriminator"] = discriminator(1)
        elif method is not TeacherForcing:
            kwargs["hidden_discriminator"] = discriminator(4)
        if method is MemoryForcing:
            kwargs["memory_discriminator"] = discriminator(3, 2)
    random = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(3.0 * variable + random.normal(scale=0.3, size=variable.shape))
    forcing = method(model, **kwargs)
    compiling = {"jit_compile": jit_compile, "run_eagerly": run_eagerly}
    if method is not TeacherForcing:
        compiling["discriminator_optimizer"] = keras.optimizers.SGD(0.3, clipnorm=clipnorm)
    forcing.compile(keras.optimizers.SGD(0.1, momentum=0.5, clipnorm=clipnorm), **compiling)
    return forcing


def discriminator(*features):
    made = SequenceDiscriminator(gru_units=3, dense_units=(2,), spectral_normalization=True)
    made.build((None, None, *features))
    made.built = True
    return made


def batches(method, count, size=4):
    """`count` sequences in batches of `size`; the last one may be smaller."""
    if method is Reinforce:
        return tf.data.Dataset.from_tensor_slices(binary(count, TIME)).batch(size)
    if method is not PositiveNegativeMemoryForcing:
        return tf.data.Dataset.from_tensor_slices(binary(count, TIME, 1)).batch(size)
    # What counts is few bits of some sequences, so that there are right and wrong predictions.
    weights = np.ones((count, TIME), "float32")
    weights[: 2 * count // 3, 1:] = 0.0
    inputs = binary(count, TIME, 2)
    data = (inputs, inputs[..., :1], weights)
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


class StepLogs(keras.callbacks.Callback):
    """Keeps the logs of every training step."""

    def __init__(self):
        super().__init__()
        self.rows = []

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append({name: float(value) for name, value in logs.items()})


def state(model):
    """All that a step changes, by path: weights, momenta, averages, buffers, random state."""
    adversaries = getattr(model, "adversaries", {})
    optimizers = [model.optimizer, *(adversary.optimizer for adversary in adversaries.values())]
    variables = [v for v in model.variables if "seed_generator" not in v.path]
    variables += [v for optimizer in optimizers for v in optimizer.variables]
    if adversaries:
        variables.append(model.seed_generator.state)
    return [(variable.path, np.array(variable.numpy(), "float64")) for variable in variables]


def distance(first, second):
    """The largest difference between two states, and where it is."""
    pairs = zip(first, second, strict=True)
    return max((float(np.abs(a - b).max()), path) for (path, a), (_, b) in pairs)
