import tensorflow as tf

from tests.export.helpers import warmup_requests


def test_there_is_a_warm_up_request_for_every_signature(exported, signatures):
    asked = set()
    for model, signature, inputs in warmup_requests(exported[1]):
        signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        assert model == "small"
        asked.add(signature)
    assert asked == set(signatures)
