import inspect
import json
import pathlib
import resource
import shlex
import shutil
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import pytest
import tensorflow as tf

from benchmarks.clients import hammer, known_answers
from mf_keras import SequenceGenerator, plots
from mf_keras.export.signatures import endpoints
from mf_keras.page import RemoteModel
from mf_keras.serving import Client, ServerError
from mf_keras.serving.__main__ import cli
from tests.serving.server import Unavailable, grpc_server, http_server, rest_handler, serve
from tests.small import binary

ROOT = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def served(exported):
    with serve(exported[1]) as (model, rpc, rest):
        yield model, {"grpc": rpc, "rest": rest}


@pytest.fixture(scope="module", params=["grpc", "rest"])
def client(request, served):
    with Client(served[1][request.param], "small", timeout=60.0) as client:
        yield client


def test_trace(client, signatures):
    x = binary(3, 6, 1)
    found = client.trace(x)
    expected = signatures["trace"](sequences=x)
    assert found.keys() == expected.keys() >= {"memory", "read_weights", "write_weights"}
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)
    run = RemoteModel(client).force(x[1, :, 0])
    np.testing.assert_allclose(run.memory, expected["memory"][1], atol=1e-6)
    np.testing.assert_allclose(run.nll, client.score(x)[1], rtol=1e-6)


def test_sample_score_and_complete(client, signatures, exported):
    seeds, temperatures = [7, 8, 2**62], np.array([0.5, 1.0, 2.0], "float32")
    samples, nll = client.sample(seeds, temperatures)
    expected = signatures["sample"](seed=tf.constant(seeds, tf.int64), temperature=temperatures)
    np.testing.assert_array_equal(samples, expected["samples"])
    np.testing.assert_array_equal(nll, expected["nll"])
    assert samples.dtype == nll.dtype == np.float32
    np.testing.assert_array_equal(client.score(samples), nll)
    np.testing.assert_allclose(nll, exported[0].nll(samples), atol=1e-4)
    completed = client.complete(samples[:, :3], seeds, temperatures)
    np.testing.assert_array_equal(completed, samples)


def test_one_seed_and_one_temperature_serve_for_many(client):
    samples, nll = client.sample(5)
    assert samples.shape == (1, 6, 1)
    assert nll.shape == (1,)
    np.testing.assert_array_equal(client.sample([5, 5], [1, 1])[0][1:], samples)
    assert client.sample(range(3), temperature=2)[0].shape == (3, 6, 1)
    assert client.complete(binary(4, 2, 1), seed=0).shape == (4, 6, 1)


def test_the_server_s_words_come_through(client):
    words = r"(?s)INVALID_ARGUMENT: .*\[2,5,1\] is not compatible"
    with pytest.raises(ServerError, match=words) as info:
        client.score(binary(2, 5, 1))
    assert info.value.code == "INVALID_ARGUMENT"
    assert "score of model 'small' at" in str(info.value)
    with pytest.raises(ServerError, match=r"(?s)INVALID.*prefix must have at most 6 steps"):
        client.complete(binary(1, 7, 1), seed=0)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_models_and_versions_are_addressed(served, transport):
    url = served[1][transport]
    with Client(url, "small", version=1, timeout=60.0) as client:
        assert client.sample(0)[0].shape == (1, 6, 1)
    for name, version in (("other", None), ("small", 2)):
        with Client(url, name, version) as client, pytest.raises(ServerError, match="NOT_FOUND"):
            client.sample(0)


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_more_rows_than_a_request_may_have_are_sent_in_pieces(served, transport):
    model, urls = served
    url = urls[transport]
    seeds, temperatures = np.arange(10), np.linspace(0.5, 2.0, 10)
    with Client(url, "small", timeout=60.0) as client:
        expected = client.sample(seeds, temperatures)
    with Client(url, "small", timeout=60.0, max_rows=4) as client:
        model.batches.clear()
        answer = client.sample(seeds, temperatures)
        assert model.batches == [1, 1, 1]
        for ours, whole in zip(answer, expected, strict=True):
            np.testing.assert_array_equal(ours, whole)
        np.testing.assert_array_equal(client.score(answer[0]), answer[1])
        completed = client.complete(answer[0][:, :2], seeds, temperatures)
        np.testing.assert_array_equal(completed, answer[0])


