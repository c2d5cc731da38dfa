"""Settings that every test shares.

Fixtures import what they need: the process that hands tests out to others runs none, and so does
not load TensorFlow.
"""

import inspect
import os
import pathlib

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
import pytest

ON_JAX = os.environ.get("KERAS_BACKEND") == "jax"
# What runs on JAX, in six minutes, as every test compiles there: the loop, numbers of all cells,
# their gradients and the steps of all algorithms beside TensorFlow's, training, files, callbacks.
# Left out are the contracts of cells and outputs one by one, samples, page, serving, experiments.
_ON_JAX = (
    *("backend/jax/", "backend/test_numbers.py", "callbacks/", "data/test_streams.py"),
    *(
        "forcing/test_reference_steps.py",
        "test_checkpoints.py",
        "test_layers.py",
        "test_old_files.py",
        "test_package.py",
    ),
)


def pytest_ignore_collect(collection_path):
    """Whether a file is not for the framework that Keras runs on."""
    path = collection_path.relative_to(pathlib.Path(__file__).parent).as_posix()
    if collection_path.suffix != ".py":
        path += "/"
    if not ON_JAX:
        wanted = not path.startswith("backend/jax/")
    else:
        wanted = path == "./" or any(path.startswith(n) or n.startswith(path) for n in _ON_JAX)
    return None if wanted else True


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
def _fresh_keras(request):
    """The same random weights in every order of the tests, and no dtype left behind."""
    import keras

    if ON_JAX:
        _set_precision(request.node)
    floatx, policy = keras.config.floatx(), keras.config.dtype_policy()
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_floatx(floatx)
    keras.config.set_dtype_policy(policy)


def _set_precision(test):
    """JAX has float64 only where it is asked to, as here for tests that name it."""
    import jax

    named = test.name + inspect.getsource(test.function)
    jax.config.update("jax_enable_x64", "float64" in named)


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
