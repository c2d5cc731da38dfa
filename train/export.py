"""Export the best generator of a run for TF Serving.

python -m train.export runs/demo --out saved_models/digits/1

Writes a SavedModel of the signatures that `SequenceGenerator.export` tells of, with a model card of
the run: its data, method, NLL and command.
"""

import argparse
import math
import shlex
import sys

from mf_keras import checkpoints
from train.run_folder import RunFolder
from train.sequence_generation import IMAGE_SHAPES, parse_arguments

NOT_OF_THE_MODEL = {
    "out",
    "data_dir",
    "manual_dir",
    "resume",
    "pictures_every",
    "checkpoint_steps",
}


def command_of(config):
    """The command that trains such a run, with the options that are not the default."""
    default = vars(parse_arguments([]))
    words = ["python", "-m", "train.sequence_generation"]
    for name in ("dataset", "method"):
        words += [f"--{name}", config[name]]
    for name, value in config.items():
        if name not in NOT_OF_THE_MODEL | {"dataset", "method"} and value != default.get(name):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)


def card(config, results):
    """What the run's files say, for the model card."""
    test = results["test"]
    return {
        "data": f"{config['dataset']}, images of {'x'.join(map(str, shape_of(config)))} bits",
        "method": f"{config['method'].replace('_', ' ')}, {results['epochs']} epochs, the best by "
        f"validation: {results['best_epoch']}",
        "NLL": f"{test['nll']:.2f} nats per image, {test['bits_per_step']:.4f} bits per pixel, on "
        "the whole test split",
        "command": f"`{command_of(config)}`",
        "trained with": f"TensorFlow {results['tensorflow']}, Keras {results['keras']}",
    }


def shape_of(config):
    """(height, width) of the run's images."""
    return IMAGE_SHAPES[config["dataset"]]


def export(run, out, overwrite):
    """Export a run to `out`; None for saved_models/NAME/1, by the folder's name."""
    folder, config = RunFolder.open(run, "dataset")
    for name in ("best.keras", "results.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{str(run)!r} has no {name}: the run has not been finished.")
    out = out or f"saved_models/{folder.path.resolve().name}/1"
    generator = checkpoints.load(folder / "best.keras")
    generator.export(
        out,
        length=math.prod(shape_of(config)),
        card=card(config, folder.read_json("results.json")),
        overwrite=overwrite,
    )
    return out


def main(arguments=None):
    """Export a run."""
    parser = argparse.ArgumentParser(
        prog="python -m train.export", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("run", help="folder of a finished train.sequence_generation")
    parser.add_argument(
        "--out", help="ROOT/NAME/VERSION; default: saved_models/NAME/1, NAME as of the run's folder"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the version if it exists")
    options = parser.parse_args(arguments)
    try:
        out = export(options.run, options.out, options.overwrite)
    except FileExistsError as error:
        sys.exit(f"error: {error} Here that is --overwrite or --out.")
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
    print(f"SavedModel: {out}")


if __name__ == "__main__":
    main()
