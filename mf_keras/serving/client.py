"""Client: samples, scores and completions from a server."""

import itertools
import re
import time
import urllib.parse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from mf_keras import validation
from mf_keras.serving.errors import ServerError
from mf_keras.serving.rest import RestTransport
from mf_keras.serving.rpc import GrpcTransport
from mf_keras.types import ArrayLike, Function, Path

if TYPE_CHECKING:
    from mf_keras.outputs import Output

TRANSPORTS: dict[str, Function] = {
    "grpc": GrpcTransport,
    "grpcs": GrpcTransport,
    "http": RestTransport,
    "https": RestTransport,
}
ENCRYPTED = ("grpcs", "https")
FIRST_PAUSE = 0.05  # seconds before the second try; doubled before every further one
LONGEST_PAUSE = 2.0


class Client:
    """Queries a model server that serves a `SequenceGenerator.export`, over gRPC or REST.

        with Client("grpc://localhost:8500", model="digits") as client:
            samples, nll = client.sample(seed=range(16))

    Bad arguments raise an error here, before anything is sent: a server that joins requests to
    batches refuses a whole batch for one bad row. Responses are pure functions of requests, so a
    request can safely be sent again if the server was unavailable, and a request of many rows is
    sent as several, one after the other. Threads may share a client.

    Args:
        url: grpc://HOST:PORT (TF Serving's 8500) or http://HOST:PORT (8501); grpcs:// or https://
            by TLS.
        model: the model's name.
        version: its version, an integer >= 1; None for the newest.
        timeout: seconds for a response, all tries together; the time of each piece of a request
            that is sent in several.
        retries: how often a request is sent again while the server is UNAVAILABLE.
        output: what a step of the model's sequences is, an `mf_keras.outputs.Output`; None for
            bits.
        max_rows: rows that are sent in one request at most; the `max_rows` of the export, and at
            most the server's `max_batch_size`.
        ca_file: a file of certificates (PEM) to trust, for grpcs:// and https://; None for those
            that come with the system or with gRPC.
        headers: text by name, sent with every request, such as {"Authorization": "Bearer ..."}.

    Attributes:
        where: the model and its address, in words.

    Raises:
        TypeError, ValueError: an argument has the wrong type or range.
        OSError: `ca_file` cannot be read.
        ImportError: `url` is one of gRPC, and the extra `[serving]` is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str = "digits",
        version: int | None = None,
        timeout: float = 10.0,
        retries: int = 4,
        output: "Output | None" = None,
        max_rows: int = 256,
        ca_file: Path | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.where = f"model {model!r} at {url}"
        scheme = _scheme(url)
        if not isinstance(model, str) or not model:
            raise TypeError(f"model must be a model's name, got {model!r}.")
        if not re.fullmatch(r"[^/:?#\s]+", model):  # as TensorFlow Serving reads its addresses
            raise ValueError(f"model must be a name without spaces, '/' or ':', got {model!r}.")
        if version is not None:
            version = validation.positive_int("version", version)
        self._timeout = validation.real_number("timeout", timeout, minimum=1e-3)
        self._retries = validation.positive_int("retries", retries, minimum=0)
        if output is not None:
            _check_output(output)
        self._output = output
        self._max_rows = validation.positive_int("max_rows", max_rows)
        if ca_file is not None:
            ca_file = validation.path("ca_file", ca_file)
            if scheme not in ENCRYPTED:
                raise ValueError(f"ca_file must be None for a url without TLS, got {url!r}.")
        self._transport = TRANSPORTS[scheme](url, model, version, ca_file, _headers(headers))

    def ready(self) -> bool:
        """Whether the server is ready, by one query.

        Returns:
            False as well where no server responds in time, or none that knows the model.

        Raises:
            ServerError: the server refused, e.g. for lack of a header.
        """
        try:
            return self._transport.ready(self._timeout)
        except ServerError as error:
            if error.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "NOT_FOUND"):
                return False
            raise

    def versions(self) -> dict[int, str]:
        """The state of every version of the model that TF Serving knows, such as {1: "AVAILABLE"}.

        Raises:
            ServerError: the server refused or did not respond.
        """
        return self._tried("status", lambda left: self._transport.versions(left))

    def signatures(self) -> dict[str, dict[str, dict[str, tuple[str, tuple[int | None, ...]]]]]:
        """What every signature takes and gives, from TF Serving's metadata.

        Returns:
            {signature: {"inputs": {name: (dtype, shape)}, "outputs": the same}}; None in a shape is
            a free size.

        Raises:
            ServerError: the server refused or did not respond.
        """
        return self._tried("metadata", lambda left: self._transport.signatures(left))

    def sample(
        self, seed: ArrayLike, temperature: ArrayLike = 1.0, context: ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw sequences.

        Args:
            seed: an integer, or one for every row; equal seeds give equal rows.
            temperature: above 0; a number, or one for every row.
            context: (B, C), of a model that has a context.

        Returns:
            `(samples, nll)`: (B, length, *step), and (B,) in nats, float32.

        Raises:
            TypeError, ValueError: an argument has the wrong type or range.
            ServerError: the server refused or did not respond.
        """
        known = _context(context)
        inputs = {**_draw(seed, temperature, *map(len, known.values())), **known}
        response = self._query("sample", inputs, ("samples", "nll"))
        return self._samples(response), response["nll"]

    def score(
        self,
        sequences: ArrayLike,
        lengths: ArrayLike | None = None,
        context: ArrayLike | None = None,
    ) -> np.ndarray:
        """Negative log-likelihood of whole sequences.

        Args:
            sequences: (B, length, *step).
            lengths: (B,) of integers from 1 on, how many steps of each count, of a model that was
                exported with `unequal_lengths=True`.
            context: (B, C), of a model that has a context.

        Returns:
            (B,), nats, float32.

        Raises:
            TypeError, ValueError: `sequences` has another rank or other values.
            ServerError: the server refused, e.g. another length, or did not respond.
        """
        inputs = {"sequences": self._sequences("sequences", sequences)}
        rows = len(inputs["sequences"])
        if lengths is not None:
            lengths = np.asarray(lengths)
            if lengths.dtype.kind not in "iu":
                raise TypeError(f"lengths must be integers, got {lengths.dtype}.")
            validation.shape_of("lengths", lengths, (rows,))
            validation.entries("lengths", lengths, lengths >= 1, "integers from 1 on")
            inputs["lengths"] = lengths.astype("int64")
        return self._query("score", inputs | _context(context, rows), ("nll",))["nll"]

    def complete(
        self,
        prefix: ArrayLike,
        seed: ArrayLike,
        temperature: ArrayLike = 1.0,
        context: ArrayLike | None = None,
    ) -> np.ndarray:
        """Continue sequences from their beginnings.

        Args:
            prefix: (B, t0, *step), t0 from 1 to length.
            seed: an integer, or one for every row. A row's own seed and temperature continue its
                sample as it was.
            temperature: above 0; a number, or one for every row.
            context: (B, C), of a model that has a context.

        Returns:
            (B, length, *step), beginning with the prefix.

        Raises:
            TypeError, ValueError: an argument has the wrong type, shape or range.
            ServerError: the server refused or did not respond.
        """
        prefix = self._sequences("prefix", prefix)
        inputs = {"prefix": prefix, **_draw(seed, temperature, len(prefix))}
        inputs |= _context(context, len(prefix))
        return self._samples(self._query("complete", inputs, ("samples",)))

    def trace(
        self, sequences: ArrayLike, context: ArrayLike | None = None
    ) -> dict[str, np.ndarray]:
        """What the memory does while the model reads whole sequences (teacher forcing).

        Args:
            sequences: (B, length, *step).
            context: (B, C), of a model that has a context.

        Returns:
            The fields that the model serves, by name, such as `memory` (B, length, N, W), float32.

        Raises:
            TypeError, ValueError: an argument has the wrong type, shape or range.
            ServerError: the server refused or did not respond.
        """
        inputs = {"sequences": self._sequences("sequences", sequences)}
        return self._query("trace", inputs | _context(context, len(inputs["sequences"])), None)

    def _samples(self, response):
        """The samples of a response, in the output's dtype, which JSON does not have."""
        dtype = "float32" if self._output is None else self._output.dtype
        return response["samples"].astype(dtype)

    def _sequences(self, name, value):
        """Sequences as an array that the server takes; bits where no output is given."""
        try:
            array = np.asarray(value)
        except ValueError as error:  # rows of different lengths
            raise ValueError(f"{name} must be an array of numbers: {error}") from error
        if array.dtype.kind not in "biuf":
            raise TypeError(f"{name} must be an array of numbers, got {type(value).__name__}.")
        if self._output is None:
            validation.shape_of(name, array, ("B", "T", "units"))
            validation.entries(name, array, np.isin(array, (0, 1)), "0 and 1")
            return array.astype("float32")
        validation.shape_of(name, array, ("B", "T", *self._output.step))
        self._output.check_values(name, array)
        return array.astype(self._output.dtype)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _query(self, signature, inputs, outputs):
        """The response's arrays by name, queried by at most `max_rows` rows at once.

        `outputs` names those that are required; None for whatever the signature gives.
        """
        rows = max(map(len, inputs.values()))
        pieces = [
            self._query_piece(
                signature, {k: x[i : i + self._max_rows] for k, x in inputs.items()}, outputs
            )
            for i in range(0, rows, self._max_rows)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}

    def _query_piece(self, signature, inputs, outputs):
        response = self._tried(
            signature, lambda left: self._transport.predict(signature, inputs, left)
        )
        if outputs is None:
            outputs = self._names(signature) if None in response else tuple(response)
        if len(outputs) == 1 and None in response:  # REST leaves out a single output's name
            response = {outputs[0]: response[None]}
        if missing := set(outputs) - set(response):
            raise ServerError("INTERNAL", f"no {sorted(missing)} from {signature} of {self.where}")
        return {name: response[name] for name in outputs}

    def _names(self, signature):
        """The outputs of a signature, by the server's metadata."""
        return tuple(self.signatures()[signature]["outputs"])

    def _tried(self, what, ask):
        """`ask(seconds left)`, as many times as are allowed and as time permits."""
        deadline = time.monotonic() + self._timeout
        for tried in itertools.count(1):
            try:
                return ask(deadline - time.monotonic())
            except ServerError as error:
                pause = min(FIRST_PAUSE * 2 ** (tried - 1), LONGEST_PAUSE)
                in_time = time.monotonic() + pause < deadline
                if error.code != "UNAVAILABLE" or tried > self._retries or not in_time:
                    tries = "" if tried == 1 else f" (tried {tried} times)"
                    message = f"{error.message} [{what} of {self.where}{tries}]"
                    raise ServerError(error.code, message) from error
            time.sleep(pause)


