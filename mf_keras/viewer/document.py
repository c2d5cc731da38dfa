"""The document: runs as JSON, within one HTML page."""

import base64
import importlib.resources
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mf_keras import files, validation
from mf_keras.types import ArrayLike, Path

# Numbers of a run's memory at most, one byte each. Longer runs show every 2nd, 3rd, ... step.
MOST_CELLS = 4 * 2**20
# Of the largest entries this share is beyond the colour scale; a few of them would fade the rest.
BEYOND = 0.005


class Run(NamedTuple):
    """One sequence, and what the memory did meanwhile; all arrays without a batch axis."""

    sequence: ArrayLike  # (T, D), or (T,) of tokens
    memory: ArrayLike  # (T, N, W)
    write_weights: ArrayLike | None = None  # (T, H, N)
    read_weights: ArrayLike | None = None  # (T, R, N)
    given: int | None = None  # steps from the data, the rest are the model's own; None for all
    nll: float | None = None  # nats


def pack(
    runs: Mapping[str, Run],
    image_shape: Sequence[int] | None = None,
    tokens: Sequence[str] | None = None,
    title: str | None = None,
) -> dict[str, Any]:
    """Runs as what the page's program draws, ready for JSON.

    Args:
        runs: as for `write_page`.
        image_shape: as for `write_page`.
        tokens: as for `write_page`.
        title: as for `write_page`.

    Returns:
        A dict of numbers, text and lists. Memories have 8 bits a number, weights 16.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: there is no run, shapes do not fit, or a value is not finite.
    """
    if not isinstance(runs, Mapping):
        raise TypeError(f"runs must map labels to viewer.Run, got {type(runs).__name__}.")
    if not runs:
        raise ValueError("runs must hold at least one run, got none.")
    title = "" if title is None or title == "" else validation.text("title", title)
    checked = {label: _checked(label, run) for label, run in runs.items()}
    height_and_width = None
    if image_shape is not None:
        height_and_width = _image_shape(image_shape, checked)
    if tokens is not None:
        tokens = _tokens(tokens, checked)
    memories = np.concatenate([np.abs(run.memory).ravel() for run in checked.values()])
    limit = float(np.quantile(memories, 1.0 - BEYOND)) or float(memories.max()) or 1.0
    return {
        "title": title,
        "image": height_and_width,
        "tokens": tokens,
        "limit": limit,
        "runs": [_packed(label, run) for label, run in checked.items()],
    }


def html(data: Mapping[str, Any], controls: str = "", program: str = "") -> str:
    """The whole page.

    Args:
        data: what `pack` gives; what is embedded in the page as JSON.
        controls: HTML that stands above the runs.
        program: JavaScript that follows the page's own.
    """
    page, style, view = (_static(name) for name in ("page.html", "page.css", "view.js"))
    # In a script element only "<" could end the data early.
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    for mark, content in {
        "/*STYLE*/": style,
        "<!--CONTROLS-->": controls,
        "/*VIEW*/": view,
        "/*PROGRAM*/": program,
        "/*DATA*/": text,  # last, since it may hold any text
    }.items():
        page = page.replace(mark, content, 1)
    return page


def write_page(
    path: Path,
    runs: Mapping[str, Run],
    image_shape: Sequence[int] | None = None,
    tokens: Sequence[str] | None = None,
    title: str | None = None,
) -> pathlib.Path:
    """Write a page that shows runs, atomically: one HTML file, which loads nothing else.

        _, trace = generator.teacher_force(x)
        run = viewer.Run(x[0], trace.memory[0], trace.write_weights[0], trace.read_weights[0])
        viewer.write_page("memory.html", {"teacher-forced": run}, image_shape=(8, 8))

    Args:
        path: the file, ending in .html; its folder is created.
        runs: label -> `Run`; they are shown side by side, in the same colours.
        image_shape: (height, width) of a sequence as an image, height * width = T; None for no
            image.
        tokens: the text of each token; None where a step is numbers.
        title: of the page; None for none.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        TypeError, ValueError: an argument has the wrong type, shape or range.
        mf_keras.files.NotWrittenError: writing failed, e.g. on a full disk; an existing file is
            unchanged.
    """
    path = validation.path("path", path, ".html")
    text = html(pack(runs, image_shape, tokens, title))
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _static(name):
    return (importlib.resources.files(__package__) / "static" / name).read_text("utf-8")


