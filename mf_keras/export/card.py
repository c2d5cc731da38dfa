"""The model card: what a served model is, where it comes from, and how to query it."""

from typing import Any

import keras
import tensorflow as tf

from mf_keras.export.signatures import served_fields
from mf_keras.export.version_folder import VersionFolder
from mf_keras.models import SequenceGenerator
from mf_keras.version import __version__

NOT_STATED = "not stated"
HEADINGS = ("data", "method", "NLL", "command")
OURS = ("model", "sequences", "loop over time", "versions")  # that nobody else can state


def check(entries: Any) -> dict[str, str]:
    """`entries` as a dict of text by heading; None is an empty one.

    Raises:
        TypeError: it is something else.
        ValueError: a heading is one of `OURS`.
    """
    entries = {} if entries is None else entries
    if not isinstance(entries, dict) or not all(
        isinstance(text, str) for pair in entries.items() for text in pair
    ):
        raise TypeError(f"card must be a dict of text by heading, got {entries!r}.")
    taken = sorted(set(entries) & set(OURS))
    if taken:
        raise ValueError(f"card must have headings other than {', '.join(OURS)}, got {taken}.")
    return dict(entries)


def text(
    folder: VersionFolder,
    generator: SequenceGenerator,
    length: int,
    jit_compile: bool,
    max_rows: int,
    unequal_lengths: bool,
    entries: dict[str, str],
) -> str:
    """The card in Markdown.

    Args:
        folder: the `VersionFolder`.
        generator: what is served.
        length: T, the number of steps of every sequence.
        jit_compile: whether XLA compiles the loop over time.
        max_rows: rows of a request at most.
        unequal_lengths: whether `score` takes the number of steps of every sequence.
        entries: a dict of text by heading.
    """
    cell, output = generator.cell, generator.output
    rows = {heading: entries.get(heading, NOT_STATED) for heading in HEADINGS}
    rows |= {heading: entry for heading, entry in entries.items() if heading not in rows}
    rows["model"] = (
        f"{type(cell).__name__}, controller {type(cell.controller).__name__} of "
        f"{cell.hidden_size} units, memory {cell.memory_size} x {cell.word_size}, "
        f"{cell.num_reads} read and {cell.num_writes} write heads; "
        f"{generator.count_params()} weights, computed in {cell.compute_dtype}"
    )
    rows["sequences"] = f"{length} steps of {output.description}"
    rows["loop over time"] = "compiled by XLA" if jit_compile else "TensorFlow graph"
    rows["versions"] = (
        f"mf_keras {__version__}, TensorFlow {tf.__version__}, Keras {keras.__version__}"
    )
    table = "\n".join(f"| {_cell(heading)} | {_cell(entry)} |" for heading, entry in rows.items())
    return CARD.format(
        name=folder.name,
        version=folder.path.name,
        table=table,
        output=f"{output.dtype} ({', '.join(map(str, ('B', length, *output.step)))})",
        prefix=f"{output.dtype} ({', '.join(map(str, ('B', 't0', *output.step)))})",
        length=length,
        max_rows=max_rows,
        trace=", ".join(f"`{name}`" for name in served_fields(cell)),
        lengths="; `lengths` int64 (B,), steps that count, 1 to T" if unequal_lengths else "",
        context=f"; `context` float32 (B, {generator.context_size})" * bool(generator.context_size),
        values=output.values,
    )


def _cell(text):
    """Text as a cell of a table, which a bar or a new line would end."""
    return text.replace("|", "\\|").replace("\n", "<br>")


CARD = """\
# {name}, version {version}

A generator of sequences with an external memory, as a SavedModel for TF Serving.

| | |
|---|---|
{table}

## Signatures

| name | inputs | outputs |
|---|---|---|
| `sample`, `serving_default` | `seed` int64 (B,), `temperature` float32 (B,){context} \
| `samples` {output}, `nll` float32 (B,) |
| `score` | `sequences` {output}{lengths}{context} | `nll` float32 (B,) |
| `complete` | `prefix` {prefix}, t0 from 0 to {length}; `seed`; `temperature`{context} \
| `samples` {output}, beginning with the prefix |
| `trace` | `sequences`{context} | {trace}, float32 (B, \
{length}, ...) |

`nll` is in nats, of the model itself, whatever the temperature. A row depends on its own seed and
temperature only. Temperature 1 samples the model, a small one such as 1e-6 takes the likeliest
value at every step; 0 is refused. A request of more than {max_rows} rows, of another shape, or with
values other than {values}, is refused with INVALID_ARGUMENT.

`SequenceGenerator.from_preset` reads the generator back into Keras, from `generator.keras`.
"""
