"""The HTTP server of the page: the page itself, and one row at a time from the model."""

import contextlib
import http.server
import importlib.resources
import ipaddress
import json
import re
import socket
import threading
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np

from mf_keras import validation
from mf_keras.page.models import check_shape
from mf_keras.serving.errors import ServerError
from mf_keras.viewer.document import html, pack

MOST_BYTES = 256 * 1024  # of a request's body
MOST_WAITING = 8  # requests that compute or wait for it
SECONDS = 10.0  # that a browser may take to send a request
LARGEST_SEED = 2**31 - 1
MODES = ("complete", "compare")
# Nothing is loaded from elsewhere, and no other page may hold this one in a frame.
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class RefusedError(Exception):
    """A request that gets an error status and a line of text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PageServer(http.server.ThreadingHTTPServer):
    """Serves the page of one model; `serve_forever` and `shutdown` are the standard library's.

    The page is at /. POST /api/run takes a JSON object:

    * `mode`: "complete", or "compare" for teacher forcing beside free running;
    * `steps`: bits or tokens, the beginning to complete (any number up to T), or what the model
      reads when it is compared (T);
    * `seed`, an integer; `temperature`, a number.

    It responds with the JSON of `viewer.document.pack`, or with 4xx and {"error": "..."}. A request
    is one row, of at most 256 KiB, and at most 8 wait.

    Args:
        model: a `LocalModel` or a `RemoteModel`, or what has their methods and attributes.
        shape: (height, width) of a sequence of bits as an image; None for a square.
        tokens: the text of every token, of a model of tokens.
        host: the address to listen on. The page is for one person: it has no login.
        port: 0 for a free one.

    Attributes:
        url: where the page is.
        is_private: whether only this machine can reach it.

    Raises:
        TypeError, ValueError: an argument has the wrong type or range, or shape or tokens do not
            fit the model.
        OSError: the address cannot be used.
    """

    daemon_threads = True

    def __init__(
        self,
        model: Any,
        shape: Sequence[int] | None = None,
        tokens: Sequence[str] | None = None,
        host: str = "127.0.0.1",
        port: int = 8000,
    ) -> None:
        host = validation.text("host", host)
        port = validation.positive_int("port", port, minimum=0, maximum=65535)
        for attribute in ("length", "classes", "name", "complete", "force"):
            if not hasattr(model, attribute):
                raise TypeError(f"model must be a LocalModel or a RemoteModel, got {model!r}.")
        if shape is not None and model.classes is not None:
            raise ValueError("shape must be None for a model of tokens.")
        self._model = model
        self._shape = check_shape(shape, model.length) if model.classes is None else None
        self._tokens = None if model.classes is None else _tokens(tokens, model.classes)
        if tokens is not None and model.classes is None:
            raise ValueError("tokens must be None for a model of bits.")
        self._page = self._make_page()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)
        where = f"[{host}]" if ":" in host else host
        self.url = f"http://{where}:{self.server_port}"
        self.is_private = _is_loopback(host)

    def _make_page(self):
        files = importlib.resources.files(__package__) / "static"
        about = {
            "length": self._model.length,
            "image": self._shape,
            "tokens": self._tokens,
            "name": self._model.name,
        }
        controls = (files / "controls.html").read_text("utf-8")
        program = (files / "controls.js").read_text("utf-8")
        return html({"live": about}, controls, program).encode()

    def page(self) -> bytes:
        """The page's HTML."""
        return self._page

    def check_host(self, host: str | None, origin: str | None) -> None:
        """Refuse requests that another site makes a browser send.

        Raises:
            RefusedError: the name is not this machine's own, or the origin is another page.
        """
        name = re.sub(r":\d*$", "", host or "").strip("[]")
        if self.is_private and not _is_loopback(name):
            raise RefusedError(403, f"the page is at {self.url}, not at {host}")
        if origin is not None and origin.partition("://")[2] != host:
            raise RefusedError(403, f"requests must come from {self.url}, not from {origin}")

    def run(self, request: Any) -> dict[str, Any]:
        """The response to POST /api/run.

        Raises:
            RefusedError: the request is not as it should be, or the model refused it.
        """
        mode, steps, seed, temperature = self._checked(request)
        if not self._waiting.acquire(blocking=False):
            raise RefusedError(503, "too many requests are waiting; try again")
        try:
            runs = self._runs(mode, steps, seed, temperature)
        except (TypeError, ValueError) as error:
            raise RefusedError(400, str(error)) from error
        except ServerError as error:
            status = 400 if error.code == "INVALID_ARGUMENT" else 502
            raise RefusedError(status, str(error)) from error
        finally:
            self._waiting.release()
        return pack(runs, self._shape, self._tokens)

    def _runs(self, mode, steps, seed, temperature):
        if mode == "compare":
            return {
                "Teacher-forced": self._model.force(steps),
                "Free-running": self._model.complete(steps[:0], seed, temperature),
            }
        label = "Completion" if len(steps) else "Free-running"
        return {label: self._model.complete(steps, seed, temperature)}

    def _checked(self, request):
        if not isinstance(request, dict):
            raise RefusedError(400, "the request must be a JSON object")
        known = ("mode", "steps", "seed", "temperature")
        if set(request) != set(known):
            raise RefusedError(400, f"the request must have {known}, got {sorted(request)}")
        if request["mode"] not in MODES:
            raise RefusedError(400, f"mode must be one of {MODES}")
        try:
            seed = validation.positive_int("seed", request["seed"], 0, LARGEST_SEED)
            temperature = validation.real_number("temperature", request["temperature"])
        except (TypeError, ValueError) as error:
            raise RefusedError(400, str(error)) from error
        if not 0.01 <= temperature <= 100:
            raise RefusedError(400, f"temperature must be from 0.01 to 100, got {temperature}")
        steps = self._steps(request["steps"], request["mode"])
        return request["mode"], steps, seed, temperature

    def _steps(self, values, mode):
        length, classes = self._model.length, self._model.classes or 2
        whole = isinstance(values, list) and all(type(value) is int for value in values)
        if not whole or not all(0 <= value < classes for value in values):
            raise RefusedError(400, f"steps must be a list of integers from 0 to {classes - 1}")
        if len(values) > length or (mode == "compare" and len(values) < length):
            wanted = f"{length} steps" if mode == "compare" else f"at most {length} steps"
            raise RefusedError(400, f"steps must have {wanted} to {mode}, got {len(values)}")
        return np.array(values, "int32")


