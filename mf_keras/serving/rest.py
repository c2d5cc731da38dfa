"""TF Serving's REST API over plain HTTP: JSON in, JSON out."""

import http.client
import json
import time
import urllib.parse
from collections.abc import Mapping

import numpy as np

from mf_keras.serving.errors import ServerError

# gRPC's names of failures, by the HTTP statuses that tensorflow_model_server gives them.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
CONNECTIONS = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}


class RestTransport:
    """Requests to one model, each over a connection of its own; threads may share it.

    Args:
        url: http://HOST:PORT or https://HOST:PORT, with or without a path before `/v1`.
        model: the model's name.
        version: its version; None for the newest.
    """

    def __init__(self, url: str, model: str, version: int | None) -> None:
        parts = urllib.parse.urlsplit(url)
        self._connection = CONNECTIONS[parts.scheme]
        self._address = parts.netloc
        which = "" if version is None else f"/versions/{version}"
        self._path = f"{parts.path.rstrip('/')}/v1/models/{model}{which}:predict"

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
        arrays = {name: array.tolist() for name, array in inputs.items()}
        body = json.dumps({"signature_name": signature, "inputs": arrays})
        try:
            status, text = self._post(body, time.monotonic() + timeout)
        except TimeoutError as error:
            raise ServerError("DEADLINE_EXCEEDED", f"no response in {timeout:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerError("UNAVAILABLE", f"{type(error).__name__}: {error}") from error
        return _read(status, text)

    def _post(self, body, deadline):
        connection = self._connection(self._address, timeout=_left(deadline))
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            socket = connection.sock  # the connection drops it before the response is read
            socket.settimeout(_left(deadline))
            response = connection.getresponse()
            pieces = []
            while piece := response.read1(65536):
                pieces.append(piece)
                if socket.fileno() != -1:  # it is closed once the whole response is here
                    socket.settimeout(_left(deadline))
            return response.status, b"".join(pieces).decode("utf-8", "replace")
        finally:
            connection.close()

    def close(self) -> None:
        """Do nothing: no connection is open between requests."""


def _left(deadline):
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read(status, text):
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ServerError(CODES.get(status, f"HTTP {status}"), f"no JSON object: {text[:200]!r}")
    if status != 200 or "outputs" not in answer:
        message = answer.get("error", text[:200])
        raise ServerError(CODES.get(status, f"HTTP {status}"), str(message))
    outputs = answer["outputs"]
    if not isinstance(outputs, dict):  # a single output comes without its name
        return {None: np.asarray(outputs, "float32")}
    return {name: np.asarray(value, "float32") for name, value in outputs.items()}
