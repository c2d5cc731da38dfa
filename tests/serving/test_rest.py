import http.server
import json
import time

import pytest

from mf_keras.serving import Client, ServerError
from mf_keras.serving.rest import RestTransport
from tests.serving.server import http_server, rest_handler
from tests.small import binary


def test_a_server_that_trickles_is_too_slow_as_well():
    class Handler(rest_handler(200, b"{}")):
        def do_POST(self):  # noqa: N802
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(50):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.1)
            except OSError:  # the client has gone
                self.close_connection = True

    begin = time.monotonic()
    with http_server(Handler) as url:
        with pytest.raises(ServerError, match="DEADLINE_EXCEEDED"):
            Client(url, timeout=0.5).sample(0)
        assert time.monotonic() - begin < 4


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>", "HTTP 200: no JSON object: '<html>'"),
        (502, b"", "HTTP 502: no JSON object"),
        (400, b'{"error": "bad"}', "INVALID_ARGUMENT: bad"),
        (412, b'{"error": "bad"}', "FAILED_PRECONDITION: bad"),
        (200, b'{"outputs": {"other": [1.0]}}', "INTERNAL: no .*nll"),
    ],
)
def test_answers_that_are_none(status, body, words):
    handler = rest_handler(status, body)
    with http_server(handler) as url, pytest.raises(ServerError, match=words):
        Client(url).score(binary(1, 2, 1))


def test_a_path_before_v1_and_a_version_are_part_of_every_request():
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["X-Who"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"ready": True}).encode())

        def log_message(self, *arguments):
            pass

    with http_server(Handler) as url:
        for path, version in (("", None), ("/behind/it/", 3)):
            transport = RestTransport(url + path, "small", version, headers={"X-Who": "me"})
            assert transport.ready(5.0)
    assert asked == [("/v1/models/small", "me"), ("/behind/it/v1/models/small/versions/3", "me")]