def _checked(label, run):
    """A run of arrays of float64 that fit each other."""
    name = f"runs[{label!r}]"
    if not isinstance(label, str):
        raise TypeError(f"runs must have labels of text, got {label!r}.")
    if not isinstance(run, Run):
        raise TypeError(f"{name} must be a viewer.Run, got {type(run).__name__}.")
    memory = _array(f"{name}.memory", run.memory)
    validation.shape_of(f"{name}.memory", memory, ("T", "N", "W"))
    steps, slots = memory.shape[:2]
    sequence = _array(f"{name}.sequence", run.sequence)
    wanted = (steps,) if sequence.ndim == 1 else (steps, "D")
    validation.shape_of(f"{name}.sequence", sequence, wanted)
    weights = {}
    for field, heads in (("read_weights", "R"), ("write_weights", "H")):
        value = getattr(run, field)
        weights[field] = None if value is None else _array(f"{name}.{field}", value)
        if value is not None:
            validation.shape_of(f"{name}.{field}", weights[field], (steps, heads, slots))
    given, nll = run.given, run.nll
    if given is not None:
        given = validation.positive_int(f"{name}.given", given, minimum=0, maximum=steps)
    if nll is not None:
        nll = validation.real_number(f"{name}.nll", nll)
    return Run(sequence, memory, given=given, nll=nll, **weights)


def _array(name, value):
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be an array of numbers: {error}") from error
    if not array.size:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}.")
    validation.entries(name, array, np.isfinite(array), "finite numbers")
    return array


def _image_shape(image_shape, runs):
    if not isinstance(image_shape, (tuple, list)) or len(image_shape) != 2:
        raise TypeError(f"image_shape must be (height, width), got {image_shape!r}.")
    shape = [validation.positive_int("image_shape", size) for size in image_shape]
    for label, run in runs.items():
        pixels = run.sequence.shape
        if math.prod(shape) != pixels[0] or len(pixels) != 2 or pixels[1] != 1:
            raise ValueError(
                f"image_shape must have a pixel for each step of runs[{label!r}], whose sequence "
                f"has shape {pixels}, got {image_shape!r}."
            )
    return shape


def _tokens(tokens, runs):
    wrong = isinstance(tokens, str) or not isinstance(tokens, Sequence)
    if wrong or not all(isinstance(token, str) for token in tokens):
        raise TypeError(f"tokens must be a sequence of text, got {tokens!r}.")
    for label, run in runs.items():
        x = run.sequence
        right = x.ndim == 1 and ((x >= 0) & (x < len(tokens)) & (x % 1 == 0)).all()
        if not right:
            raise ValueError(
                f"tokens must name every token of runs[{label!r}], (T,) of integers below the "
                f"number of tokens, {len(tokens)}."
            )
    return list(tokens)


def _packed(label, run):
    steps = len(run.memory)
    every = min(steps, math.ceil(run.memory.size / MOST_CELLS))
    shown = slice(every - 1, None, every)
    sequence = run.sequence if run.sequence.ndim == 2 else run.sequence[:, np.newaxis]
    weights = {
        field: None if value is None else _bytes(value[shown], np.int16, 1.0)
        for field, value in (("read", run.read_weights), ("write", run.write_weights))
    }
    return {
        "label": label,
        "steps": steps,
        "every": every,
        "given": steps if run.given is None else run.given,
        "nll": run.nll,
        "sequence": _bytes(sequence) if run.sequence.ndim == 2 else None,
        "text": [int(x) for x in run.sequence] if run.sequence.ndim == 1 else None,
        "memory": _bytes(run.memory[shown]),
        **weights,
    }


def _bytes(array, dtype=np.int8, least=0.0):
    """An array as whole numbers by base64, little end first, and what the largest means."""
    largest = max(float(np.abs(array).max()), least) or 1.0
    values = np.rint(array * (np.iinfo(dtype).max / largest)).astype(
        np.dtype(dtype).newbyteorder("<")
    )
    return {
        "shape": list(array.shape),
        "bits": values.itemsize * 8,
        "largest": largest,
        "signed": bool(array.min() < -0.01 * largest),
        "bytes": base64.b64encode(values.tobytes()).decode("ascii"),
    }
