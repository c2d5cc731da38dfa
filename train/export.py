"""Export the best generator of a run for TF Serving.

python -m train.export runs/demo --out saved_models/digits/1

Writes a SavedModel with the signatures of `SequenceGenerator.export`, and a model card of the run:
its data, method, NLL and command.
"""

import dataclasses
import pathlib
import shlex
import sys
from typing import Any

from mf_keras import checkpoints
from train import sequence_generation
from train.runs.folder import RunFolder
from train.runs.model import SEQUENCE_GAN
from train.runs.options import Options as BaseOptions
from train.runs.options import Role, option, positional, words
from train.sequence_generation import BEST, RESULTS


@dataclasses.dataclass(kw_only=True)
class Options(BaseOptions):
    """The options of the command."""

    command = "train.export"

    run: str = positional("folder of a finished train.sequence_generation")
    out: str | None = option(
        None, "ROOT/NAME/VERSION; default: saved_models/NAME/1, NAME as of the run's folder"
    )
    overwrite: bool = option(False, "replace the version if it exists")


def command_of(options: sequence_generation.Options) -> str:
    """The command that trains such a run, with the options that are not the default."""
    named = {"dataset": options.dataset, "method": options.method}
    changed = options.not_default(Role.SETTING, Role.RARE_SETTING, Role.VARIANT, Role.RUN)
    # Names without folders, which are of one machine.
    files = [pathlib.Path(file).name for file in options.files or ()]
    files = ["--files", *files] if files else []
    return shlex.join(["python", "-m", options.command, *words(named | changed), *files])


def card(options: sequence_generation.Options, results: dict[str, Any]) -> dict[str, str]:
    """What the run's files say, for the model card."""
    test, kind = results["test"], options.kind
    chosen = "the last" if options.method == SEQUENCE_GAN else "the best by validation"
    return {
        "data": f"{options.dataset}, {kind.sequence}s of {kind.step(options)}",
        "method": f"{options.method.replace('_', ' ')}, {results['epochs']} epochs, {chosen}: "
        f"{results['best_epoch']}",
        "NLL": f"{kind.describe(test)}, {test['bits_per_step']:.4f} bits per step, on the whole "
        "test split",
        "command": f"`{command_of(options)}`",
        "trained with": f"TensorFlow {results['tensorflow']}, Keras {results['keras']}",
    }


def export(run: str, out: str | None, overwrite: bool) -> str:
    """Export a run to `out`; None for saved_models/NAME/1, by the folder's name."""
    folder, options = RunFolder.open(run, sequence_generation.Options)
    for name in (BEST, RESULTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{str(run)!r} has no {name}: the run has not been finished.")
    out = out or f"saved_models/{folder.path.resolve().name}/1"
    generator = checkpoints.load(folder / BEST)
    generator.export(
        out,
        length=options.kind.length(options),
        unequal_lengths=options.kind.unequal,
        card=card(options, folder.read_json(RESULTS)),
        overwrite=overwrite,
    )
    return out


def main(arguments: list[str] | None = None) -> None:
    """Export a run."""
    options = Options.parse(arguments)
    try:
        out = export(options.run, options.out, options.overwrite)
    except FileExistsError as error:
        sys.exit(f"error: {error} Here that is --overwrite or --out.")
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    print(f"SavedModel: {out}")


if __name__ == "__main__":
    main()
