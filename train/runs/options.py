"""Options of a command as a dataclass, which its command line, files and code have in common.

A command declares a subclass of `Options`; each field is made by `option`. `Options.parse` reads
the command line by argparse; `Options.config` and `Options.from_config` convert to and from the
dict that is stored as JSON. A subclass with a `title` is a group of options of its own in the help.
"""

import argparse
import dataclasses
import enum
import inspect
import sys
from collections.abc import Callable
from typing import Any, ClassVar, Self

BASELINE = "teacher_forcing"  # the method without a discriminator


class Role(enum.Enum):
    """What an option says of a run, for comparisons of runs."""

    SETTING = "shared by all runs of a comparison"
    RARE_SETTING = "the same, but named only where it is not the default"
    VARIANT = "part of the name of a method's variant, where it is not the default"
    CONTENT = "what a run stores of its files, so that runs of other data are known"
    RUN = "may differ between the runs of a variant"
    FILES = "where and how often files are read and written; does not change the weights"


def option(
    default: Any,
    help: str,
    type: Callable[[str], Any] | None = None,
    role: Role = Role.SETTING,
    resumable: bool = False,
    alias: str | None = None,
    **arguments: Any,
) -> Any:
    """A field of `Options`.

    Args:
        default: the value if the option is not given. False makes an option without a value.
        help: of the command line; the default is added to it.
        type: an argparse type, which converts and checks the text.
        role: for comparisons of runs.
        resumable: whether the option goes with `--resume`.
        alias: an older name.
        **arguments: others of `argparse.ArgumentParser.add_argument`.
    """
    if default is False:
        arguments["action"] = "store_true"
    elif type is not None:
        arguments["type"] = type
    if isinstance(default, tuple):
        help = f"{help}; default: {' '.join(map(str, default))}"
    elif default is not None and default is not False and default != "":
        help = f"{help}; default: {default}"
    metadata = {
        "role": role,
        "resumable": resumable,
        "aliases": [alias] if alias else [],
        "arguments": {**arguments, "help": help},
    }
    return dataclasses.field(default=default, metadata=metadata)


def positional(help: str, **arguments: Any) -> Any:
    """A field of `Options` that is given without a name, as `RUN` in `train.export RUN`."""
    metadata = {"role": None, "resumable": False, "arguments": {**arguments, "help": help}}
    return dataclasses.field(metadata=metadata)


def stored(help: str) -> Any:
    """A field of `Options` that no command line sets: a run finds and stores it; "" before."""
    return dataclasses.field(
        default="", metadata={"role": Role.CONTENT, "resumable": False, "help": help}
    )


def flag(name: str) -> str:
    """How the command line calls an option: `memory_size` is "--memory-size"."""
    return "--" + name.replace("_", "-")


@dataclasses.dataclass(kw_only=True)
class Options:
    """The options of a command: a base class.

    Attributes:
        command: the module that the user runs, such as "train.copy_task".
        title: of a group of options in the help.
        given: names of the options that the command line sets.
    """

    command: ClassVar[str]
    title: ClassVar[str]
    given = frozenset[str]()

    def __post_init__(self) -> None:
        self.check()

    def check(self) -> None:
        """Check what depends on more than one option.

        Raises:
            ValueError: options do not go together.
        """

    @classmethod
    def parse(cls, arguments: list[str] | None = None) -> Self:
        """The options that a command line sets; the program ends where they are wrong.

        Args:
            arguments: words; None for those of the program.
        """
        parser = cls._parser()
        given = vars(parser.parse_args(arguments))
        if given.get("resume") is not None:
            for field in dataclasses.fields(cls):
                if field.name in given.keys() - {"resume"} and not field.metadata["resumable"]:
                    parser.error(
                        f"argument {flag(field.name)}: --resume uses the run's own, which it does "
                        "not change"
                    )
        try:
            options = cls(**given)
        except ValueError as error:
            parser.error(str(error))
        options.given = frozenset(given)
        return options

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The options that `config` stored; those that it lacks have their defaults."""
        return cls(**{f.name: config[f.name] for f in cls._ordered() if f.name in config})

    def config(self) -> dict[str, Any]:
        """The options as a dict that JSON can store."""
        return {field.name: getattr(self, field.name) for field in self._ordered()}

    def of_role(self, role: Role) -> dict[str, Any]:
        """The options of one role, sorted by name."""
        fields = sorted(dataclasses.fields(self), key=lambda field: field.name)
        return {f.name: getattr(self, f.name) for f in fields if f.metadata["role"] is role}

    def not_default(self, *roles: Role) -> dict[str, Any]:
        """The options of some roles whose values are not the defaults."""
        return {
            field.name: getattr(self, field.name)
            for field in self._ordered()
            if field.metadata["role"] in roles and getattr(self, field.name) != field.default
        }

    @classmethod
    def _groups(cls) -> list[tuple[type, list[dataclasses.Field]]]:
        """The classes that declare options, `cls` first, and the fields of each."""
        fields = {field.name: field for field in dataclasses.fields(cls)}
        return [
            (group, [fields.pop(name) for name in inspect.get_annotations(group) if name in fields])
            for group in cls.__mro__
        ]

    @classmethod
    def _ordered(cls) -> list[dataclasses.Field]:
        return [field for _, fields in cls._groups() for field in fields]

    @classmethod
    def _parser(cls) -> argparse.ArgumentParser:
        """A parser that sets only what is given: the defaults are the dataclass's."""
        text = sys.modules[cls.__module__].__doc__ or ""
        parser = argparse.ArgumentParser(
            prog=f"python -m {cls.command}",
            description=text.split("\n\n")[0],
            argument_default=argparse.SUPPRESS,
        )
        for group, fields in cls._groups():
            titled = fields and "title" in vars(group)
            where = parser.add_argument_group(vars(group)["title"]) if titled else parser
            for field in fields:
                if "arguments" not in field.metadata:
                    continue
                positional = field.default is dataclasses.MISSING
                names = [field.name if positional else flag(field.name)]
                names += field.metadata.get("aliases", [])
                where.add_argument(*names, **field.metadata["arguments"])
        return parser


