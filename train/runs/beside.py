"""The finished runs that stand in a table and a picture beside a new one."""

from collections.abc import Sequence
from typing import TypeVar

from train.runs.folder import RunFolder
from train.runs.options import ImageOptions, flag

T = TypeVar("T", bound=ImageOptions)


def runs_beside(options: T, same: Sequence[str], table: str) -> list[tuple[RunFolder, T]]:
    """The runs of `--beside`, and their options.

    Args:
        options: of the run beside which they are.
        same: names of the options that all must share.
        table: name of the file that a finished run has.

    Raises:
        FileNotFoundError, ValueError: one is none of this command, is not finished, does not fit,
            or has a seed or other settings of a variant that another of the runs has.
    """
    found = [RunFolder.open(path, type(options)) for path in options.beside]
    settings = {options.variant(): (options.settings(), options.steps)}
    seeds = {(options.variant(), seed) for seed in options.all_seeds()}
    for folder, their in found:
        name, variant = f"--beside {str(folder.path)!r}", their.variant()
        for each in same:
            if getattr(their, each) != getattr(options, each):
                raise ValueError(f"{name} has another {flag(each)} than this run.")
        if not (folder / table).exists():
            raise ValueError(f"{name} is not finished.")
        own = their.settings(), their.steps
        if settings.setdefault(variant, own) != own:
            raise ValueError(f"{name} has other settings than another run of {variant}.")
        of_run = {(variant, seed) for seed in their.all_seeds()}
        if twice := sorted(of_run & seeds):
            raise ValueError(f"{name} has seed {twice[0][1]} of {variant}, as another run.")
        seeds |= of_run
    return found
