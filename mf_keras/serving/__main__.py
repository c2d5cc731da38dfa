"""Query a server from the command line.

python -m mf_keras.serving sample --url http://localhost:8501 --out grid.png

`sample` draws sequences, `complete` continues those of a .npy file (B, t0, units), `score` prints
the NLL of those of a .npy file (B, length, units), `status` the state of every version. Results go
to a .npy file, or, as a grid of pictures, to a .png file.
"""

import argparse
import math
import pathlib
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from mf_keras import files
from mf_keras.serving.client import Client
from mf_keras.serving.errors import ServerError
from mf_keras.types import Path

KINDS = (".png", ".npy")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command; `arguments` are those of the process if None."""
    parser = argparse.ArgumentParser(
        prog="python -m mf_keras.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    sample = commands.add_parser("sample", help="draw sequences")
    sample.add_argument("--num", type=_positive, default=16, help="how many; default: 16")
    complete = commands.add_parser("complete", help="continue sequences")
    score = commands.add_parser("score", help="print the NLL of sequences, one a line")
    status = commands.add_parser("status", help="print the state of the model's versions")
    for command in (sample, complete, score, status):
        command.add_argument(
            "--url", required=True, help="grpc(s)://HOST:8500 or http(s)://HOST:8501"
        )
        command.add_argument("--model", default="digits", help="default: digits")
        command.add_argument("--version", type=int, help="default: the newest")
        command.add_argument("--timeout", type=float, default=10.0, help="seconds; default: 10")
        command.add_argument("--ca-file", help="certificates to trust, for grpcs:// and https://")
        command.add_argument(
            "--header",
            type=_header,
            action="append",
            default=[],
            metavar="NAME:VALUE",
            help="sent with every request; may be given several times",
        )
    for command in (complete, score):
        command.add_argument("file", help=".npy file of 0 and 1")
    for command in (sample, complete):
        command.add_argument("--seed", type=int, default=0, help="of the first row; default: 0")
        command.add_argument("--temperature", type=float, default=1.0, help="above 0; default: 1")
        command.add_argument("--out", required=True, help="FILE.png or FILE.npy")
        command.add_argument(
            "--shape",
            type=int,
            nargs=2,
            metavar=("HEIGHT", "WIDTH"),
            help="of a sequence as a picture; default: a square",
        )
    options = parser.parse_args(arguments)
    if "out" in options and pathlib.Path(options.out).suffix not in KINDS:
        parser.error(f"argument --out: must end in .png or .npy, got {options.out!r}")
    return options


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _header(text):
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"must be NAME:VALUE, got {text!r}")
    return name.strip(), value.strip()


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


def write(samples: np.ndarray, options: argparse.Namespace) -> None:
    """Write (B, length, units) to the file that `--out` names."""
    if options.out.endswith(".npy"):
        pathlib.Path(options.out).parent.mkdir(parents=True, exist_ok=True)
        with files.atomic_write(options.out) as temporary:
            np.save(temporary, samples)
        return
    side = math.isqrt(samples.shape[1])
    shape = tuple(options.shape or (side, side))
    if math.prod(shape) != samples.shape[1] or samples.shape[2] != 1:
        raise ValueError(
            f"--shape must have as many pixels as the sequences have bits, {samples.shape[1:]}, "
            f"got {shape}; or write a .npy file."
        )
    from mf_keras import plots

    plots.save(plots.sample_grid(samples, shape), options.out)


def run(options: argparse.Namespace) -> None:
    """Query the server, and write or print the response."""
    if "out" in options:
        check_out(options.out)
    given: Any = load(options.file) if "file" in options else None
    with Client(
        options.url,
        options.model,
        options.version,
        options.timeout,
        ca_file=options.ca_file,
        headers=dict(options.header),
    ) as client:
        if options.command == "status":
            for version, state in client.versions().items():
                print(f"version {version}: {state}")
            return
        if options.command == "score":
            for nll in client.score(given):
                print(f"{nll:.4f}")
            return
        if options.command == "complete":
            seeds = range(options.seed, options.seed + len(given))
            samples = client.complete(given, seeds, options.temperature)
        else:
            seeds = range(options.seed, options.seed + options.num)
            samples, nll = client.sample(seeds, options.temperature)
            print(f"{len(samples)} samples, {nll.mean():.2f} nats on average")
    write(samples, options)
    print(options.out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors end it with one line."""
    options = parse_arguments(arguments)
    try:
        run(options)
    except (OSError, TypeError, ValueError, ImportError, ServerError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
