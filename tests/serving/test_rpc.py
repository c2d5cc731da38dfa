import sys

import grpc
import numpy as np
import pytest

from mf_keras.serving import Client, ServerError
from mf_keras.serving.rpc import GrpcTransport
from tests.serving.server import Unavailable, grpc_server


def test_without_the_extra_rest_works_and_grpc_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(ImportError, match="pip install grpcio protobuf"):
        Client("grpc://localhost:8500")
    Client("http://localhost:8501")


def test_headers_are_metadata_in_lower_case_and_errors_have_their_code():
    seen = []

    class Refusing(Unavailable):
        def Predict(self, request, context):  # noqa: N802
            seen.append((dict(context.invocation_metadata())["x-who"], request.model_spec))
            return super().Predict(request, context)

    inputs = {"sequences": np.zeros((1, 2, 1), "float32")}
    with grpc_server(Refusing(1, grpc.StatusCode.DATA_LOSS)) as url:
        transport = GrpcTransport(url, "small", 3, headers={"X-Who": "me"})
        with pytest.raises(ServerError, match="loading") as info:
            transport.predict("score", inputs, 5.0)
        answer = transport.predict("score", inputs, 5.0)
        transport.close()
    assert info.value.code == "DATA_LOSS"
    np.testing.assert_array_equal(answer["nll"], [3.0])
    for who, spec in seen:
        asked = who, spec.name, spec.version.value, spec.signature_name
        assert asked == ("me", "small", 3, "score")