def test_the_client_s_rows_are_those_of_the_export():
    defaults = [
        inspect.signature(function).parameters["max_rows"].default
        for function in (Client, SequenceGenerator.export, endpoints)
    ]
    assert defaults == [256] * 3
    config = (ROOT / "saved_models" / "digits" / "batching.config").read_text("utf-8")
    assert "max_batch_size { value: 256 }" in config


def test_health_and_metadata(client, exported):
    assert client.ready()
    assert client.versions() == {1: "AVAILABLE"}
    signatures = client.signatures()
    assert set(signatures) == {"serving_default", "sample", "score", "complete", "trace"}
    assert signatures["complete"] == {
        "inputs": {
            "prefix": ("float32", (None, None, 1)),
            "seed": ("int64", (None,)),
            "temperature": ("float32", (None,)),
        },
        "outputs": {"samples": ("float32", (None, 6, 1))},
    }


def test_the_page_s_curl_commands_are_answered(served):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    page = (ROOT / "docs" / "guides" / "serving.md").read_text("utf-8")
    commands = page.split("```console\n")[1].split("```")[0].splitlines()
    answers = []
    for command in commands:
        words = shlex.split(command.replace("models/digits", "models/small"))
        words[-1] = words[-1].replace("http://localhost:8501", served[1]["rest"])
        answers.append(json.loads(subprocess.check_output(words)))
    keys = ["model_version_status", "metadata", "outputs"]
    assert [set(answer) for answer in answers] == [{key} for key in keys]
    assert np.shape(answers[2]["outputs"]["samples"]) == (2, 6, 1)


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_what_does_not_answer_is_not_ready(scheme, served):
    assert not Client(f"{scheme}://127.0.0.1:9", timeout=1.0).ready()
    url = served[1]["grpc" if scheme == "grpc" else "rest"]
    assert not Client(url, "other").ready()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for localhost."""
    folder = tmp_path_factory.mktemp("certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed, which makes the certificate")
    subprocess.run(
        [*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return key, certificate


def test_tls_and_authorization(exported, certificate):
    token = "Bearer secret"
    with serve(exported[1], authorization=token, certificate=certificate) as (_, *urls):
        for url in urls:
            options = {"timeout": 60.0, "ca_file": certificate[1]}
            headers = {"Authorization": token}
            with Client(url, "small", headers=headers, **options) as client:
                assert client.ready()
                assert client.sample(0)[0].shape == (1, 6, 1)
                assert "sample" in client.signatures()
            with Client(url, "small", **options) as client:
                for ask in (client.ready, lambda client=client: client.sample(0)):
                    with pytest.raises(ServerError, match="UNAUTHENTICATED"):
                        ask()
            with (
                Client(url, "small", timeout=2.0, retries=0, headers=headers) as client,
                pytest.raises(ServerError, match="UNAVAILABLE"),
            ):
                client.sample(0)  # of a server whose certificate nobody trusts


LIGHT = """
import sys
from mf_keras.serving import Client, __main__
Client("grpc://127.0.0.1:9").close()
Client("http://127.0.0.1:9").close()
print({"keras", "tensorflow", "matplotlib"} & set(sys.modules))
"""


def test_the_client_imports_neither_keras_nor_tensorflow():
    run = [sys.executable, "-c", LIGHT]
    assert subprocess.check_output(run, text=True, cwd=ROOT).strip() == "set()"


def test_help_takes_half_a_second_of_cpu():
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "mf_keras.serving", "--help"]
        assert b"sample" in subprocess.check_output(command, cwd=ROOT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


@pytest.mark.long
@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_concurrent_clients_get_their_own_answers(served, transport):
    """For two seconds; for a minute: python -m benchmarks.clients."""
    model, urls = served

    def make_client():
        return Client(urls[transport], "small", timeout=60.0)

    with make_client() as client:
        known = known_answers(client)
    model.batches.clear()
    result = hammer(make_client, known, clients=8, seconds=2.0)
    assert result["answers"] >= 16
    assert (result["wrong"], result["lost"]) == (0, 0)
    assert max(model.batches) > 1  # requests did share batches


def test_an_unavailable_server_is_asked_again():
    with grpc_server(Unavailable(2)) as url, Client(url) as client:
        assert client.score(binary(1, 2, 1)) == [3.0]
    with http_server(rest_handler(200, b'{"outputs": [3.0]}', refusals=2)) as url:
        assert Client(url).score(binary(1, 2, 1)) == [3.0]


def test_not_for_ever_and_nothing_else_is():
    servicer = Unavailable(9)
    with (
        grpc_server(servicer) as url,
        Client(url, retries=2) as client,
        pytest.raises(ServerError, match=r"UNAVAILABLE: loading .*tried 3 times"),
    ):
        client.score(binary(1, 2, 1))
    assert servicer.asked == 3
    servicer = Unavailable(9, grpc.StatusCode.RESOURCE_EXHAUSTED)
    with (
        grpc_server(servicer) as url,
        Client(url) as client,
        pytest.raises(ServerError, match="RESOURCE_EXHAUSTED: loading"),
    ):
        client.score(binary(1, 2, 1))
    assert servicer.asked == 1


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_where_no_server_is(scheme):
    words = r"UNAVAILABLE: .*127.0.0.1:9"
    with (
        Client(f"{scheme}://127.0.0.1:9", retries=1) as client,
        pytest.raises(ServerError, match=words),
    ):
        client.sample(0)


def test_a_server_that_does_not_answer_in_time():
    done = threading.Event()

    class Asleep(Unavailable):
        def Predict(self, request, context):  # noqa: N802
            done.wait(10)

    class Handler(rest_handler(200, b"{}")):
        def do_POST(self):  # noqa: N802
            done.wait(10)

    with grpc_server(Asleep(0)) as rpc, http_server(Handler) as rest:
        for url in (rpc, rest):
            begin = time.monotonic()
            with Client(url, timeout=0.3) as client, pytest.raises(ServerError, match="DEADLINE"):
                client.sample(0)
            assert time.monotonic() - begin < 5
        done.set()


@pytest.mark.parametrize(
    ("ask", "error", "words"),
    [
        (lambda c: c.sample(1.5), TypeError, "seed"),
        (lambda c: c.sample("a"), TypeError, "seed"),
        (lambda c: c.sample(True), TypeError, "seed"),
        (lambda c: c.sample([]), (TypeError, ValueError), "seed"),
        (lambda c: c.sample([[1]]), ValueError, "seed"),
        (lambda c: c.sample(2**63), ValueError, "seed"),
        (
            lambda c: c.sample(0, temperature=0.0),
            ValueError,
            "temperature must be finite and above 0",
        ),
        (lambda c: c.sample(0, temperature=float("nan")), ValueError, "temperature"),
        (lambda c: c.sample(0, temperature="hot"), TypeError, "temperature"),
        (lambda c: c.sample([1, 2], temperature=[1.0, 1.0, 1.0]), ValueError, "temperature"),
        (
            lambda c: c.score(np.full((1, 6, 1), 0.5)),
            ValueError,
            "sequences must hold only 0 and 1",
        ),
        (lambda c: c.score(binary(2, 6)), ValueError, "sequences must have shape"),
        (lambda c: c.score("text"), TypeError, "sequences"),
        (lambda c: c.complete(binary(1, 0, 1), 0), ValueError, "prefix must have shape"),
        (
            lambda c: c.complete(binary(3, 2, 1), [1, 2]),
            ValueError,
            "seed must be one integer or 3",
        ),
    ],
)
def test_what_is_wrong_by_itself_is_not_sent(ask, error, words):
    servicer = Unavailable(0)
    with grpc_server(servicer) as url, Client(url) as client, pytest.raises(error, match=words):
        ask(client)
    assert servicer.asked == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("localhost:8500",), ValueError, r"url must be grpc\(s\)://HOST:PORT"),
        ((8500,), ValueError, "url must be"),
        (("ftp://localhost:1",), ValueError, "url must be"),
        (("http://localhost:abc",), ValueError, "url must be"),
        (("http://localhost:99999",), ValueError, "url must be"),
        (("grpc://localhost:1", 3), TypeError, "model"),
        (("grpc://localhost:1", "a b"), ValueError, "model must be a name without spaces"),
        (("grpc://localhost:1", "m", 0), ValueError, "version"),
        (("grpc://localhost:1", "m", 1, 0.0), ValueError, "timeout"),
        (("grpc://localhost:1", "m", 1, 1.0, -1), ValueError, "retries"),
        (("grpc://localhost:1", "m", 1, 1.0, 1, "bits"), TypeError, "output"),
        (("grpc://localhost:1", "m", 1, 1.0, 1, None, 0), ValueError, "max_rows"),
        (("http://localhost:1", "m", 1, 1.0, 1, None, 1, "ca.pem"), ValueError, "ca_file"),
        (("https://localhost:1", "m", 1, 1.0, 1, None, 1, 7), TypeError, "ca_file"),
        (("http://h:1", "m", 1, 1.0, 1, None, 1, None, ["a"]), TypeError, "headers"),
        (("http://h:1", "m", 1, 1.0, 1, None, 1, None, {"a": "b\n"}), ValueError, "headers"),
    ],
)
def test_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        Client(*arguments)


def main(arguments):
    """As from a shell; an end with an error is raised."""
    try:
        cli.main(arguments, prog_name="mf-keras")
    except SystemExit as end:
        if end.code != 0:
            raise


def test_command_line(served, tmp_path, capsys):
    common = ["--url", served[1]["rest"], "--model", "small", "--timeout", "60"]
    main(["sample", *common, "--num", "5", "--out", f"{tmp_path}/grid.png", "--shape", "2", "3"])
    assert (tmp_path / "grid.png").stat().st_size > 1000
    assert "5 samples, " in capsys.readouterr().out
    main(["sample", *common, "--num", "5", "--seed", "3", "--out", f"{tmp_path}/samples.npy"])
    samples = np.load(tmp_path / "samples.npy")
    np.save(tmp_path / "prefix.npy", samples[:, :2])
    more = ["--seed", "3", "--out", f"{tmp_path}/whole.npy"]
    main(["complete", f"{tmp_path}/prefix.npy", *common, *more])
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), samples)
    capsys.readouterr()
    main(["status", *common, "--header", "X-Name: of a reader"])
    assert capsys.readouterr().out == "version 1: AVAILABLE\n"
    main(["score", f"{tmp_path}/samples.npy", *common])
    assert len([float(line) for line in capsys.readouterr().out.split()]) == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--temperature", "0", "--out", "a.npy"], "temperature must be finite and above 0"),
        (["--model", "other", "--out", "a.npy"], "NOT_FOUND"),
        (["--out", "a.png"], "--shape must have as many pixels"),
    ],
)
def test_command_line_says_what_is_wrong_in_a_line(served, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["sample", "--url", served[1]["rest"], "--model", "small", "--timeout", "60"]
    with pytest.raises(SystemExit, match=f"error: .*{words}"):
        main([*command, *arguments])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "grid.gif"], "must end in .png or .npy"),
        (["--out", "a.npy", "--num", "0"], "'--num': must be at least 1, got 0"),
    ],
)
def test_command_line_refuses_options(arguments, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sample", "--url", "http://localhost:1", *arguments])
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("command", ["score", "complete"])
def test_command_line_names_a_file_that_holds_no_sequences(command, tmp_path):
    np.save(tmp_path / "number.npy", np.float32(1.0))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "zip.npy").write_bytes(b"PK\x03\x04")
    more = ["--url", "http://localhost:1"]
    more += ["--out", f"{tmp_path}/out.npy"] if command == "complete" else []
    with pytest.raises(SystemExit, match=r"number\.npy must hold an array .*, got \(\)"):
        main([command, f"{tmp_path}/number.npy", *more])
    for name in ("empty", "zip"):
        with pytest.raises(SystemExit, match=rf"{name}\.npy is no \.npy file"):
            main([command, f"{tmp_path}/{name}.npy", *more])


@pytest.mark.parametrize("name", ["mine.npy", "mine.png", "mine.npy/grid.png"])
def test_command_line_replaces_nothing_that_it_did_not_write(name, tmp_path):
    for mine in ("mine.npy", "mine.png"):
        (tmp_path / mine).write_bytes(b"mine")
    with pytest.raises(SystemExit, match=r"error: .*mine"):  # before any server is asked
        main(["sample", "--url", "http://localhost:1", "--out", str(tmp_path / name)])
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"mine"}


def test_command_line_replaces_its_own_pictures(tmp_path):
    picture = tmp_path / "grid.png"
    plots.save(plots.sample_grid(np.zeros((1, 4, 1)), (2, 2)), picture)
    with pytest.raises(SystemExit, match="UNAVAILABLE"):
        main(["sample", "--url", "http://localhost:1", "--timeout", "1", "--out", str(picture)])
    assert picture.exists()
