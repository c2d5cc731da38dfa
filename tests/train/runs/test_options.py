import dataclasses
from collections.abc import Sequence

import pytest

from train import copy_task, sequence_generation
from train.runs.options import Options, Role, option, positional, positive_int


@dataclasses.dataclass(kw_only=True)
class Shared(Options):
    title = "shared by commands"
    size: int = option(3, "of it", positive_int, role=Role.VARIANT)


@dataclasses.dataclass(kw_only=True)
class Command(Shared):
    command = "train.none"

    files: Sequence[str] = positional("to read", nargs="+")
    fast: bool = option(False, "or not", role=Role.VARIANT)
    rate: float = option(0.5, "of it", float)
    place: str | None = option(None, "where", alias="--folder", role=Role.FILES)

    def check(self):
        if self.size > 9:
            raise ValueError("argument --size: must be at most 9")


def test_a_command_line_sets_the_fields():
    options = Command.parse(["a", "b", "--fast", "--size", "4", "--folder", "x"])
    assert (options.files, options.fast, options.size) == (["a", "b"], True, 4)
    assert (options.rate, options.place) == (0.5, "x")
    assert options.given == {"files", "fast", "size", "place"}


def test_the_help_has_groups_and_defaults(capsys):
    with pytest.raises(SystemExit, match="0"):
        Command.parse(["--help"])
    text = capsys.readouterr().out
    assert "usage: python -m train.none" in text
    assert "shared by commands:\n  --size SIZE" in text
    assert "of it; default: 0.5" in text
    assert "or not\n" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: files"),
        (["a", "--size", "0"], "argument --size: must be an integer >= 1, got '0'"),
        (["a", "--size", "10"], "argument --size: must be at most 9"),
        (["a", "--other"], "unrecognized arguments: --other"),
    ],
)
def test_a_wrong_command_line_ends_the_program(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        Command.parse(arguments)
    assert message in capsys.readouterr().err


def test_options_go_to_json_and_back():
    options = Command(files=["a"], fast=True)
    config = options.config()
    assert list(config) == ["files", "fast", "rate", "place", "size"]  # its own first
    assert Command.from_config(config) == options
    # Options that the file lacks have their defaults, and those that no longer exist are ignored.
    assert Command.from_config({"files": ["a"], "gone": 1}) == Command(files=["a"])
    with pytest.raises(ValueError, match="--size: must be at most 9"):
        Command.from_config({"files": ["a"], "size": 10})


def test_roles_select_options():
    options = Command(files=["a"], fast=True, rate=0.25, size=3)
    assert options.not_default(Role.VARIANT, Role.SETTING) == {"fast": True, "rate": 0.25}
    assert options.of_role(Role.VARIANT) == {"fast": True, "size": 3}


def test_a_variant_is_named_by_the_options_of_forcing():
    options = copy_task.Options.parse(
        [
            "--method",
            "positive_negative",
            "--weight",
            "10",
            "--no-gate",
            "--steps",
            "2000",
            "--batch-size",
            "3",
        ]
    )
    assert options.variant() == "positive_negative --no-gate --weight 10"
    assert options.settings()["batch_size"] == 3
    assert not {"weight", "steps", "method", "out", "resume"} & set(options.settings())


def test_the_epochs_of_a_cosine_are_a_setting():
    options = sequence_generation.Options(cosine=True, epochs=6)
    assert options.settings()["epochs"] == 6
    assert "epochs" not in sequence_generation.Options(epochs=6).settings()


@pytest.mark.parametrize("words", [["--weight", "10"], ["--no-gate"], ["--final-memory"]])
def test_teacher_forcing_takes_no_options_of_forcing(words, capsys):
    with pytest.raises(SystemExit, match="2"):
        copy_task.Options.parse(words)
    assert f"argument {words[0]}: --method teacher_forcing" in capsys.readouterr().err
    copy_task.Options.parse(["--method", "positive_negative", *words])


@pytest.mark.parametrize(
    ("options", "others"),
    [
        (sequence_generation.Options, [["--seed", "3"], ["--batch-size", "2"]]),
        (copy_task.Options, [["--first-seed", "3"], ["--steps", "2000"]]),
    ],
)
def test_refuses_options_that_a_resumed_run_would_not_use(options, others, capsys):
    same = ["--method", "teacher_forcing"]  # as by default
    for words in (*others, ["--no-gate"], ["--out", "y"], same):
        with pytest.raises(SystemExit):
            options.parse(["--resume", "x", *words])
        assert f"argument {words[0]}: --resume uses the run's own" in capsys.readouterr().err
    assert options.parse(["--resume", "x"]).resume == "x"
