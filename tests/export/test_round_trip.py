"""Exports of random generators answer as the generators do."""

import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mf_keras import DNCCell, NTMCell, SequenceGenerator

sizes = st.integers(1, 4)
shared = {
    "units": st.integers(1, 3),
    "memory_size": sizes,
    "word_size": sizes,
    "num_reads": st.integers(1, 2),
    "num_writes": st.integers(1, 2),
    "learn_initial_memory": st.booleans(),
}
cells = st.one_of(
    st.tuples(st.just(NTMCell), st.fixed_dictionaries({**shared, "shift_range": sizes})),
    st.tuples(
        st.just(DNCCell),
        st.fixed_dictionaries(
            {
                **shared,
                "linkage": st.sampled_from(["dense", "sparse", None]),
                "masked_lookup": st.booleans(),
                "erase_on_deallocation": st.booleans(),
            }
        ),
    ),
)
controllers = st.sampled_from(["GRUCell", "LSTMCell", "SimpleRNNCell"])


def make(cell_class, options, controller, seed):
    """A generator with random weights, whose logits vary."""
    keras.utils.set_random_seed(seed)
    controller = getattr(keras.layers, controller)(3)
    generator = SequenceGenerator(cell_class(controller, **options))
    random = np.random.default_rng(seed)
    for variable in generator.trainable_variables:
        variable.assign(random.normal(size=variable.shape))
    return generator


@pytest.mark.long
# An export takes seconds, so there are few examples; the seed is the weights' as well.
@settings(max_examples=2)
@given(cell=cells, controller=controllers, length=st.integers(1, 4), seed=st.integers(0, 2**31))
def test_an_export_answers_as_its_generator(cell, controller, length, seed):
    generator = make(*cell, controller, seed)
    with tempfile.TemporaryDirectory() as folder:
        generator.export(f"{folder}/any/1", length=length)
        signatures = tf.saved_model.load(f"{folder}/any/1").signatures
        x = np.random.default_rng(seed).integers(0, 2, (5, length, generator.units))
        x = x.astype("float32")
        scores = signatures["score"](sequences=tf.constant(x))["nll"]
        np.testing.assert_allclose(scores, generator.nll(x), rtol=1e-4, atol=1e-4)
        _, trace = generator.teacher_force(x)
        kept = signatures["trace"](sequences=tf.constant(x))
        np.testing.assert_allclose(kept["memory"], trace.memory, rtol=1e-3, atol=1e-4)

        seeds, ones = tf.constant([seed, 1, 2], tf.int64), tf.ones(3)
        drawn = signatures["sample"](seed=seeds, temperature=ones)
        np.testing.assert_allclose(
            drawn["nll"], generator.nll(drawn["samples"]), rtol=1e-4, atol=1e-4
        )
        cold = signatures["sample"](seed=seeds, temperature=1e-6 * ones)["samples"]
        mode, _, _ = generator.free_run(3, length, seed=0, temperature=0.0)  # without compiling
        np.testing.assert_array_equal(cold, mode)
        completed = signatures["complete"](
            prefix=drawn["samples"][:, : length // 2], seed=seeds, temperature=ones
        )
        np.testing.assert_array_equal(completed["samples"], drawn["samples"])
