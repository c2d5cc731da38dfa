"""The command `mf-keras`.

Its parts are imported when they run, so that `mf-keras --help` needs neither Keras nor TensorFlow.
"""

import ast
import pathlib
import runpy
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
  mf-keras train sequence_generation --dataset digits --out runs/mine
  mf-keras export runs/mine/best.keras --out saved_models/mine/1 --length 64
  mf-keras sample --url http://localhost:8501 --out grid.png

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
@click.option("--max-rows", default=256, show_default=True, help="Rows of a request, at most.")
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


# The experiments are not installed: they are beside the package in a clone of the repository.
EXPERIMENTS = pathlib.Path(__file__).resolve().parent.parent / "train"
_PASSED_ON = {"ignore_unknown_options": True, "help_option_names": []}


def experiments() -> dict[str, str]:
    """Names of the experiments, and the first line of what each says of itself.

    Raises:
        click.ClickException: there are none, since the package was installed without them.
    """
    paths = sorted(EXPERIMENTS.glob("*.py")) if (EXPERIMENTS / "runs").is_dir() else []
    sources = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    runnable = {name: text for name, text in sources.items() if "__main__" in text}
    if not runnable:
        raise click.ClickException(
            "the experiments are in the repository only: clone it and `pip install --editable` it."
        )
    lines = {name: ast.get_docstring(ast.parse(text)) or "" for name, text in runnable.items()}
    return {name: text.split("\n")[0] for name, text in lines.items()}


def run_experiment(name: str, arguments: Sequence[str]) -> None:
    """`python -m train.NAME ARGUMENTS`, from whatever folder."""
    known = experiments()
    if name not in known:
        raise click.UsageError(f"NAME must be one of {', '.join(known)}, got {name!r}.")
    sys.path.insert(0, str(EXPERIMENTS.parent))
    sys.argv = [f"python -m train.{name}", *arguments]
    runpy.run_module(f"train.{name}", run_name="__main__")


@cli.command(
    options_metavar="",
    context_settings=_PASSED_ON,
    epilog="""\b
Examples:
  mf-keras train copy_task --help
  mf-keras train sequence_generation --dataset digits --out runs/mine
""",
)
@click.argument("name", required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def train(context: click.Context, name: str | None, options: Sequence[str]) -> None:
    """Run the experiment NAME with its OPTIONS; without NAME, list the experiments."""
    if name in (None, "-h", "--help"):
        formatter = context.make_formatter()
        with formatter.section("Experiments"):
            formatter.write_dl(list(experiments().items()))
        click.echo(f"{context.get_help()}\n\n{formatter.getvalue()}", nl=False)
    else:
        run_experiment(name, options)


def _analysis(name: str, summary: str) -> click.Command:
    """A command that is an experiment's module of the same name."""

    @click.argument("options", nargs=-1, type=click.UNPROCESSED)
    def run(options):
        run_experiment(name, options or ["--help"])

    return click.command(name, help=summary, context_settings=_PASSED_ON)(run)


compare = _analysis("compare", "Compare the methods of finished runs over paired seeds.")
figures = _analysis("figures", "Draw the paper's figures from finished runs.")

for command in (page, compare, figures, *client.commands.values()):
    cli.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command of `arguments`, those of the process if None."""
    cli.main(arguments, prog_name="mf-keras")


if __name__ == "__main__":
    main()
