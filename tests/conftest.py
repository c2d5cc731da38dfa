"""Settings that every test shares."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")
# Most of the suite's time is compilation, and small models gain nothing by LLVM's optimizations.
# The programs are XLA's own all the same. A first `fit` takes 12 s of CPU time instead of 23.
# On JAX there are eight devices, for the tests of several.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0"
    + " --xla_force_host_platform_device_count=8" * (os.environ.get("KERAS_BACKEND") == "jax"),
)

import hypothesis
import keras
import pytest

from tests.backends import ON_JAX, tf
from tests.small import small_generator

# What only TensorFlow has, or what has no part that depends on the framework. On JAX the other
# tests run; those of them that use TensorFlow by itself are skipped there (`tests/backends.py`).
collect_ignore = []
if ON_JAX:
    collect_ignore = [
        *("backend/tensorflow", "data", "export", "serving", "train"),
        *("forcing/test_distribution.py", "forcing/test_determinism.py"),
        *("page", "viewer", "test_cli.py"),
        *("test_configurations.py", "test_docs.py", "test_fuzz.py", "test_measure.py"),
        *("test_numerics.py", "test_protos.py", "test_readme.py", "test_speed.py", "test_walk.py"),
    ]
else:
    collect_ignore = ["backend/jax"]

# A first call traces and compiles, so single examples may take seconds.
hypothesis.settings.register_profile(
    "mf_keras", deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("mf_keras")


@pytest.fixture(autouse=True)
def _fresh_keras(request):
    """The same random weights in every order of the tests, and no dtype left behind."""
    if ON_JAX:
        _set_precision(request)
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


# Tests of the equations are in float64, which JAX has to be told.
_IN_FLOAT64 = ("test_addressing.py", "test_kanerva.py", "test_layouts.py", "test_sparse_linkage.py")


def _set_precision(request):
    import jax

    file = request.node.path
    wanted = (
        file.name in _IN_FLOAT64 or file.parent.name == "cells" or "float64" in request.node.name
    )
    jax.config.update("jax_enable_x64", wanted)


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """A small generator and its export, of six steps and 2000 rows: `(generator, folder)`."""
    keras.utils.set_random_seed(3)
    generator = small_generator()
    folder = tmp_path_factory.mktemp("saved_models") / "small" / "1"
    generator.export(folder, length=6, card={"data": "none"}, max_rows=2000)
    return generator, folder


@pytest.fixture(scope="session")
def signatures(exported):
    """The signatures of the export, loaded."""
    return tf.saved_model.load(str(exported[1])).signatures
