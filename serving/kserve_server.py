"""KServe's model server over an exported model: TF Serving's REST requests, health, metrics.

    pip install --requirement serving/requirements-kserve.txt
    python serving/kserve_server.py --folder saved_models/digits/1 --http_port 8501
    python -m mf_keras.serving sample --url http://localhost:8501 --out grid.png

It needs an environment of its own, since KServe wants older pandas and protobuf than the rest of
this repository; of `mf_keras` it needs nothing. Options besides `--folder`, `--model_name` and
those below are KServe's own, such as `--ssl_certfile`; see docs/guides/serving.md.
"""

import argparse
import asyncio
import pathlib
from typing import Any

import kserve
import numpy as np
import tensorflow as tf
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from kserve.errors import InvalidInput
from kserve.model_server import app

AT_ONCE = 2  # requests that are computed at the same time


class ExportedModel(kserve.Model):
    """One version of a model that `SequenceGenerator.export` wrote.

    Args:
        name: the model's.
        folder: the version's, .../NAME/VERSION.
        most_waiting: requests that wait or are computed; the response to further ones is 429.
    """

    def __init__(self, name: str, folder: str, most_waiting: int = 64) -> None:
        super().__init__(name)
        self._folder = folder
        self._most_waiting = most_waiting
        self._waiting = 0
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._signatures: dict[str, Any] = {}

    def load(self) -> bool:
        """Read the SavedModel; from then on the model is ready."""
        self._signatures = dict(tf.saved_model.load(self._folder).signatures)
        self.ready = True
        return self.ready

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """The response to {"signature_name": ..., "inputs": {name: values}}.

        Raises:
            InvalidInput: the request does not fit the signature, or the model refuses it: 400.
            HTTPException: too many requests are waiting: 429.
        """
        signature, inputs = self._read(payload)
        if self._waiting >= self._most_waiting:
            raise HTTPException(429, "too many requests are waiting")
        self._waiting += 1
        try:
            async with self._turns:
                outputs = await asyncio.to_thread(_answer, signature, inputs)
        finally:
            self._waiting -= 1
        # TF Serving leaves a single output's name away.
        return {"outputs": outputs if len(outputs) > 1 else next(iter(outputs.values()))}

    def _read(self, payload):
        """The signature that a request names, and its inputs as tensors."""
        if not isinstance(payload, dict) or not isinstance(payload.get("inputs"), dict):
            raise InvalidInput('the request must be JSON with "inputs", arrays by name.')
        name, inputs = payload.get("signature_name", "serving_default"), payload["inputs"]
        if not isinstance(name, str) or name not in self._signatures:
            raise InvalidInput(f"signature_name must be one of {sorted(self._signatures)}.")
        signature = self._signatures[name]
        specs = signature.structured_input_signature[1]
        if set(inputs) != set(specs):
            raise InvalidInput(f"inputs must be {sorted(specs)}, got {sorted(inputs)}.")
        return signature, {key: _tensor(key, inputs[key], spec) for key, spec in specs.items()}


def _tensor(name, values, spec):
    dtype = spec.dtype.as_numpy_dtype
    try:
        array = np.array(values)
        if array.dtype.kind not in "iuf" or (dtype != np.float32 and array.dtype.kind == "f"):
            raise ValueError(f"got {array.dtype}")
        if array.dtype.kind != "f" and np.dtype(dtype).kind == "i" and array.size:
            limits = np.iinfo(dtype)
            if int(array.max()) > limits.max or int(array.min()) < limits.min:
                raise ValueError(f"got {array.min()} to {array.max()}")
        tensor = tf.constant(array.astype(dtype))
    except (OverflowError, TypeError, ValueError) as error:  # also of rows of unequal lengths
        raise InvalidInput(f"{name} must be an array of {spec.dtype.name}: {error}") from error
    if not spec.shape.is_compatible_with(tensor.shape):
        raise InvalidInput(f"{name} must have shape {spec.shape}, got {tensor.shape}.")
    return tensor


def _answer(signature, inputs):
    try:
        return {name: x.numpy().tolist() for name, x in signature(**inputs).items()}
    except tf.errors.InvalidArgumentError as error:
        raise InvalidInput(error.message) from error


class BodyLimit:
    """ASGI middleware that refuses bodies of more bytes than allowed, with 413.

    Args:
        app: the application.
        most_bytes: of a body.
    """

    def __init__(self, app: Any, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on once its whole body is here and small enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._most_bytes:
                words = f"the request must have at most {self._most_bytes} bytes"
                await JSONResponse({"error": words}, 413)(scope, receive, send)
                return
        whole = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def receive_again():
            return whole.pop() if whole else await receive()

        await self._app(scope, receive_again, send)


def main() -> None:
    """Serve until a signal ends the process."""
    parser = argparse.ArgumentParser(
        parents=[kserve.model_server.parser], conflict_handler="resolve"
    )
    parser.add_argument("--folder", required=True, help="the version to serve, .../NAME/VERSION")
    parser.add_argument("--model_name", help="default: NAME")
    parser.add_argument("--most_bytes", type=int, default=16 * 2**20, help="of a request's body")
    parser.add_argument("--most_waiting", type=int, default=64, help="requests at once, or 429")
    options = parser.parse_args()
    name = options.model_name or pathlib.Path(options.folder).resolve().parent.name
    model = ExportedModel(name, options.folder, options.most_waiting)
    model.load()
    app.add_middleware(BodyLimit, most_bytes=options.most_bytes)
    kserve.ModelServer(http_port=options.http_port, enable_grpc=False).start([model])


if __name__ == "__main__":
    main()
