"""TF Serving's gRPC API."""

import pathlib
import urllib.parse
from collections.abc import Mapping

import numpy as np

from mf_keras.serving.errors import ServerError
from mf_keras.types import Path

UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class GrpcTransport:
    """Requests to one model over one channel; threads may share it.

    Args:
        url: grpc://HOST:PORT, unencrypted, or grpcs://HOST:PORT, by TLS.
        model: the model's name.
        version: its version; None for the newest.
        ca_file: a file of certificates (PEM) to trust; None for those that gRPC brings.
        headers: sent with every request, as gRPC's metadata.

    Raises:
        ImportError: the extra `[serving]` is not installed.
        OSError: `ca_file` cannot be read.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        try:
            import grpc

            from mf_keras import protos
        except ImportError as error:
            raise ImportError(
                f"gRPC ({url}) needs grpcio and protobuf. Install them with "
                "pip install grpcio protobuf, or use the server's REST port: http://HOST:8501."
            ) from error
        self._protos = protos
        self._error = grpc.RpcError
        self._model = model
        self._version = version
        self._metadata = [(name.lower(), value) for name, value in (headers or {}).items()]
        parts = urllib.parse.urlsplit(url)
        if parts.scheme == "grpcs":
            trusted = None if ca_file is None else pathlib.Path(ca_file).read_bytes()
            credentials = grpc.ssl_channel_credentials(trusted)
            self._channel = grpc.secure_channel(parts.netloc, credentials, UNLIMITED)
        else:
            self._channel = grpc.insecure_channel(parts.netloc, UNLIMITED)

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], timeout: float
    ) -> dict[str | None, np.ndarray]:
        """Query the model: output arrays by name, from input arrays by name.

        Args:
            signature: its name.
            inputs: a dict of NumPy arrays.
            timeout: seconds.

        Raises:
            ServerError: there is no response, or it is an error.
        """
        request = self._protos.predict_request(self._model, self._version, signature, dict(inputs))
        response = self._call("PredictionService/Predict", request, "PredictResponse", timeout)
        try:
            return {name: self._protos.array(x) for name, x in response.outputs.items()}
        except ValueError as error:
            raise ServerError("INTERNAL", str(error)) from error

    def versions(self, timeout: float) -> dict[int, str]:
        """The state of every version that the server knows, such as "AVAILABLE".

        Raises:
            ServerError: there is no response, or it is an error.
        """
        request = self._protos.message("GetModelStatusRequest")()
        self._protos.specify(request.model_spec, self._model, self._version)
        method, kind = "ModelService/GetModelStatus", "GetModelStatusResponse"
        response = self._call(method, request, kind, timeout)
        states = self._protos.STATES
        return {x.version: states[x.state] for x in response.model_version_status}

    def ready(self, timeout: float) -> bool:
        """Whether a version is available.

        Raises:
            ServerError: there is no response, or it is an error.
        """
        return "AVAILABLE" in self.versions(timeout).values()

    def signatures(self, timeout: float) -> dict[str, dict[str, dict]]:
        """What every signature takes and gives, as `Client.signatures`.

        Raises:
            ServerError: there is no response, or it is an error.
        """
        request = self._protos.message("GetModelMetadataRequest")()
        self._protos.specify(request.model_spec, self._model, self._version)
        request.metadata_field.append("signature_def")
        method, kind = "PredictionService/GetModelMetadata", "GetModelMetadataResponse"
        response = self._call(method, request, kind, timeout)
        packed = response.metadata["signature_def"].value
        found = self._protos.message("SignatureDefMap").FromString(packed).signature_def
        return {
            name: {
                "inputs": self._protos.specs(signature.inputs),
                "outputs": self._protos.specs(signature.outputs),
            }
            for name, signature in found.items()
            if not name.startswith("__")  # of the file itself
        }

    def _call(self, method, request, response, timeout):
        """The response to a request; `response` is the name of its message."""
        call = self._channel.unary_unary(
            f"/tensorflow.serving.{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=self._protos.message(response).FromString,
        )
        try:
            return call(request, timeout=timeout, metadata=self._metadata)
        except self._error as error:
            raise ServerError(error.code().name, error.details()) from error

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()
