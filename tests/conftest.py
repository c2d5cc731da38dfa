"""Settings that every test shares.

Fixtures import what they need: the process that hands tests out to others runs none, and so does
not load TensorFlow.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of the suite's time is compilation, and small models gain nothing by LLVM's optimizations.
# The programs are XLA's own all the same. A first `fit` takes 12 s of CPU time instead of 23.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import hypothesis
import pytest

# A first call traces and compiles, so single examples may take seconds. They are the same
# in every run.
hypothesis.settings.register_profile(
    "mf_keras",
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.load_profile("mf_keras")


@pytest.fixture(autouse=True)
def _fresh_keras():
    """The same random weights in every order of the tests, and no dtype left behind."""
    import keras

    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A small generator and its export, of six steps and 2000 rows: `(generator, folder)`."""
    import keras

    from mf_keras import DNCCell
    from tests.small import small_generator

    keras.utils.set_random_seed(3)
    generator = small_generator(kind=DNCCell, num_reads=2)
    folder = tmp_path_factory.mktemp("saved_models") / "small" / "1"
    generator.export(folder, length=6, card={"data": "none"}, max_rows=2000)
    return generator, folder


@pytest.fixture(scope="session")
def signatures(exported):
    """The signatures of the export, loaded."""
    import tensorflow as tf

    return tf.saved_model.load(str(exported[1])).signatures
