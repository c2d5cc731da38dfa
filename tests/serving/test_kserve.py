"""KServe's own server over the exported model, asked by the package's client.

KServe and the rest of the tests cannot share an environment, so that this is skipped where it is
not installed: `make test-kserve` makes an environment for it.
"""

import contextlib
import http.client
import json
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from mf_keras.serving import Client, ServerError

pytest.importorskip("kserve", reason="KServe is not installed: make test-kserve")

ROOT = pathlib.Path(__file__).parent.parent.parent
VERSION = ROOT / "saved_models" / "digits" / "1"
MOST_BYTES = 200_000


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The URL of a server, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "serving/kserve_server.py", "--folder", str(VERSION)]
    command += ["--http_port", str(port), "--most_bytes", str(MOST_BYTES)]
    log = tmp_path_factory.mktemp("kserve") / "log"
    with log.open("w") as file:
        server = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    try:
        with Client(f"http://127.0.0.1:{port}", timeout=5.0) as client:
            for _ in range(120):
                if client.ready():
                    break
                assert server.poll() is None, log.read_text()
                time.sleep(1.0)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(30)


def exchange(url, method, path, body=None):
    address = url.removeprefix("http://")
    with contextlib.closing(http.client.HTTPConnection(address, timeout=60)) as connection:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_the_client_gets_the_frozen_answers(url):
    frozen = json.loads((ROOT / "tests" / "export" / "digits.json").read_text(encoding="utf-8"))
    with Client(url, "digits", timeout=60.0, max_rows=3) as client:
        samples, nll = client.sample(frozen["seeds"], frozen["temperatures"])
        texts = ["".join(map(str, row)) for row in samples[..., 0].astype(int)]
        same = np.array([a == b for a, b in zip(texts, frozen["samples"], strict=True)])
        assert same.sum() >= 6  # see tests/export/test_digits.py
        np.testing.assert_allclose(nll[same], np.array(frozen["nll"])[same], atol=0.1)
        np.testing.assert_allclose(client.score(samples), nll, rtol=1e-5)
        completed = client.complete(samples[:, :9], frozen["seeds"], frozen["temperatures"])
        np.testing.assert_array_equal(completed, samples)
        with pytest.raises(ServerError, match="INVALID_ARGUMENT"):
            client.score(np.zeros((1, 7, 1)))
    with Client(url, "other") as client, pytest.raises(ServerError, match="NOT_FOUND"):
        client.sample(0)


PREDICT = "/v1/models/digits:predict"
DRAW = {"seed": [1], "temperature": [1.0]}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("nonsense", 400, "Unrecognized request format"),
        ("[1]", 400, "must be JSON with"),
        ({"inputs": DRAW, "signature_name": "other"}, 400, "signature_name must be one of"),
        ({"inputs": {"seed": [1]}}, 400, "inputs must be"),
        ({"inputs": {**DRAW, "seed": [1, [2]]}}, 400, "seed must be an array of int64"),
        ({"inputs": {**DRAW, "seed": [1.5]}}, 400, "seed must be an array of int64"),
        ({"inputs": {**DRAW, "seed": [[1]]}}, 400, "seed must have shape"),
        ({"inputs": {**DRAW, "temperature": [0.0]}}, 400, "temperature must be finite"),
        ({"inputs": {"seed": [0] * 300, "temperature": [1.0] * 300}}, 400, "at most 256 rows"),
        ("1" * (MOST_BYTES + 1), 413, "must have at most 200000 bytes"),
    ],
)
def test_bad_requests_are_answered_by_4xx(url, body, status, words):
    text = body if isinstance(body, str) else json.dumps(body)
    found, answer = exchange(url, "POST", PREDICT, text)
    assert found == status
    assert words in answer


def test_health_and_metrics(url):
    assert exchange(url, "GET", "/v2/health/ready")[0] == 200
    assert json.loads(exchange(url, "GET", "/v1/models/digits")[1])["ready"]
    assert exchange(url, "POST", PREDICT, json.dumps({"inputs": DRAW}))[0] == 200
    assert "request_predict_seconds" in exchange(url, "GET", "/metrics")[1]