def words(options: dict[str, Any]) -> list[str]:
    """Options as the words of a command line: `["--no-gate", "--weight", "10"]`."""
    found = []
    for name, value in options.items():
        short = isinstance(value, float) and float(f"{value:g}") == value
        text = f"{value:g}" if short else str(value)
        found += [flag(name)] if value is True else [flag(name), text]
    return found


@dataclasses.dataclass(kw_only=True)
class ExperimentOptions(Options):
    """The options of a run: a base class, whose subclasses have `method`.

    Attributes:
        marker: an option that only the runs of this command have.
    """

    marker: ClassVar[str]
    method: str = BASELINE

    def check(self) -> None:
        """Refuse options of a discriminator where there is none."""
        for name in self.not_default(Role.VARIANT) if self.method == BASELINE else ():
            raise ValueError(f"argument {flag(name)}: --method {BASELINE} has no discriminator")

    def settings(self) -> dict[str, Any]:
        """The options that all runs of a comparison share, sorted by name."""
        rare = self.not_default(Role.RARE_SETTING, Role.CONTENT)
        return dict(sorted((self.of_role(Role.SETTING) | rare).items()))

    def variant(self) -> str:
        """The method and its options that are not the default: `memory_forcing --no-gate`."""
        return " ".join([self.method, *words(dict(sorted(self.not_default(Role.VARIANT).items())))])


def positive_int(text: str) -> int:
    """An argparse type: an integer >= 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return value


def positive_float(text: str) -> float:
    """An argparse type: a finite number > 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number > 0, got {text!r}")
    return value


def fraction(text: str) -> float:
    """An argparse type: a number in [0, 1)."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"must be a number in [0, 1), got {text!r}")
    return value


def random_seed(text: str) -> int:
    """An argparse type: an integer in [0, 2^32)."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be an integer in [0, 2^32), got {text!r}")
    return int(text)


@dataclasses.dataclass(kw_only=True)
class SeedsOptions(ExperimentOptions):
    """The options of a run that has a training for each of several seeds.

    Attributes:
        end: of the seeds.
    """

    end: ClassVar[int] = 2**32
    seeds: int = option(1, "how many trainings, one a seed", positive_int, role=Role.RUN)
    first_seed: int = option(0, "of the trainings", random_seed, role=Role.RUN)
    resume: str | None = option(
        None, "resume the run in this folder with its own options", role=Role.FILES, metavar="RUN"
    )

    def check(self) -> None:
        """Refuse seeds out of range."""
        super().check()
        if self.first_seed + self.seeds > self.end:
            end = "2^32" if self.end == 2**32 else self.end
            raise ValueError(f"argument --seeds: the last seed must be below {end}")

    def all_seeds(self) -> range:
        """The seeds, one a training."""
        return range(self.first_seed, self.first_seed + self.seeds)


INTERVAL = 200  # batches of a row of a history, an epoch of Keras


@dataclasses.dataclass(kw_only=True)
class ImageOptions(SeedsOptions):
    """The options of a run on a stream of images, whose history has a row an interval."""

    steps: int = option(
        10_000, f"training batches, a multiple of {INTERVAL}", positive_int, role=Role.RUN
    )
    data_dir: str | None = option(
        None,
        "folder with the images as TensorFlow Datasets prepares them; default: its own",
        role=Role.FILES,
        resumable=True,
        metavar="FOLDER",
    )
    checkpoint_intervals: int = option(
        5, f"intervals of {INTERVAL} batches between two checkpoints", positive_int, role=Role.FILES
    )
    beside: tuple[str, ...] = option(
        (),
        "finished runs for the tables and the pictures",
        role=Role.FILES,
        nargs="+",
        metavar="RUN",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.beside = tuple(self.beside)

    def check(self) -> None:
        """Refuse a number of batches that is no multiple of an interval."""
        super().check()
        if self.steps % INTERVAL:
            raise ValueError(
                f"argument --steps: must be a multiple of {INTERVAL}, got {self.steps}"
            )
