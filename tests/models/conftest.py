"""A generator that the tests of several modules share."""

import pytest


@pytest.fixture(scope="session")
def generator():
    """A generator whose logits vary; nobody changes it, and it compiles its programs once."""
    import keras

    from mf_keras import DNCCell
    from tests.small import small_generator

    keras.utils.set_random_seed(3)
    return small_generator(kind=DNCCell, num_reads=2)
