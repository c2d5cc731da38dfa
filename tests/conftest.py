"""Settings that every test shares."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "Agg")

import hypothesis
import keras
import pytest

# A first call traces and compiles, so single examples may take seconds.
hypothesis.settings.register_profile(
    "mf_keras", deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
)
hypothesis.settings.load_profile("mf_keras")


@pytest.fixture(autouse=True)
def _fresh_keras():
    """The same random weights in every order of the tests, and no dtype policy left behind."""
    policy = keras.config.dtype_policy()
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy(policy)
