"""TF Serving's REST API over HTTP: JSON in, JSON out, by the standard library."""

import http.client
import json
import ssl
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import numpy as np

from mf_keras.serving.errors import ServerError
from mf_keras.types import Path

# gRPC's names of failures, by the HTTP statuses that tensorflow_model_server gives them.
CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    412: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
DTYPES = {"DT_FLOAT": "float32", "DT_INT32": "int32", "DT_INT64": "int64"}


class RestTransport:
    """Requests to one model, each over a connection of its own; threads may share it.

    Args:
        url: http://HOST:PORT or https://HOST:PORT, with or without a path before `/v1`.
        model: the model's name.
        version: its version; None for the newest.
        ca_file: a file of certificates (PEM) to trust; None for those of the system.
        headers: sent with every request.

    Raises:
        OSError: `ca_file` cannot be read, or holds no certificates.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: int | None,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        self._tls = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        self._address = parts.netloc
        self._headers = {"Content-Type": "application/json", **(headers or {})}
        which = "" if version is None else f"/versions/{version}"
        self._path = f"{parts.path.rstrip('/')}/v1/models/{model}{which}"

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
        outputs = self._ask("POST", ":predict", body, timeout, "outputs")["outputs"]
        if not isinstance(outputs, dict):  # a single output comes without its name
            return {None: np.asarray(outputs, "float32")}
        return {name: np.asarray(value, "float32") for name, value in outputs.items()}

    def versions(self, timeout: float) -> dict[int, str]:
        """The state of every version that the server knows, such as "AVAILABLE".

        Raises:
            ServerError: there is no response, or it is an error.
        """
        key = "model_version_status"
        found = self._ask("GET", "", None, timeout, key)[key]
        return {int(each["version"]): each["state"] for each in found}

    def ready(self, timeout: float) -> bool:
        """Whether a version is available, in TF Serving's words or in KServe's.

        Raises:
            ServerError: there is no response, or it is an error.
        """
        found = self._ask("GET", "", None, timeout)
        states = [each.get("state") for each in found.get("model_version_status", [])]
        return "AVAILABLE" in states or found.get("ready") is True

    def signatures(self, timeout: float) -> dict[str, dict[str, dict]]:
        """What every signature takes and gives, as `Client.signatures`.

        Raises:
            ServerError: there is no response, or it is an error.
        """
        metadata = self._ask("GET", "/metadata", None, timeout, "metadata")["metadata"]
        return {
            name: {side: _specs(signature.get(side, {})) for side in ("inputs", "outputs")}
            for name, signature in metadata["signature_def"]["signature_def"].items()
            if not name.startswith("__")  # of the file itself
        }

    def _ask(self, method, path, body, timeout, key=None):
        """The object that is the response, with `key` in it."""
        try:
            status, text = self._exchange(method, path, body, time.monotonic() + timeout)
        except TimeoutError as error:
            raise ServerError("DEADLINE_EXCEEDED", f"no response in {timeout:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise ServerError("UNAVAILABLE", f"{type(error).__name__}: {error}") from error
        return _read(status, text, key)

    def _exchange(self, method, path, body, deadline):
        connection = self._connect(_left(deadline))
        try:
            connection.request(method, self._path + path, body, self._headers)
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

    def _connect(self, timeout):
        if self._tls is None:
            return http.client.HTTPConnection(self._address, timeout=timeout)
        return http.client.HTTPSConnection(self._address, timeout=timeout, context=self._tls)

    def close(self) -> None:
        """Do nothing: no connection is open between requests."""


def _left(deadline):
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _read(status: int, text: str, key: str | None) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ServerError(CODES.get(status, f"HTTP {status}"), f"no JSON object: {text[:200]!r}")
    if status != 200 or (key is not None and key not in answer):
        message = answer.get("error", text[:200])
        raise ServerError(CODES.get(status, f"HTTP {status}"), str(message))
    return answer


def _specs(infos):
    """Dtype and shape by name; None is a free size."""
    found = {}
    for name, info in infos.items():
        sizes = [int(dim["size"]) for dim in info["tensor_shape"].get("dim", [])]
        shape = tuple(None if size < 0 else size for size in sizes)
        found[name] = (DTYPES.get(info["dtype"], info["dtype"]), shape)
    return found
