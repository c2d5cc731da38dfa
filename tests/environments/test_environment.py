import keras
import pytest

from mf_keras.environments import CopyEnvironment, Environment, MemoryChain


@pytest.mark.parametrize("environment", [CopyEnvironment(3), MemoryChain(5)])
def test_a_configuration_makes_the_same_environment_again(environment):
    config = keras.saving.serialize_keras_object(environment)
    again = keras.saving.deserialize_keras_object(config)
    assert (
        repr(again) == repr(environment) == f"{type(environment).__name__}(length={again.length})"
    )


def test_what_is_missing_is_named():
    environment = Environment()
    for call in (
        lambda: environment.tasks(1, 0),
        lambda: environment.valid(None),
        lambda: environment.initial(None),
        lambda: environment.observe(None),
        lambda: environment.step(None, None, None),
    ):
        with pytest.raises(NotImplementedError, match="Environment must define"):
            call()