class _Handler(http.server.BaseHTTPRequestHandler):
    server: PageServer
    server_version, sys_version = "mf_keras", ""
    timeout = SECONDS

    def do_GET(self):
        self._answer(self._get)

    def do_POST(self):
        self._answer(self._post)

    def _get(self):
        if self.path != "/":
            raise RefusedError(404, f"there is nothing at {self.path[:100]}; the page is at /")
        return "text/html; charset=utf-8", self.server.page()

    def _post(self):
        if self.path != "/api/run":
            raise RefusedError(404, f"there is nothing at {self.path[:100]}")
        # A form of another site cannot have this type without the browser's asking first.
        if self.headers.get_content_type() != "application/json":
            raise RefusedError(415, "the request must have the Content-Type application/json")
        size = self.headers.get("Content-Length", "")
        if not size.isdecimal() or not size.isascii():
            raise RefusedError(411, "the request must have a Content-Length")
        if len(size) > 9 or int(size) > MOST_BYTES:
            raise RefusedError(413, f"the request must have at most {MOST_BYTES} bytes")
        try:
            request = json.loads(self.rfile.read(int(size)))
        except (ValueError, RecursionError) as error:
            raise RefusedError(400, "the request must be JSON") from error
        return "application/json", json.dumps(self.server.run(request)).encode()

    def _answer(self, method):
        status = 200
        try:
            self.server.check_host(self.headers.get("Host"), self.headers.get("Origin"))
            kind, body = method()
        except RefusedError as error:
            status, kind = error.status, "application/json"
            body = json.dumps({"error": str(error)}).encode()
            self.close_connection = True  # the body may not have been read
        except TimeoutError:
            self.close_connection = True
            return
        except Exception:
            traceback.print_exc()
            status, kind = 500, "application/json"
            body = json.dumps({"error": "the model failed; see the program's log"}).encode()
        with contextlib.suppress(ConnectionError):  # the browser may have left
            self._send(status, kind, body)

    def _send(self, status, kind, body):
        self.send_response(status)
        for name, value in {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """No line for every request."""


def _is_loopback(host):
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _tokens(tokens, classes):
    """The text of every token; the end's where a vocabulary counts from 1."""
    if tokens is None:
        raise ValueError(
            f"tokens must be the {classes} tokens of the model, e.g. by --alphabet, got None."
        )
    tokens = list(tokens)
    if len(tokens) == classes - 1:  # as data.Vocabulary(end=True)
        tokens = ["\u220e", *tokens]
    if len(tokens) != classes or len(set(tokens)) != classes:
        raise ValueError(
            f"tokens must be {classes} different ones, as the model has classes, got {len(tokens)}."
        )
    return tokens