def _scheme(url):
    wrong = f"url must be grpc(s)://HOST:PORT or http(s)://HOST:PORT, got {url!r}."
    if not isinstance(url, str):
        raise ValueError(wrong)
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in TRANSPORTS and parts.netloc and parts.port != 0
    except ValueError as error:  # of the port
        raise ValueError(wrong) from error
    if not usable:
        raise ValueError(wrong)
    return parts.scheme


def _check_output(output: Any) -> None:
    from mf_keras.outputs import Output  # imports Keras, which a client of bits does without

    if not isinstance(output, Output):
        raise TypeError(f"output must be an mf_keras.outputs.Output or None, got {output!r}.")


def _headers(headers: Any) -> dict[str, str]:
    """`headers` as a dict of text that a request can hold; its values are never shown."""
    headers = {} if headers is None else headers
    if not isinstance(headers, Mapping) or not all(
        isinstance(text, str) for pair in headers.items() for text in pair
    ):
        raise TypeError(f"headers must be text by name, got {type(headers).__name__}.")
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name) or not re.fullmatch(r"[ -~]*", value):
            raise ValueError(f"headers must have names and values in ASCII, of one line: {name!r}.")
    return dict(headers)


def _context(context, rows="B"):
    """A context as an input of a request; none without one."""
    if context is None:
        return {}
    context = np.asarray(context)
    if context.dtype.kind not in "biuf":
        raise TypeError(f"context must be an array of numbers, got {context.dtype}.")
    validation.shape_of("context", context, (rows, "C"))
    validation.entries("context", context, np.isfinite(context), "finite numbers")
    return {"context": context.astype("float32")}


