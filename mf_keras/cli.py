"""The command `mf-keras`.

Its parts are imported when they run, so that `mf-keras --help` needs neither Keras nor TensorFlow.
"""

import sys
from collections.abc import Sequence
from typing import Any

import click

from mf_keras.page.__main__ import page
from mf_keras.serving.__main__ import cli as client
from mf_keras.version import __version__

EXAMPLES = """\b
Examples:
  mf-keras page digits
  mf-keras sample --url http://localhost:8501 --out grid.png
  mf-keras export runs/mine/best.keras --out saved_models/mine/1 --length 64

\b
Completion of commands and options in bash (zsh and fish likewise):
  eval "$(_MF_KERAS_COMPLETE=bash_source mf-keras)"
"""


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mf-keras")
def cli() -> None:
    """Memory-augmented networks and Memory Forcing for Keras."""


@cli.command(
    epilog="""\b
Example:
  mf-keras export runs/mine/best.keras --out saved_models/mine/1 --length 64
"""
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", required=True, help="ROOT/NAME/VERSION, e.g. saved_models/mine/1.")
@click.option("--length", required=True, type=click.IntRange(1), help="Steps of a sequence.")
@click.option("--max-rows", default=256, show_default=True, help="Of a request.")
@click.option("--unequal-lengths", is_flag=True, help="Let `score` take lengths.")
@click.option("--jit-compile", is_flag=True, help="Let XLA compile the loop over time.")
@click.option("--overwrite", is_flag=True, help="Replace the version if it is there.")
def export(file: str, out: str, **options: Any) -> None:
    """Write a SavedModel for TF Serving.

    FILE is a .keras file with a SequenceGenerator, or with an algorithm that trains one. Code in it
    is never run.
    """
    from mf_keras import checkpoints
    from mf_keras.models import SequenceGenerator

    try:
        model = checkpoints.load(file)
        generator = getattr(model, "generator", model)
        if not isinstance(generator, SequenceGenerator):
            raise ValueError(f"{file} holds a {type(model).__name__}, not a SequenceGenerator.")
        generator.export(out, **options)
    except FileExistsError as error:
        sys.exit(f"error: {error} Here that is --overwrite or --out.")
    except (OSError, TypeError, ValueError) as error:
        sys.exit(f"error: {error}")
    click.echo(f"SavedModel: {out}")


for command in (page, *client.commands.values()):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of `arguments`, those of the process if None."""
    cli.main(arguments, prog_name="mf-keras")


if __name__ == "__main__":
    main()
