import contextlib
import http.client
import json
import threading

import pytest

from mf_keras.page import PageServer, server
from mf_keras.serving import ServerError
from tests.page.stub import StubModel

GOOD = {"mode": "complete", "steps": [0, 1, 0], "seed": 3, "temperature": 0.5}


@contextlib.contextmanager
def serving(model, **options):
    """A server of a model on a free port, for the time of the context."""
    with PageServer(model, port=0, **options) as page:
        thread = threading.Thread(target=page.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield page
        finally:
            page.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def page():
    with serving(StubModel()) as page:
        yield page


def ask(page, method="POST", path="/api/run", body=GOOD, **headers):
    """(status, headers, body) of a request; a body that is no text is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers.setdefault("Content-Type", "application/json")
    text = body if isinstance(body, str | None) else json.dumps(body)
    try:
        connection.request(method, path, text, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read().decode()
    finally:
        connection.close()


def test_the_page_says_what_the_model_is_and_loads_nothing_else(page):
    status, headers, body = ask(page, "GET", "/", None)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    about = '{"live":{"length":16,"image":[4,4],"tokens":null,"name":"a stub of 16 steps"}}'
    assert about in body
    assert "http://" not in body


def test_complete_and_compare(page):
    status, headers, body = ask(page)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    data = json.loads(body)
    assert data["image"] == [4, 4]
    assert [(run["label"], run["given"]) for run in data["runs"]] == [("Completion", 3)]
    steps = [i % 2 for i in range(16)]
    _, _, body = ask(page, body={**GOOD, "mode": "compare", "steps": steps})
    runs = [(run["label"], run["given"]) for run in json.loads(body)["runs"]]
    assert runs == [("Teacher-forced", 16), ("Free-running", 0)]
    complete, force, free = page._model.asked[-3:]
    assert complete == ("complete", [0, 1, 0], 3, 0.5)
    assert force == ("force", steps)
    assert free == ("complete", [], 3, 0.5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": [0, 2]}, "steps must be a list of integers from 0 to 1"),
        ({"steps": [0, 0.5]}, "steps must be a list"),
        ({"steps": [True]}, "steps must be a list"),
        ({"steps": "01"}, "steps must be a list"),
        ({"steps": [[0]]}, "steps must be a list"),
        ({"steps": [0] * 17}, "steps must have at most 16 steps to complete, got 17"),
        ({"mode": "compare"}, "steps must have 16 steps to compare, got 3"),
        ({"mode": "other"}, "mode must be one of"),
        ({"mode": []}, "mode must be one of"),
        ({"seed": -1}, "seed must be"),
        ({"seed": 2**31}, "seed must be"),
        ({"seed": 0.5}, "seed must be"),
        ({"seed": None}, "seed must be"),
        ({"temperature": 0}, "temperature must be from 0.01 to 100"),
        ({"temperature": "1"}, "temperature must be"),
        ({"temperature": float("nan")}, "temperature must be"),
        ({"rows": 3}, "the request must have"),
    ],
)
def test_bad_requests_are_refused_in_words(page, change, words):
    before = len(page._model.asked)
    status, _, body = ask(page, body={**GOOD, **change})
    assert status == 400
    assert words in json.loads(body)["error"]
    assert len(page._model.asked) == before


@pytest.mark.parametrize(
    ("status", "request_", "words"),
    [
        (404, {"method": "GET", "path": "/other", "body": None}, "there is nothing at /other"),
        (404, {"path": "/"}, "there is nothing at /"),
        (400, {"body": "{"}, "must be JSON"),
        (400, {"body": "[" * 5000}, "must be JSON"),
        (400, {"body": "\x80\xff"}, "must be JSON"),
        (400, {"body": "[]"}, "must be a JSON object"),
        (411, {"Content_Length": "-1"}, "Content-Length"),
        (413, {"Content_Length": str(server.MOST_BYTES + 1)}, "at most 262144 bytes"),
        (413, {"Content_Length": "9" * 30}, "at most"),
        (415, {"Content_Type": "text/plain"}, "application/json"),
        (403, {"Host": "evil.example"}, "the page is at"),
        (403, {"Host": "[:80"}, "the page is at"),
        (403, {"Host": ""}, "the page is at"),
        (403, {"Origin": "http://evil.example"}, "requests must come from"),
    ],
)
def test_other_requests_are_refused(page, status, request_, words):
    found, _, body = ask(page, **request_)
    assert found == status
    assert words in json.loads(body)["error"]


def test_names_of_this_machine_are_taken(page):
    for host in ("localhost", f"localhost:{page.server_port}", "127.0.0.1:80", "[::1]:8000"):
        assert ask(page, Host=host, Origin=f"http://{host}")[0] == 200


def test_other_methods_are_refused(page):
    assert ask(page, "DELETE", "/", None)[0] == 501


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("no such digit"), 400, "no such digit"),
        (ServerError("INVALID_ARGUMENT", "too long"), 400, "too long"),
        (ServerError("UNAVAILABLE", "nobody there"), 502, "nobody there"),
        (KeyError("secret"), 500, "the model failed"),
    ],
)
def test_a_model_that_fails(page, error, status, words, monkeypatch, capsys):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(page._model, "complete", fail)
    found, _, body = ask(page)
    assert found == status
    assert words in json.loads(body)["error"]
    assert "secret" not in body
    assert ("KeyError" in capsys.readouterr().err) == (status == 500)


def test_no_more_requests_wait_than_are_allowed(monkeypatch):
    monkeypatch.setattr(server, "MOST_WAITING", 1)
    model, started, go_on = StubModel(), threading.Event(), threading.Event()
    answer = model.complete

    def wait(*arguments):
        started.set()
        go_on.wait(20)
        return answer(*arguments)

    model.complete = wait
    with serving(model) as page:
        first = []
        thread = threading.Thread(target=lambda: first.append(ask(page)[0]))
        thread.start()
        assert started.wait(20)
        assert ask(page)[0] == 503
        go_on.set()
        thread.join()
        assert first == [200]
        assert ask(page)[0] == 200


def test_tokens():
    with serving(StubModel(5, classes=3), tokens=["a", "b"]) as page:
        assert '"image":null,"tokens":["\\u220e","a","b"]' in ask(page, "GET", "/", None)[2]
        _, _, body = ask(page, body={**GOOD, "steps": [2, 0]})
        (run,) = json.loads(body)["runs"]
        assert run["text"] == [2, 0, 1, 1, 1]
        assert ask(page, body={**GOOD, "steps": [3]})[0] == 400


def test_what_does_not_fit_the_model_is_refused():
    for options, words in [
        ({"shape": (3, 4)}, "shape must have as many pixels as a sequence has steps, 16"),
        ({"shape": (-4, -4)}, "shape must have"),
        ({"tokens": ["a", "b"]}, "tokens must be None for a model of bits"),
        ({"host": ""}, "host must be"),
    ]:
        with pytest.raises(ValueError, match=words):
            PageServer(StubModel(), port=0, **options)
    with pytest.raises(ValueError, match=r"shape must have .* 15"):
        PageServer(StubModel(15), port=0)
    for tokens in (None, "a", "aaa", "abcd"):
        with pytest.raises(ValueError, match="tokens must be"):
            PageServer(StubModel(5, classes=3), tokens=tokens, port=0)
    with pytest.raises(ValueError, match="shape must be None for a model of tokens"):
        PageServer(StubModel(4, classes=2), shape=(2, 2), tokens="ab", port=0)
    with pytest.raises(TypeError, match="model must be a LocalModel or a RemoteModel"):
        PageServer("digits", port=0)
    with PageServer(StubModel(), port=0) as page:
        assert page.is_private
