"""A stand-in for tensorflow_model_server: its protos and its JSON over an exported model.

It is for tests and benchmarks. It joins concurrent requests to batches as the server does with
batching on, except that requests of different shapes wait in queues of their own. Two threads
compute the batches of a queue, as `batching.config` says. It also states the model's health and
metadata, and wants an authorization where it is served with one.
"""

import collections
import concurrent.futures
import contextlib
import http.server
import json
import queue
import ssl
import threading
import time

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

WINDOW = 0.002  # seconds that a request waits for others
MOST_ROWS = 256
THREADS = 2  # of a queue
HTTP = {"INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "NOT_FOUND": 404, "UNAVAILABLE": 503}


class RefusedError(Exception):
    """A request that is answered with a code and a message."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


class Model:
    """An exported model behind queues that join requests.

    Args:
        folder: the version's, .../NAME/VERSION.
        authorization: the header that a request must have; None for any.
    """

    def __init__(self, folder, authorization=None):
        self.authorization = authorization
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
        self.metadata = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in saved.meta_graphs[0].signature_def.items():
            self.metadata.signature_def[name].CopyFrom(signature)
        self.name = folder.parent.name
        self.version = int(folder.name)
        self.batches = []  # how many requests each batch held
        self._signatures = tf.saved_model.load(str(folder)).signatures
        self._lock = threading.Lock()
        self._queues = {}

    def check(self, name, version, authorization):
        """Refuse a request for another model, or of somebody who may not ask."""
        if self.authorization not in (None, authorization):
            raise RefusedError("UNAUTHENTICATED", "who is there?")
        if name != self.name or version not in (None, self.version):
            raise RefusedError("NOT_FOUND", f"Servable not found for request: {name}")

    def predict(self, signature, inputs):
        """Arrays by name for arrays by name; waits for its batch."""
        if signature not in self._signatures:
            raise RefusedError(
                "INVALID_ARGUMENT", f'Serving signature name "{signature}" not found'
            )
        shapes = tuple((key, x.dtype.str, x.shape[1:]) for key, x in sorted(inputs.items()))
        with self._lock:
            if (signature, shapes) not in self._queues:
                waiting = self._queues[signature, shapes] = queue.SimpleQueue()
                for _ in range(THREADS):
                    work = threading.Thread(target=self._serve, args=(signature, waiting))
                    work.daemon = True
                    work.start()
        future = concurrent.futures.Future()
        self._queues[signature, shapes].put((inputs, future))
        return future.result()

    def close(self):
        """End the threads."""
        for waiting in self._queues.values():
            for _ in range(THREADS):
                waiting.put(None)

    def _serve(self, signature, waiting):
        held = None  # the first of the next batch, which was too large for the last one
        while (first := held or waiting.get()) is not None:
            held, batch, rows, end = None, [first], _rows(first), time.monotonic() + WINDOW
            while rows < MOST_ROWS:
                try:
                    item = waiting.get(timeout=max(0.0, end - time.monotonic()))
                except queue.Empty:
                    break
                if item is None:
                    waiting.put(None)
                    break
                if rows + _rows(item) > MOST_ROWS:
                    held = item
                    break
                batch.append(item)
                rows += _rows(item)
            self.batches.append(len(batch))
            self._answer(signature, batch)

    def _answer(self, signature, batch):
        try:
            joined = {
                name: tf.constant(np.concatenate([inputs[name] for inputs, _ in batch]))
                for name in batch[0][0]
            }
            outputs = {k: x.numpy() for k, x in self._signatures[signature](**joined).items()}
        except tf.errors.OpError as error:
            code = "INVALID_ARGUMENT" if error.error_code == 3 else "INTERNAL"
            refusal = RefusedError(code, error.message)
        except (TypeError, ValueError) as error:  # names of the inputs
            refusal = RefusedError("INVALID_ARGUMENT", f"does not match signature: {error}")
        else:
            start = 0
            for item in batch:
                end = start + _rows(item)
                item[1].set_result({name: x[start:end] for name, x in outputs.items()})
                start = end
            return
        for _, future in batch:
            future.set_exception(refusal)


def _rows(item):
    return max(len(x) for x in item[0].values())


class _Servicer(
    prediction_service_pb2_grpc.PredictionServiceServicer,
    model_service_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, model):
        self._model = model

    def _check(self, spec, context):
        version = spec.version.value if spec.HasField("version") else None
        headers = dict(context.invocation_metadata())
        try:
            self._model.check(spec.name, version, headers.get("authorization"))
        except RefusedError as error:
            context.abort(grpc.StatusCode[error.code], str(error))

    def GetModelStatus(self, request, context):  # noqa: N802 - gRPC's name
        self._check(request.model_spec, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=self._model.version, state="AVAILABLE")
        return response

    def GetModelMetadata(self, request, context):  # noqa: N802
        self._check(request.model_spec, context)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(self._model.metadata)
        return response

    def Predict(self, request, context):  # noqa: N802
        spec = request.model_spec
        self._check(spec, context)
        inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
        signature = spec.signature_name or "serving_default"
        try:
            outputs = self._model.predict(signature, inputs)
        except RefusedError as error:
            context.abort(grpc.StatusCode[error.code], str(error))
        response = predict_pb2.PredictResponse()
        response.model_spec.CopyFrom(spec)
        for name, value in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response


class _Handler(http.server.BaseHTTPRequestHandler):
    """/v1/models/NAME[/versions/VERSION][:predict | /metadata], in the column format."""

    model = None
    dtypes = collections.defaultdict(lambda: "float32", seed="int64")

    def do_GET(self):
        try:
            self._check()
        except RefusedError as error:
            self._reply(HTTP[error.code], {"error": str(error)})
            return
        if self.path.endswith("/metadata"):
            found = json_format.MessageToDict(self.model.metadata, preserving_proto_field_name=True)
            self._reply(200, {"metadata": {"signature_def": found}})
        else:
            status = {"version": str(self.model.version), "state": "AVAILABLE"}
            self._reply(200, {"model_version_status": [status]})

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        try:
            self._check()
            arrays = {k: np.array(x, self.dtypes[k]) for k, x in request["inputs"].items()}
            signature = request.get("signature_name", "serving_default")
            outputs = self.model.predict(signature, arrays)
        except RefusedError as error:
            self._reply(HTTP.get(error.code, 500), {"error": str(error)})
            return
        outputs = {name: x.tolist() for name, x in outputs.items()}
        if len(outputs) == 1:
            (outputs,) = outputs.values()  # the server leaves a single output's name away
        self._reply(200, {"outputs": outputs})

    def _check(self):
        parts = self.path.removesuffix(":predict").removesuffix("/metadata").split("/")
        if parts[:3] != ["", "v1", "models"] or len(parts) not in (4, 6):
            raise RefusedError("NOT_FOUND", f"Malformed request: {self.path}")
        version = int(parts[5]) if len(parts) == 6 else None
        self.model.check(parts[3], version, self.headers.get("Authorization"))

    def _reply(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class _HttpServer(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextlib.contextmanager
def grpc_server(servicer, certificate=None, threads=16):
    """A gRPC server of a servicer on a free port: its URL.

    `certificate`: paths of a private key and a certificate, for TLS.
    """
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(threads))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(servicer, server)
    if isinstance(servicer, model_service_pb2_grpc.ModelServiceServicer):
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
    if certificate:
        pair = tuple(path.read_bytes() for path in certificate)
        port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([pair]))
    else:
        port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"grpcs://localhost:{port}" if certificate else f"grpc://127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


@contextlib.contextmanager
def http_server(handler, certificate=None):
    """An HTTP server of a request handler on a free port: its URL.

    `certificate`: paths of a private key and a certificate, for TLS.
    """
    server = _HttpServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate[1], certificate[0])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        host = "https://localhost" if certificate else "http://127.0.0.1"
        yield f"{host}:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def serve(folder, authorization=None, certificate=None):
    """Serve a version: `(model, gRPC URL, REST URL)`."""
    model = Model(folder, authorization)
    handler = type("Handler", (_Handler,), {"model": model})
    try:
        with (
            grpc_server(_Servicer(model), certificate) as rpc,
            http_server(handler, certificate) as rest,
        ):
            yield model, rpc, rest
    finally:
        model.close()


class Unavailable(prediction_service_pb2_grpc.PredictionServiceServicer):
    """Refuses so many requests, then answers."""

    def __init__(self, refusals, code=grpc.StatusCode.UNAVAILABLE):
        self.refusals, self.code, self.asked = refusals, code, 0

    def Predict(self, request, context):  # noqa: N802
        self.asked += 1
        if self.asked <= self.refusals:
            context.abort(self.code, "loading")
        response = predict_pb2.PredictResponse()
        response.outputs["nll"].dtype = 1
        response.outputs["nll"].tensor_shape.dim.add().size = 1
        response.outputs["nll"].float_val.append(3.0)
        return response


def rest_handler(status, body, refusals=0):
    """A handler that says 503 so many times, then this."""

    class Handler(http.server.BaseHTTPRequestHandler):
        asked = 0

        def do_POST(self):
            type(self).asked += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            loading = type(self).asked <= refusals
            self.send_response(503 if loading else status)
            self.end_headers()
            self.wfile.write(b'{"error": "loading"}' if loading else body)

        def log_message(self, *arguments):
            pass

    return Handler
