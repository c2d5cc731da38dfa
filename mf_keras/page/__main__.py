"""Serve the page: draw the beginning of a sequence, see the model complete it and its memory.

python -m mf_keras.page saved_models/digits/1
"""

import contextlib
import pathlib
import sys
import webbrowser
from typing import Any

import click


@click.command(
    epilog="""\b
Examples:
  mf-keras page digits
  mf-keras page saved_models/digits/1 --open
  mf-keras page presets/mine --shape 28 28
  mf-keras page --url http://localhost:8501 --model digits
  mf-keras page saved_models/text/1 --alphabet alphabet.txt
"""
)
@click.argument("preset", required=False)
@click.option("--url", help="Of a server that has the model: http(s)://HOST:8501, grpc(s)://HOST.")
@click.option("--model", help="The model's name there.  [default: digits]")
@click.option("--version", type=int, help="Its version there.  [default: the newest]")
@click.option("--timeout", type=float, help="Seconds to wait for the server.  [default: 30]")
@click.option(
    "--shape",
    type=int,
    nargs=2,
    metavar="HEIGHT WIDTH",
    help="Of a sequence as an image.  [default: a square]",
)
@click.option("--length", type=int, help="Steps of a sequence.  [default: as exported, or --shape]")
@click.option(
    "--alphabet",
    type=click.Path(exists=True, dir_okay=False),
    help="Text file of a model's characters, in the order of its classes.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8000, show_default=True, help="0 for a free one.")
@click.option("--open", "open_browser", is_flag=True, help="Open the page in the browser.")
def page(**options: Any) -> None:
    """Serve a page: draw the upper half of an image, see it completed.

    PRESET is the name of a trained generator, such as digits, or its folder. With --url a running
    server has the model instead, and neither TensorFlow nor Keras is needed for models of bits.

    The page shows memory, write weights and read weights step by step. It has no login, and is
    only for the same machine unless --host says otherwise.
    """
    try:
        run(**options)
    except (OSError, TypeError, ValueError, ImportError, RuntimeError) as error:
        sys.exit(f"error: {error}")


def run(
    preset: str | None,
    url: str | None,
    model: str | None,
    version: int | None,
    timeout: float | None,
    shape: tuple[int, int] | None,
    length: int | None,
    alphabet: str | None,
    host: str,
    port: int,
    open_browser: bool,
) -> None:
    """Serve until interrupted.

    Raises:
        OSError, TypeError, ValueError, ImportError, RuntimeError: it cannot be served.
    """
    from mf_keras.page.server import PageServer

    if (preset is None) == (url is None):
        raise ValueError("give either a PRESET or --url, such as: mf-keras page digits")
    for name, value in (("--model", model), ("--version", version), ("--timeout", timeout)):
        if url is None and value is not None:
            raise ValueError(f"{name} goes with --url, got {value!r}")
    tokens = None if alphabet is None else _read_alphabet(alphabet)
    if length is None and shape is not None:
        length = shape[0] * shape[1]
    with contextlib.ExitStack() as stack:
        if url is None:
            served: Any = _local(preset, length)
        else:
            given = model or "digits", version, 30.0 if timeout is None else timeout
            served = stack.enter_context(_remote(url, *given, length, tokens))
        server = stack.enter_context(PageServer(served, shape, tokens, host, port))
        if not server.is_private:
            click.echo(f"warning: --host {host} lets other machines use the page", err=True)
        click.echo(f"{served.name}\nOpen {server.url} in a browser; Ctrl+C ends.")
        if open_browser:
            webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _local(preset, length):
    from mf_keras.models import SequenceGenerator, presets
    from mf_keras.page.models import LocalModel

    file = presets.find(preset)
    if length is None:
        length = presets.LENGTHS.get(preset)
    if length is None:
        from mf_keras import export  # which needs TensorFlow

        length = export.length_of(file.parent)
    if length is None:
        raise ValueError(
            f"--length or --shape must say how long sequences are: {file.parent} holds no export."
        )
    return LocalModel(SequenceGenerator.from_preset(preset), length)


@contextlib.contextmanager
def _remote(url, model, version, timeout, length, tokens):
    from mf_keras.page.models import RemoteModel
    from mf_keras.serving.client import Client

    classes = output = None
    if tokens is not None:
        from mf_keras.outputs import Categorical  # imports Keras

        classes = len(tokens)
        output = Categorical(classes)
    with Client(url, model, version, timeout, output=output) as client:
        yield RemoteModel(client, length, classes)


def _read_alphabet(path):
    """The characters of a file; the line feed at its very end is none of them."""
    text = pathlib.Path(path).read_text("utf-8").removesuffix("\n")
    if len(set(text)) < len(text) or len(text) < 2:
        raise ValueError(f"--alphabet must have every character once, which {path} has not.")
    return list(text)


if __name__ == "__main__":
    page(prog_name="python -m mf_keras.page")
