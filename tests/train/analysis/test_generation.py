import json

import pytest

from tests.train.small import generated
from train import compare

TEACHER, PROFESSOR = "teacher_forcing", "professor_forcing"
FILES = {"table_1.md", "nll.png", "seeds.csv", "epochs.csv", "settings.json"}


def test_table_1_and_what_it_is_made_of(table_1_runs, tmp_path, capsys):
    compare.main([*table_1_runs, "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "table_1.md").read_text()
    assert "| teacher forcing | 20.00 | 1.00 | 21.00 | - | 2 | 10 |" in text
    # Differences 0.4, 0.1, 0.1: mean 0.2, sd 0.173, t(0.975, 2) = 4.303.
    assert "| Professor Forcing | 20.20 | 1.01 | 21.20 | +0.20 (-0.23 to +0.63) | 2 | 10 |" in text
    assert text in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    rows = (tmp_path / "out" / "seeds.csv").read_text().splitlines()
    assert rows[1] == "teacher_forcing,0,2,2,21,20,0.3125,10.5,one,,"
    assert len(rows) == 7
    settings = json.loads((tmp_path / "out" / "settings.json").read_text())
    assert settings["learning_rate"] == 1e-4
    assert not {"seed", "method", "out", "data_dir"} & set(settings)


def test_unfinished_runs_are_compared_by_their_first_epochs(tmp_path, capsys):
    runs = [
        generated(tmp_path / "a", TEACHER, 0, [23.0, 22.0, 21.0, 21.5], test_nll=20.5),
        generated(tmp_path / "b", PROFESSOR, 0, [24.0, 22.5, 22.0], epochs=10),
    ]
    with pytest.raises(SystemExit, match="professor_forcing with seed 0 has 3 epochs of 10"):
        compare.main(runs)
    compare.main([*runs, "--epochs", "3", "--out", str(tmp_path / "out")])
    text = capsys.readouterr().out
    # The generator of epoch 3 is the one that was tested.
    assert "| teacher forcing | 20.50 | - | 21.00 | - | 3 | 11 |" in text
    assert "| Professor Forcing | - | - | 22.00 | - | 3 | 11 |" in text
    compare.main([*runs, "--epochs", "2", "--out", str(tmp_path / "out")])
    assert "| teacher forcing | - | - | 22.00 | - | 2 | 10 |" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="has 3 epochs"):
        compare.main([*runs, "--epochs", "4"])


def test_shows_published_numbers_of_mnist_and_raises_the_alarm(tmp_path, capsys):
    mnist = ["--dataset", "binarized_mnist"]
    run = generated(tmp_path / "a", TEACHER, 0, [99.0], *mnist, test_nll=98.0)
    compare.main([run, "--out", str(tmp_path / "out")])
    text = capsys.readouterr().out
    assert "(1 seed)" in text
    assert "| NADE (Larochelle and Murray 2011) | 88.33 |" in text
    below = generated(tmp_path / "b", TEACHER, 1, [46.5], *mnist, test_nll=46.3)
    with pytest.raises(SystemExit, match=r"ALARM: 46\.30 nats is below 47\.0"):
        compare.main([run, below, "--out", str(tmp_path / "other")])
    assert not (tmp_path / "other").exists()
