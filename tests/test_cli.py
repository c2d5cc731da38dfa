import pathlib
import resource
import subprocess
import sys

import click
from click.testing import CliRunner

from mf_keras import SequenceGenerator, checkpoints, export
from mf_keras import cli as commands
from mf_keras.cli import cli
from mf_keras.page import __main__ as page_command
from mf_keras.page import server
from mf_keras.serving.__main__ import cli as client
from tests.page.stub import StubModel
from tests.small import small_generator, small_transducer

ROOT = pathlib.Path(__file__).parent.parent


def run(*arguments):
    """(exit status, output with errors) of `mf-keras ARGUMENTS`."""
    result = CliRunner().invoke(cli, arguments)
    return result.exit_code, result.output


def test_commands():
    status, text = run("--help")
    assert status == 0
    names = {"complete", "export", "page", "sample", "score", "status"}
    passed_on = {"train", "compare", "figures"}  # to the experiments, with all options
    assert names | passed_on == set(cli.commands)
    assert all(f"\n  {name}" in text for name in names | passed_on)
    assert cli.commands["sample"] is client.commands["sample"]
    for name in names:
        status, text = run(name, "--help")
        assert (status, text[:6]) == (0, "Usage:")
    assert "Examples:" in run("page", "--help")[1]
    assert run("--version")[1].startswith("mf-keras, version 0.")
    assert run("nothing")[0] == 2


def test_train_lists_the_experiments_of_the_repository():
    for arguments in ((), ("--help",)):
        status, text = run("train", *arguments)
        assert status == 0
        assert "Usage: cli train" in text
        assert "  copy_task " in text
        assert "  sequence_generation " in text
        assert "drawings" not in text  # no experiment
    status, text = run("train", "nothing")
    assert status == 2
    assert "NAME must be one of babi, behaviour," in text


def test_an_experiment_gets_its_options(tmp_path, monkeypatch):
    """From any folder."""
    (tmp_path / "train" / "runs").mkdir(parents=True)
    (tmp_path / "train" / "__init__.py").touch()
    (tmp_path / "train" / "compare.py").write_text(
        '"""A line.\n\nMore."""\nimport sys\nif __name__ == "__main__":\n    print(sys.argv)\n'
    )
    monkeypatch.setattr(commands, "EXPERIMENTS", tmp_path / "train")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    for name in [name for name in sys.modules if name.split(".")[0] == "train"]:
        monkeypatch.delitem(sys.modules, name)
    for arguments in (("train", "compare"), ("compare",)):
        status, text = run(*arguments, "--out", "there", "-x")
        assert (status, text) == (0, "['python -m train.compare', '--out', 'there', '-x']\n")
    assert "['python -m train.compare', '--help']" in run("compare")[1]
    assert run("train")[1].endswith("Experiments:\n  compare  A line.\n")
    for name in [name for name in sys.modules if name.split(".")[0] == "train"]:
        monkeypatch.delitem(sys.modules, name)


def test_an_installation_without_experiments_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(commands, "EXPERIMENTS", tmp_path)
    status, text = run("train", "copy_task")
    assert status == 1
    assert "the experiments are in the repository only" in text


def test_every_option_has_a_help():
    for command in cli.commands.values():
        options = [each for each in command.params if isinstance(each, click.Option)]
        assert all(option.help for option in options)


def test_help_takes_half_a_second_of_cpu_and_imports_no_keras():
    code = "import sys\ntry:\n    from mf_keras.cli import main; main(['--help'])\nfinally:\n    "
    code += "print({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"

    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        text = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
        assert text.endswith("set()\n")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_completion_in_a_shell(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "mf-keras pa")
    monkeypatch.setenv("COMP_CWORD", "1")
    found = CliRunner().invoke(
        cli, prog_name="mf-keras", env={"_MF_KERAS_COMPLETE": "bash_complete"}
    )
    assert found.output == "plain,page\n"


def test_export(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(export, "save", lambda *arguments: asked.append(arguments))
    checkpoints.save_model(small_generator(), tmp_path / "best.keras")
    file, out = str(tmp_path / "best.keras"), "saved_models/mine/1"
    status, text = run("export", file, "--out", out, "--length", "6", "--overwrite")
    assert (status, text) == (0, f"SavedModel: {out}\n")
    generator, *rest = asked[0]
    assert isinstance(generator, SequenceGenerator)
    assert rest == [out, 6, None, True, False, 256, False]


def test_export_says_what_is_wrong(tmp_path):
    checkpoints.save_model(small_transducer(), tmp_path / "other.keras")
    (tmp_path / "text.keras").write_text("text")
    more = ["--out", f"{tmp_path}/mine/1", "--length", "6"]
    status, text = run("export", f"{tmp_path}/other.keras", *more)
    assert (status, "holds a SequenceTransducer" in text) == (1, True)
    status, text = run("export", f"{tmp_path}/text.keras", *more)
    assert (status, "cannot be loaded" in text) == (1, True)
    assert run("export", f"{tmp_path}/none.keras", *more)[0] == 2
    assert not (tmp_path / "mine").exists()


def test_page(monkeypatch):
    """Of the exported digits: the length is that of the SavedModel."""
    made = []
    monkeypatch.setattr(server.PageServer, "serve_forever", lambda self: made.append(self))
    status, text = run("page", "digits", "--port", "0")
    assert status == 0, text
    assert "DNCCell, memory 20 \u00d7 16, 64 steps\nOpen http://127.0.0.1:" in text
    assert made[0]._shape == (8, 8)
    status, text = run("page", "digits", "--shape", "3", "5", "--port", "0", "--host", "0.0.0.0")
    assert "warning: --host 0.0.0.0 lets other machines use the page" in text
    assert (made[1]._shape, made[1]._model.length) == ((3, 5), 15)


def test_page_says_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(page_command, "_local", lambda preset, length: StubModel(5, classes=2))
    (tmp_path / "alphabet.txt").write_text("ab\n")
    (tmp_path / "twice.txt").write_text("aab")
    for arguments, words in [
        ([], "give either a PRESET or --url"),
        (["digits", "--url", "http://localhost:1"], "give either a PRESET or --url"),
        (["x", "--alphabet", f"{tmp_path}/twice.txt"], "every character once"),
        (["digits", "--timeout", "3"], "--timeout goes with --url"),
        (["x"], "tokens must be the 2 tokens of the model, e.g. by --alphabet"),
        (["--url", "ftp://localhost"], "url must be"),
        (["--url", "http://localhost:1", "--timeout", "0.1"], "UNAVAILABLE"),
    ]:
        status, text = run("page", *arguments)
        assert (status, words in text) == (1, True), text
    monkeypatch.setattr(server.PageServer, "serve_forever", lambda self: None)
    assert run("page", "x", "--alphabet", f"{tmp_path}/alphabet.txt", "--port", "0")[0] == 0
