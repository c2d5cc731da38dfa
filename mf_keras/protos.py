"""TensorFlow Serving's messages, as far as this package writes and reads them.

They are declared here by the numbers of their fields, in a pool of their own: the published ones
(PyPI `tensorflow-serving-api`) import TensorFlow. A reader skips fields that it does not know, so
what is not needed is left out. Sources: tensorflow_serving/apis/{model, predict,
get_model_metadata, get_model_status, prediction_log}.proto and
tensorflow/core/{framework/{tensor, tensor_shape}, protobuf/meta_graph}.proto.
"""

from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Messages: their fields, each a number and a type. `T*` is a list of T, `T by name` a map.
_MESSAGES = {
    "Dim": {"size": (1, "int64")},
    "Shape": {"dim": (2, "Dim*")},
    "Tensor": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "Shape"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "float*"),
        "int_val": (7, "int32*"),
        "int64_val": (10, "int64*"),
    },
    "Version": {"value": (1, "int64")},
    "ModelSpec": {
        "name": (1, "string"),
        "version": (2, "Version"),
        "signature_name": (3, "string"),
    },
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "Tensor by name")},
    "PredictResponse": {"outputs": (1, "Tensor by name")},
    "PredictLog": {"request": (1, "PredictRequest")},
    "PredictionLog": {"predict_log": (6, "PredictLog")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "ModelVersionStatus": {"version": (1, "int64"), "state": (2, "int32")},
    "GetModelStatusResponse": {"model_version_status": (1, "ModelVersionStatus*")},
    "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "string*")},
    "Any": {"value": (2, "bytes")},
    "GetModelMetadataResponse": {"metadata": (2, "Any by name")},
    "TensorInfo": {"dtype": (2, "int32"), "tensor_shape": (3, "Shape")},
    "SignatureDef": {"inputs": (1, "TensorInfo by name"), "outputs": (2, "TensorInfo by name")},
    "SignatureDefMap": {"signature_def": (1, "SignatureDef by name")},
}
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "bytes": _Field.TYPE_BYTES,
    "float": _Field.TYPE_FLOAT,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "string": _Field.TYPE_STRING,
}
_PACKAGE = "mf_keras"

# TensorFlow's numbers of the dtypes that requests and responses have, and where a tensor lists
# values that are not in `tensor_content`.
_DTYPES = {1: ("float32", "float_val"), 3: ("int32", "int_val"), 9: ("int64", "int64_val")}
_CODES = {name: code for code, (name, _) in _DTYPES.items()}
# States of a version.
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


def _declare(file, name, fields):
    """Add a message to a file of messages."""
    message = file.message_type.add(name=name)
    for field, (number, kind) in fields.items():
        declared = message.field.add(name=field, number=number, label=_Field.LABEL_OPTIONAL)
        if kind.endswith((" by name", "*")):
            declared.label = _Field.LABEL_REPEATED
        if kind.endswith(" by name"):  # a list of pairs, of a type that is declared within
            entry = message.nested_type.add(name=f"{field.title().replace('_', '')}Entry")
            entry.options.map_entry = True
            pair = {"key": "string", "value": kind.removesuffix(" by name")}
            for place, (part, of) in enumerate(pair.items(), start=1):
                _set_type(entry.field.add(name=part, number=place, label=_Field.LABEL_OPTIONAL), of)
            kind = f"{name}.{entry.name}"
        _set_type(declared, kind.removesuffix("*"))


def _set_type(field, kind):
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


def _classes():
    file = descriptor_pb2.FileDescriptorProto(
        name="mf_keras/protos.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        _declare(file, name, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES: dict[str, Any] = _classes()


def message(name: str) -> Any:
    """The class of a message, by its name in TensorFlow Serving, such as "PredictRequest"."""
    return _CLASSES[name]


def predict_request(
    model: str, version: int | None, signature: str, inputs: dict[str, np.ndarray]
) -> Any:
    """A PredictRequest.

    Args:
        model: the model's name.
        version: its version; None for the newest.
        signature: the signature's name.
        inputs: arrays of float32, int32 or int64 by name.
    """
    request = message("PredictRequest")()
    specify(request.model_spec, model, version)
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        tensor = request.inputs[name]
        tensor.dtype = _CODES[array.dtype.name]
        for size in array.shape:
            tensor.tensor_shape.dim.add(size=size)
        tensor.tensor_content = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
    return request


def specify(spec: Any, model: str, version: int | None) -> None:
    """Write a model's name and version into a ModelSpec."""
    spec.name = model
    if version is not None:
        spec.version.value = version


def array(tensor: Any) -> np.ndarray:
    """The array of a Tensor.

    Raises:
        ValueError: the tensor is of another dtype, or holds more or fewer values than its shape.
    """
    if tensor.dtype not in _DTYPES:
        raise ValueError(
            f"a tensor must be of {', '.join(_CODES)}, got TensorFlow's dtype "
            f"number {tensor.dtype}."
        )
    dtype, field = _DTYPES[tensor.dtype]
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        little = np.dtype(dtype).newbyteorder("<")
        return np.frombuffer(tensor.tensor_content, little).astype(dtype).reshape(sizes)
    values = np.array(getattr(tensor, field), dtype)
    if len(values) in (0, 1):  # one value stands for all, and none for zeros
        return np.full(sizes, values[0] if len(values) else 0, dtype)
    return values.reshape(sizes)


def specs(infos: Any) -> dict[str, tuple[str, tuple[int | None, ...]]]:
    """Dtype and shape by name, of the TensorInfos of a signature; None is a free size."""
    return {
        name: (
            _DTYPES.get(info.dtype, (f"dtype {info.dtype}", ""))[0],
            tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in infos.items()
    }
