"""Small models with discriminators, and comparisons of their weights."""

import keras
import numpy as np

from mf_keras import MemoryForcing, ProfessorForcing, SequenceDiscriminator, TeacherForcing
from tests.small import small_generator

WATCHED = {ProfessorForcing: ("hidden",), MemoryForcing: ("hidden", "memory")}
SHAPES = {"hidden": (None, None, 8), "memory": (None, None, 5, 4)}


def discriminators(method):
    """Small discriminators, the same at every call."""
    made = {}
    for index, part in enumerate(WATCHED[method]):
        keras.utils.set_random_seed(10 + index)
        discriminator = SequenceDiscriminator(gru_units=4, dense_units=(3,))
        discriminator.build(SHAPES[part])
        discriminator.built = True
        made[f"{part}_discriminator"] = discriminator
    return made


def make(
    method=MemoryForcing,
    optimizer=None,
    discriminator_optimizer=None,
    compiling=(),
    cell=(),
    **kwargs,
):
    """A small model; it runs eagerly unless `compiling` says other things, to spare compilation."""
    keras.utils.set_random_seed(3)
    # Rows of 1e-6 have a direction that a rounding error changes, so begin with other rows.
    generator = small_generator(learn_initial_memory=True, **dict(cell))
    given = {} if method is TeacherForcing else discriminators(method)
    model = method(generator, **given, **kwargs)
    compiling = dict(compiling) or {"run_eagerly": True}
    if method is not TeacherForcing:
        compiling["discriminator_optimizer"] = discriminator_optimizer or keras.optimizers.SGD(0.5)
    model.compile(optimizer or keras.optimizers.SGD(0.1), **compiling)
    return model


def adam():
    return keras.optimizers.Adam(1e-2)


def weights_of(model):
    return [np.array(v) for v in model.trainable_variables]


def assert_close(first, second, tolerance=1e-5):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=1e-4)


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def gate_open(logs):
    """The share of steps with an open gate, of each discriminator and epoch."""
    return [logs[f"{part}_discriminator_gate_open"] for part in ("hidden", "memory")]
