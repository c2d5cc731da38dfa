"""TF Serving's gRPC API."""

import urllib.parse
from collections.abc import Mapping

import numpy as np

from mf_keras.serving.errors import ServerError

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class GrpcTransport:
    """Requests to one model over one channel; threads may share it.

    Args:
        url: grpc://HOST:PORT, unencrypted.
        model: the model's name.
        version: its version; None for the newest.

    Raises:
        ImportError: the extra `[serving]` is not installed.
    """

    def __init__(self, url: str, model: str, version: int | None) -> None:
        try:
            import grpc
            from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
        except ImportError as error:
            raise ImportError(
                f"gRPC ({url}) needs grpcio and tensorflow-serving-api. Install them with "
                "pip install 'mf_keras[serving]', or use the server's REST port: http://HOST:8501."
            ) from error
        self._error = grpc.RpcError
        self._request = predict_pb2.PredictRequest
        self._model = model
        self._version = version
        self._channel = grpc.insecure_channel(urllib.parse.urlsplit(url).netloc, UNLIMITED)
        self._stub = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str, np.ndarray]:
        """Query the model: output arrays by name, from input arrays by name.

        Args:
            signature: its name.
            inputs: a dict of NumPy arrays.
            timeout: seconds.

        Raises:
            ServerError: there is no response, or it is an error.
        """
        import tensorflow as tf

        request = self._request()
        request.model_spec.name = self._model
        request.model_spec.signature_name = signature
        if self._version is not None:
            request.model_spec.version.value = self._version
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        try:
            response = self._stub.Predict(request, timeout=timeout)
        except self._error as error:
            raise ServerError(error.code().name, error.details()) from error
        return {name: tf.make_ndarray(tensor) for name, tensor in response.outputs.items()}

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
