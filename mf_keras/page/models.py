"""The models behind the page: a generator in this process, or one that a server has."""

import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mf_keras import validation
from mf_keras.serving.client import Client
from mf_keras.serving.errors import ServerError
from mf_keras.types import ArrayLike, Tensor
from mf_keras.viewer import Run

if TYPE_CHECKING:
    from mf_keras.models import SequenceGenerator

FIELDS = ("memory", "read_weights", "write_weights")


class LocalModel:
    """A generator in this process. One program of one row serves every request, compiled once.

    Args:
        generator: a `SequenceGenerator` whose steps are one bit or one token, without a context.
        length: T, steps of a sequence.

    Attributes:
        length: T.
        classes: number of tokens; None where a step is a bit.
        name: a few words about the model.

    Raises:
        TypeError: `generator` is none.
        ValueError: the page cannot show such a generator, or `length` is below 1.
    """

    def __init__(self, generator: "SequenceGenerator", length: int) -> None:
        from mf_keras import backend  # imports TensorFlow
        from mf_keras.models import SequenceGenerator

        if not isinstance(generator, SequenceGenerator):
            raise TypeError(f"generator must be a SequenceGenerator, got {generator!r}.")
        self.length = validation.positive_int("length", length)
        self.classes = _classes(generator)
        cell = generator.cell
        state = cell.initial_state(1)
        self._fields = tuple(field for field in FIELDS if hasattr(state, field))
        if len(getattr(getattr(state, "memory", None), "shape", ())) != 3:
            raise ValueError(
                "generator must have a memory (N, W) in its state for the page to show, got a "
                f"{type(cell).__name__}."
            )
        slots, words = state.memory.shape[1:]
        self.name = f"{type(cell).__name__}, memory {slots} \u00d7 {words}, {self.length} steps"
        self._generator = generator
        self._compiled = backend.CompiledFor(generator, self._run)
        self._lock = threading.Lock()

    def complete(self, prefix: ArrayLike, seed: int, temperature: float) -> Run:
        """Continue a sequence, which may have no step yet.

        Args:
            prefix: (t0,), t0 from 0 to T, of bits or tokens.
            seed: an int >= 0. A seed's sequence without a prefix is `sample(1, T, seed)`.
            temperature: at least 0.
        """
        import keras

        output = self._generator.output
        shape = (1, self.length, output.noise_size)
        noise = keras.random.uniform(shape, seed=validation.seed("seed", seed), dtype="float32")
        thresholds = output.thresholds(noise, validation.real_number("temperature", temperature))
        return self._of(prefix, thresholds)

    def force(self, sequence: ArrayLike) -> Run:
        """A whole sequence (T,) as the cell's input: teacher forcing."""
        return self._of(sequence, np.zeros((1, 0, self._generator.output.noise_size), "float32"))

    def _of(self, prefix, thresholds):
        """The run in which the prefix is forced upon the samples, and thresholds decide the rest.

        Free running and teacher forcing are one program then, as in `free_running.in_both_modes`.
        """
        from keras import ops

        given = len(prefix)
        output = self._generator.output
        forced = output.forced(ops.convert_to_tensor(_row(prefix, self.classes)))
        inputs = ops.concatenate([forced, thresholds[:, given:]], axis=1)
        with self._lock:
            samples, nll, trace = self._compiled(inputs)
        fields = {name: np.asarray(value[0], "float32") for name, value in trace.items()}
        sequence = np.asarray(samples[0])
        return Run(sequence, given=given, nll=float(nll[0]), **fields)

    def _run(self, inputs: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        from mf_keras.models import free_running

        generator = self._generator
        samples, parameters, trace = free_running.free_run(
            generator.cell, generator.output, inputs, keep=self._fields
        )
        nll = generator.output.nll(samples, parameters)
        return samples, nll, {name: getattr(trace, name) for name in self._fields}


class RemoteModel:
    """A model that a server has, queried through a client.

    Args:
        client: a `serving.Client`; with `output=Categorical(...)` for a model of tokens.
        length: T, steps of a sequence; None for what the metadata of TF Serving say.
        classes: number of tokens; None where a step is a bit.

    Attributes:
        length: T.
        classes: as given.
        name: a few words about the model.

    Raises:
        TypeError: `client` is none.
        ValueError: the page cannot show such a model, or the server does not say its length.
        mf_keras.serving.ServerError: the server refused or did not respond.
    """

    def __init__(
        self, client: Client, length: int | None = None, classes: int | None = None
    ) -> None:
        if not isinstance(client, Client):
            raise TypeError(f"client must be a serving.Client, got {client!r}.")
        if classes is not None:
            classes = validation.positive_int("classes", classes, minimum=2)
        self.classes = classes
        self._client = client
        if length is not None:
            length = validation.positive_int("length", length)
        self.length, self._lengths = self._look(length)
        self.name = f"{client.where}, {self.length} steps"

    def _look(self, length):
        """The length, and whether `score` takes lengths, by what the server says that it takes.

        It need not say anything where the length is given.
        """
        try:
            signatures = self._client.signatures()
        except ServerError:
            if length is None:
                raise
            return length, False
        if missing := {"sample", "complete", "score", "trace"} - set(signatures):
            raise ValueError(f"client must have a model of `export`, which lacks {sorted(missing)}")
        inputs = signatures["trace"]["inputs"]
        if "context" in inputs:
            raise ValueError("client must have a model without a context, got one with it.")
        shape = inputs["sequences"][1]
        wanted = (None, shape[1]) if self.classes else (None, shape[1], 1)
        if shape != wanted:
            what = "tokens" if self.classes else "one bit a step; tokens need an alphabet"
            raise ValueError(f"client must have a model of {what}; its sequences are {shape}.")
        if length not in (None, shape[1]):
            raise ValueError(
                f"length must be that of the server's model, {shape[1]}, got {length}."
            )
        return shape[1], "lengths" in signatures["score"]["inputs"]

    def complete(self, prefix: ArrayLike, seed: int, temperature: float) -> Run:
        """As `LocalModel.complete`; the temperature must be above 0, and seeds are the server's."""
        given = len(prefix)
        if given:
            samples = self._client.complete(_row(prefix, self.classes), seed, temperature)
        else:
            samples, _ = self._client.sample(seed, temperature)
        return self._of(samples, given)

    def force(self, sequence: ArrayLike) -> Run:
        """As `LocalModel.force`."""
        return self._of(_row(sequence, self.classes), self.length)

    def _of(self, samples, given):
        # What a memory does follows from what the cell reads, so the trace of its own samples is
        # that of its free run.
        trace = self._client.trace(samples)
        if "memory" not in trace or trace["memory"].ndim != 4:
            raise ValueError(f"trace of the model must have a memory, got {sorted(trace)}.")
        lengths = [self.length] if self._lengths else None
        nll = self._client.score(samples, lengths)[0]
        fields = {name: trace[name][0] for name in FIELDS if name in trace}
        return Run(np.asarray(samples[0]), given=given, nll=float(nll), **fields)


def check_shape(shape: Sequence[int] | None, length: int) -> tuple[int, int]:
    """(height, width) of an image of `length` pixels; a square where none is given.

    Raises:
        ValueError: it has another number of pixels, or there is no such square.
    """
    side = math.isqrt(length)
    height, width = shape or (side, side)
    if height * width != length or height < 1:
        raise ValueError(
            f"shape must have as many pixels as a sequence has steps, {length}, got "
            f"{(height, width)}."
        )
    return height, width


def _classes(generator):
    """Number of tokens of a generator's output, or None for one of bits.

    Raises:
        ValueError: the page can neither draw nor type such steps.
    """
    from mf_keras.outputs import Bernoulli, Categorical

    if generator.context_size:
        raise ValueError(
            "generator must have no context for the page, got context_size="
            f"{generator.context_size}."
        )
    output = generator.output
    if isinstance(output, Categorical):
        return output.size
    if isinstance(output, Bernoulli) and output.size == 1:
        return None
    raise ValueError(
        "generator must have steps of one bit or one token for the page, got steps of "
        f"{output.description}."
    )


def _row(values, classes):
    """One row (1, t) of tokens or (1, t, 1) of bits, as outputs have them."""
    if classes is None:
        return np.asarray(values, "float32").reshape(1, -1, 1)
    return np.asarray(values, "int32").reshape(1, -1)
