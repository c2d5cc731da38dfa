"""The messages are those of TensorFlow Serving's published protos."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_log_pb2,
)

from mf_keras import protos

PUBLISHED = {
    "PredictRequest": predict_pb2.PredictRequest,
    "PredictResponse": predict_pb2.PredictResponse,
    "PredictionLog": prediction_log_pb2.PredictionLog,
    "GetModelStatusRequest": get_model_status_pb2.GetModelStatusRequest,
    "GetModelStatusResponse": get_model_status_pb2.GetModelStatusResponse,
    "GetModelMetadataRequest": get_model_metadata_pb2.GetModelMetadataRequest,
    "GetModelMetadataResponse": get_model_metadata_pb2.GetModelMetadataResponse,
    "SignatureDefMap": get_model_metadata_pb2.SignatureDefMap,
}


def check_fields(ours, theirs, path):
    """Every field of ours is one of theirs, by number, name and kind, down to the scalars."""
    for field in ours.fields:
        other = theirs.fields_by_number[field.number]
        if field.containing_type.GetOptions().map_entry is False:
            assert field.name == other.name, path
        assert field.is_repeated == other.is_repeated, (path, field.name)
        if field.message_type is not None:
            check_fields(field.message_type, other.message_type, f"{path}.{field.name}")
        else:
            enum_as_int = other.type == other.TYPE_ENUM and field.type == field.TYPE_INT32
            assert enum_as_int or field.type == other.type, (path, field.name)


@pytest.mark.parametrize("name", PUBLISHED)
def test_fields_have_the_published_numbers(name):
    check_fields(protos.message(name).DESCRIPTOR, PUBLISHED[name].DESCRIPTOR, name)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
@pytest.mark.parametrize("shape", [(2, 3), (0, 4), ()])
def test_tensors_go_there_and_come_back(dtype, shape):
    array = np.arange(6).astype(dtype)[: int(np.prod(shape))].reshape(shape)
    sent = protos.predict_request("m", 3, "sample", {"x": array}).SerializeToString()
    request = predict_pb2.PredictRequest.FromString(sent)
    assert (request.model_spec.name, request.model_spec.version.value) == ("m", 3)
    assert request.model_spec.signature_name == "sample"
    found = tf.make_ndarray(request.inputs["x"])
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype
    response = predict_pb2.PredictResponse()
    response.outputs["bytes"].CopyFrom(tf.make_tensor_proto(array))
    response.outputs["ones"].CopyFrom(tf.make_tensor_proto(np.ones(shape, dtype)))
    listed = tf.make_tensor_proto(0, dtype=dtype, shape=[2])  # one value for all
    response.outputs["listed"].CopyFrom(listed)
    back = protos.message("PredictResponse").FromString(response.SerializeToString())
    np.testing.assert_array_equal(protos.array(back.outputs["bytes"]), array)
    np.testing.assert_array_equal(protos.array(back.outputs["ones"]), np.ones(shape))
    np.testing.assert_array_equal(protos.array(back.outputs["listed"]), [0, 0])


def test_other_dtypes_are_refused():
    tensor = protos.message("Tensor")(dtype=7)
    with pytest.raises(ValueError, match="of float32, int32, int64, got TensorFlow's dtype number"):
        protos.array(tensor)
