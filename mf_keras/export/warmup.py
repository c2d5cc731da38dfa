"""Requests that a server runs when it loads a version, so that the first client need not wait."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from mf_keras import protos

EXTRA = "assets.extra"
FILE = "tf_serving_warmup_requests"


def write(folder: Any, name: str, functions: Mapping[str, Any], length: int) -> None:
    """Write a request for every signature: of one row of zeros, at temperature 1.

    Args:
        folder: a `pathlib.Path`, the SavedModel.
        name: the model's.
        functions: endpoint -> its concrete function.
        length: T, the number of steps of every sequence.
    """
    given = {"serving_default": functions["sample"], **functions}
    (folder / EXTRA).mkdir()
    with tf.io.TFRecordWriter(str(folder / EXTRA / FILE)) as file:
        for signature, function in given.items():
            specs = function.structured_input_signature[0]
            inputs = {spec.name: _row(spec, length) for spec in specs if spec is not None}
            log = protos.message("PredictionLog")()
            log.predict_log.request.CopyFrom(protos.predict_request(name, None, signature, inputs))
            file.write(log.SerializeToString())


def _row(spec, length):
    """One row for an input: zeros, but 1 for temperatures and lengths; half a prefix."""
    shape = [length // 2 if size is None else size for size in spec.shape[1:]]
    ones = spec.name in ("temperature", "lengths")
    return np.full((1, *shape), 1 if ones else 0, spec.dtype.as_numpy_dtype)
