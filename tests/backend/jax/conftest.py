import keras
import pytest


@pytest.fixture
def parallel():
    """Within, eight devices share every batch."""
    distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    assert distribution.device_mesh.devices.size == 8
    yield distribution
    keras.distribution.set_distribution(None)
