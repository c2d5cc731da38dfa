"""Requests that a server runs when it loads a version, so that the first client need not wait."""

import importlib.util
from typing import Any

import numpy as np
import tensorflow as tf

from mf_keras.outputs import Output

EXTRA = "assets.extra"
FILE = "tf_serving_warmup_requests"


def check_installed() -> None:
    """Refuse to export without TF Serving's protos, in which the requests are written.

    Raises:
        ImportError: the extra `[serving]` is not installed.
    """
    if importlib.util.find_spec("tensorflow_serving") is None:
        raise ImportError(
            "exporting needs tensorflow-serving-api, for the warm-up requests. Install it with "
            "pip install 'mf_keras[serving]'."
        )


def write(folder: Any, name: str, functions: Any, length: int, output: Output) -> None:
    """Write a request for every signature.

    Args:
        folder: a `pathlib.Path`, the SavedModel.
        name: the model's.
        functions: names of the endpoints.
        length: T, the number of steps of every sequence.
        output: what a step is.
    """
    from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

    draw = {"seed": np.zeros(1, "int64"), "temperature": np.ones(1, "float32")}
    sequences = {"sequences": np.zeros((1, length, *output.step), output.dtype)}
    inputs: dict[str, dict[str, np.ndarray]] = {
        "serving_default": draw,
        "sample": draw,
        "score": sequences,
        "trace": sequences,
        "complete": {"prefix": sequences["sequences"][:, : length // 2], **draw},
    }
    (folder / EXTRA).mkdir()
    with tf.io.TFRecordWriter(str(folder / EXTRA / FILE)) as file:
        for signature in ("serving_default", *functions):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = name
            request.model_spec.signature_name = signature
            for key, value in inputs[signature].items():
                request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.CopyFrom(request)
            file.write(log.SerializeToString())
