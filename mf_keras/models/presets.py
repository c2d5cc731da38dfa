"""Presets: trained generators by name, or by a folder that `export` or `save_to_preset` wrote."""

import pathlib
import re
import sys
from typing import Any

from mf_keras import checkpoints, validation
from mf_keras.types import Path

FILE = "generator.keras"  # in the folder of a preset, or of a version of an exported model
# Steps of the named presets' sequences: their exports know them, but are not installed.
LENGTHS = {"digits": 64}
_FOLDER = "saved_models"
# Where named presets are: beside the package in a checkout, or where `pip` installs them.
ROOTS = (
    pathlib.Path(__file__).resolve().parent.parent.parent / _FOLDER,
    pathlib.Path(sys.prefix) / "share" / "mf_keras" / _FOLDER,
)


def find(preset: Path) -> pathlib.Path:
    """The .keras file of a preset.

    Args:
        preset: the name of one, such as "digits"; or a folder with the file in it, such as
            "saved_models/digits/1", or with folders of versions, of which the newest is taken.

    Raises:
        TypeError: it is no path.
        ValueError: there is no such name or folder, or the folder has no generator.
    """
    folder = validation.path("preset", preset)
    named = [root / folder for root in ROOTS if re.fullmatch(r"[\w.-]+", str(preset))]
    for place in (*named, folder):
        versions = [each for each in place.glob("*") if re.fullmatch("[1-9][0-9]*", each.name)]
        newest_first = sorted(versions, key=lambda each: int(each.name), reverse=True)
        for candidate in (place, *newest_first):
            if (candidate / FILE).is_file():
                return candidate / FILE
    names = sorted({file.parent.parent.name for root in ROOTS for file in root.glob(f"*/*/{FILE}")})
    raise ValueError(
        f"preset must be one of {names}, or a folder with a {FILE} in it, got {str(preset)!r}."
    )


def save(generator: Any, folder: Path) -> None:
    """Write a generator, without what a training has beside it, as the file in `folder`.

    Raises:
        TypeError: `folder` is no path.
        mf_keras.files.NotWrittenError: writing failed; an existing file is unchanged.
    """
    folder = validation.path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    if generator.compiled:  # then its file would have the optimizer
        weights = generator.get_weights()
        generator = type(generator).from_config(generator.get_config())
        generator.set_weights(weights)
    checkpoints.save_model(generator, folder / FILE)
