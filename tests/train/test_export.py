import dataclasses
import shlex
import shutil

import keras
import pytest
import tensorflow as tf

from tests.small import small_generator
from train import export, figures
from train.runs.folder import RunFolder
from train.sequence_generation import Options


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder, as a finished run leaves it."""
    options = Options(method="memory_forcing", seed=3, epochs=2)
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "small", options)
    keras.utils.set_random_seed(0)
    small_generator().save(folder / "best.keras")
    results = {
        "test": {"nll": 20.5, "bits_per_step": 0.46},
        "epochs": 2,
        "best_epoch": 1,
        "tensorflow": "2.21.0",
        "keras": "3.15.1",
    }
    folder.write_json("results.json", results)
    return folder.path


def test_a_run_is_exported_with_its_card(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    export.main([str(run)])
    assert "SavedModel: saved_models/small/1" in capsys.readouterr().out
    folder = tmp_path / "saved_models" / "small" / "1"
    assert tf.saved_model.contains_saved_model(str(folder))
    card = (folder / "model_card.md").read_text()
    assert "| data | digits, images of 8x8 bits |" in card
    assert "| method | memory forcing, 2 epochs, the best by validation: 1 |" in card
    assert "| NLL | 20.50 nats per image" in card
    command = "python -m train.sequence_generation --dataset digits --method memory_forcing"
    assert f"`{command} --epochs 2 --seed 3`" in card
    assert "float32 (B, 64, 1)" in card
    with pytest.raises(SystemExit, match="overwrite=True"):
        export.main([str(run)])


def test_what_is_no_finished_run_is_refused(run, tmp_path):
    out = tmp_path / "saved_models" / "small" / "1"
    with pytest.raises(SystemExit, match="is no run folder"):
        export.main([str(tmp_path), "--out", str(out)])
    unfinished = tmp_path / "run"
    unfinished.mkdir()
    (unfinished / "config.json").write_text((run / "config.json").read_text())
    with pytest.raises(SystemExit, match=r"no best\.keras: the run has not been finished"):
        export.main([str(unfinished), "--out", str(out)])
    with pytest.raises(SystemExit, match="filepath must end in a version number"):
        export.main([str(run), "--out", str(tmp_path / "saved_models" / "small")])
    assert not out.exists()


def test_code_in_a_run_of_somebody_else_is_refused(run, tmp_path):
    """Its best.keras holds a Lambda layer; neither exporting nor drawing runs it."""
    foreign = tmp_path / "run"
    shutil.copytree(run, foreign)
    layer = keras.layers.Lambda(lambda x: x + 1.0)
    keras.Sequential([keras.Input((2,)), layer]).save(foreign / "best.keras")
    out = tmp_path / "saved_models" / "small" / "1"
    for command, arguments in ((export, ["--out", str(out)]), (figures, ["--out", str(tmp_path)])):
        with pytest.raises(SystemExit, match=r"best\.keras cannot be loaded: .*Lambda.*unsafe"):
            command.main([str(foreign), *arguments])
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_the_command_makes_such_a_run():
    words = "--method memory_forcing --epochs 6 --cosine --no-gate --learning-rate 0.00212345678"
    words += " --seed 3 --discriminator-learning-rate 0.25"
    options = Options.parse(words.split())
    assert Options.parse(shlex.split(export.command_of(options))[3:]) == options


def test_the_command_names_files_without_their_folders(tmp_path):
    paths = [tmp_path / f"{name}.txt" for name in "abc"]
    for path in paths:
        path.write_text("ab")
    options = Options(dataset="lines", method="sequence_gan", files=[*map(str, paths)])
    words = shlex.split(export.command_of(options))[3:]
    assert Options.parse(words).files == ["a.txt", "b.txt", "c.txt"]
    results = {"test": {"nll": 1.0, "nll_per_step": 1.0, "bits_per_step": 1.0}}
    results |= {"epochs": 5, "best_epoch": 5, "tensorflow": "2", "keras": "3"}
    assert export.card(options, results)["method"] == "sequence gan, 5 epochs, the last: 5"


def test_where_files_are_does_not_show_in_the_command():
    where = {"checkpoint_steps": 7, "pictures_every": 2, "data_dir": "x", "out": "y"}
    options = Options(dataset="binarized_mnist")
    assert export.command_of(dataclasses.replace(options, **where)) == export.command_of(options)
