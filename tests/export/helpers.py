"""What the tests of exported models share: requests, and those that a version brings along."""

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from mf_keras.export import warmup

LENGTH = 6


def draw(seed, temperature=1.0):
    seed = np.asarray(seed, "int64")
    return {"seed": seed, "temperature": np.full(seed.shape, temperature, "float32")}


def warmup_requests(folder):
    """`(model, signature, arrays by name)` of what a server asks when it loads a version."""
    file = str(folder / warmup.EXTRA / warmup.FILE)
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        yield request.model_spec.name, request.model_spec.signature_name, inputs
