"""Requests that a server runs when it loads a version, so that the first client need not wait."""

from typing import Any

import numpy as np
import tensorflow as tf

from mf_keras import protos
from mf_keras.outputs import Output

EXTRA = "assets.extra"
FILE = "tf_serving_warmup_requests"


def write(folder: Any, name: str, functions: Any, length: int, output: Output) -> None:
    """Write a request for every signature.

    Args:
        folder: a `pathlib.Path`, the SavedModel.
        name: the model's.
        functions: names of the endpoints.
        length: T, the number of steps of every sequence.
        output: what a step is.
    """
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
            log = protos.message("PredictionLog")()
            log.predict_log.request.CopyFrom(
                protos.predict_request(name, None, signature, inputs[signature])
            )
            file.write(log.SerializeToString())