def _draw(seed, temperature, rows=None):
    """Seeds and temperatures, one a row: `rows` of them, or as many as there are seeds."""
    seeds = np.atleast_1d(np.asarray(list(seed) if isinstance(seed, range) else seed))
    if seeds.dtype.kind not in "iu":
        raise TypeError(f"seed must be an integer, or one for every row, got {seed!r}.")
    if seeds.ndim != 1 or not seeds.size:
        raise ValueError(f"seed must be an integer, or one for every row, got {seed!r}.")
    if seeds.dtype == np.uint64 and (seeds >= 2**63).any():
        raise ValueError(f"seed must be below 2**63, got {seed!r}.")
    rows = len(seeds) if rows is None else rows
    if len(seeds) not in (1, rows):
        raise ValueError(f"seed must be one integer or {rows}, got {len(seeds)}.")
    temperatures = np.atleast_1d(np.asarray(temperature))
    if temperatures.dtype.kind not in "iuf":
        raise TypeError(f"temperature must be a number, or one for every row, got {temperature!r}.")
    if temperatures.shape not in ((1,), (rows,)):
        raise ValueError(f"temperature must be one number or {rows}, got {temperature!r}.")
    temperatures = temperatures.astype("float32")
    if not (np.isfinite(temperatures) & (temperatures > 0)).all():
        raise ValueError(f"temperature must be finite and above 0, got {temperature!r}.")
    return {
        "seed": np.broadcast_to(seeds.astype("int64"), rows),
        "temperature": np.broadcast_to(temperatures, rows),
    }
