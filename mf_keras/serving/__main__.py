"""Query a server from the command line.

python -m mf_keras.serving sample --url http://localhost:8501 --out grid.png

`sample` draws sequences, `complete` continues those of a .npy file (B, t0, units), `score` prints
the NLL of those of a .npy file (B, length, units), `status` the state of every version. Results go
to a .npy file, or, as a grid of pictures, to a .png file. `mf-keras` has the same commands.
"""

import contextlib
import math
import pathlib
import sys
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import click
import numpy as np

from mf_keras import files
from mf_keras.serving.client import Client
from mf_keras.serving.errors import ServerError
from mf_keras.types import Function, Path

KINDS = (".png", ".npy")


def _num(context, parameter, value):
    if value < 1:
        raise click.BadParameter(f"must be at least 1, got {value}")
    return value


def _out(context, parameter, value):
    if pathlib.Path(value).suffix not in KINDS:
        raise click.BadParameter(f"must end in .png or .npy, got {value!r}")
    return value


def _headers(context, parameter, values):
    pairs = [value.partition(":") for value in values]
    for name, colon, _ in pairs:
        if not colon:
            raise click.BadParameter(f"must be NAME:VALUE, got {name!r}")
    return {name.strip(): value.strip() for name, _, value in pairs}


SERVER = (
    click.option("--url", required=True, help="grpc(s)://HOST:8500 or http(s)://HOST:8501"),
    click.option("--model", default="digits", show_default=True, help="The model's name."),
    click.option("--version", type=int, help="Its version.  [default: the newest]"),
    click.option("--timeout", default=10.0, show_default=True, help="Seconds for a response."),
    click.option("--ca-file", help="Certificates to trust, for grpcs:// and https://."),
    click.option(
        "--header",
        "headers",
        multiple=True,
        callback=_headers,
        metavar="NAME:VALUE",
        help="Sent with every request; may be given several times.",
    ),
)
DRAW = (
    click.option(
        "--seed", default=0, show_default=True, help="Of the first row; each next row adds 1."
    ),
    click.option("--temperature", default=1.0, show_default=True, help="Above 0."),
)
OUT = (
    click.option("--out", required=True, callback=_out, help="FILE.png or FILE.npy"),
    click.option(
        "--shape",
        type=int,
        nargs=2,
        metavar="HEIGHT WIDTH",
        help="Of a sequence as a picture.  [default: a square]",
    ),
)


def _with(*options: Function) -> Function:
    """A decorator that gives a command these options, in this order in its help."""

    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.group(
    epilog="""\b
Examples:
  python -m mf_keras.serving sample --url http://localhost:8501 --out grid.png
  python -m mf_keras.serving score test.npy --url grpc://localhost:8500
"""
)
def cli() -> None:
    """Query a server of an exported generator."""


@cli.command()
@click.option("--num", default=16, show_default=True, callback=_num, help="How many.")
@_with(*DRAW, *OUT, *SERVER)
def sample(
    num: int, seed: int, temperature: float, out: str, shape: Sequence[int] | None, **server: Any
) -> None:
    """Draw sequences."""
    with _errors_in_a_line():
        check_out(out)
        with Client(**server) as client:
            samples, nll = client.sample(range(seed, seed + num), temperature)
        click.echo(f"{len(samples)} samples, {nll.mean():.2f} nats on average")
        write(samples, out, shape)


@cli.command()
@click.argument("file")
@_with(*DRAW, *OUT, *SERVER)
def complete(
    file: str, seed: int, temperature: float, out: str, shape: Sequence[int] | None, **server: Any
) -> None:
    """Continue the sequences of FILE, a .npy file of 0 and 1.

    FILE holds the known first steps, (B, t0, units).
    """
    with _errors_in_a_line():
        check_out(out)
        prefix = load(file)
        with Client(**server) as client:
            samples = client.complete(prefix, range(seed, seed + len(prefix)), temperature)
        write(samples, out, shape)


@cli.command()
@click.argument("file")
@_with(*SERVER)
def score(file: str, **server: Any) -> None:
    """Print the NLL of the sequences of FILE, one a line.

    FILE is a .npy file of 0 and 1, (B, length, units). The NLL is in nats per sequence.
    """
    with _errors_in_a_line():
        sequences = load(file)
        with Client(**server) as client:
            for nll in client.score(sequences):
                click.echo(f"{nll:.4f}")


@cli.command()
@_with(*SERVER)
def status(**server: Any) -> None:
    """Print the state of the model's versions."""
    with _errors_in_a_line(), Client(**server) as client:
        for version, state in client.versions().items():
            click.echo(f"version {version}: {state}")


@contextlib.contextmanager
def _errors_in_a_line() -> Iterator[None]:
    """What goes wrong within ends the program with one line."""
    try:
        yield
    except (OSError, TypeError, ValueError, ImportError, ServerError) as error:
        sys.exit(f"error: {error}")


def load(path: Path) -> np.ndarray:
    """The array of a .npy file.

    Raises:
        OSError: it cannot be read.
        ValueError: it holds no array of numbers with an axis for each of (B, length, units).
    """
    try:
        with open(path, "rb") as file:  # which np.load leaves open where it is damaged
            array = np.load(file, allow_pickle=False)
    except (EOFError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npy file of numbers: {error}") from error
    if np.ndim(array) != 3:
        raise ValueError(f"{path} must hold an array (B, length, units), got {np.shape(array)}.")
    return array


def check_out(path: str) -> None:
    """Refuse to replace a file that this program may not have written.

    A picture has a mark of this program; a .npy file has none, so none is replaced.

    Raises:
        FileExistsError, NotADirectoryError: as for `files.check_ours`.
    """
    if path.endswith(".npy"):
        if pathlib.Path(path).exists():
            raise FileExistsError(f"{path} already exists; remove it or choose another path.")
        files.check_ours(path, mark=b"")  # whether a file is where its folder should be
        return
    from mf_keras import plots  # imports Matplotlib

    files.check_ours(path, plots.MARK)


def write(samples: np.ndarray, out: str, shape: Sequence[int] | None) -> None:
    """Write (B, length, units) to the file that `--out` names."""
    if out.endswith(".npy"):
        pathlib.Path(out).parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(out) as temporary:
            np.save(temporary, samples)
    else:
        side = math.isqrt(samples.shape[1])
        shape = tuple(shape or (side, side))
        if math.prod(shape) != samples.shape[1] or samples.shape[2] != 1:
            raise ValueError(
                "--shape must have as many pixels as the sequences have bits, "
                f"{samples.shape[1:]}, got {shape}; or write a .npy file."
            )
        from mf_keras import plots

        plots.save(plots.sample_grid(samples, shape), out)
    click.echo(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of `arguments`, those of the process if None; errors end it with one line."""
    cli.main(arguments, prog_name="python -m mf_keras.serving", standalone_mode=True)


if __name__ == "__main__":
    main()
