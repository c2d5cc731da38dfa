import json

import pytest

from train import compare, copy_task, sequence_generation
from train.arms import words
from train.run_folder import RunFolder

TEACHER, PROFESSOR = "teacher_forcing", "professor_forcing"
FILES = {"table_1.md", "nll.png", "seeds.csv", "epochs.csv", "settings.json"}


def generated(path, method, seed, val_nll, *options, test_nll=None, epochs=None):
    """A folder as a run leaves it that had these validation NLLs; finished if it has a test NLL."""
    epochs = str(epochs or len(val_nll))
    more = ["--method", method, "--seed", str(seed), "--epochs", epochs, *options]
    folder = RunFolder(path, vars(sequence_generation.parse_arguments(more)))
    rows = ["epoch,nll,seconds,val_nll"]
    rows += [f"{i},{nll + 1},{10 + i},{nll}" for i, nll in enumerate(val_nll)]
    (path / "history.csv").write_text("\n".join(rows) + "\n")
    if test_nll is not None:
        best = val_nll.index(min(val_nll)) + 1
        test = {"nll": test_nll, "bits_per_step": test_nll / 64}
        folder.write_json("results.json", {"test": test, "best_epoch": best, "processor": "one"})
    return str(path)


@pytest.fixture
def runs(tmp_path):
    found = []
    for seed, (teacher, professor) in enumerate([(20.0, 20.4), (21.0, 21.1), (19.0, 19.1)]):
        for method, nll in ((TEACHER, teacher), (PROFESSOR, professor)):
            path = tmp_path / f"{method}-{seed}"
            found.append(generated(path, method, seed, [nll + 2, nll + 1], test_nll=nll))
    return found


def test_table_1_and_what_it_is_made_of(runs, tmp_path, capsys):
    compare.main([*runs, "--out", str(tmp_path / "out")])
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


def test_what_was_published_before_an_option_was_there_had_its_default(runs, tmp_path):
    old = tmp_path / "old"
    compare.main([*runs[:4], "--out", str(old)])
    settings = json.loads((old / "settings.json").read_text())
    del settings["cosine"]
    (old / "settings.json").write_text(json.dumps(settings))
    compare.main([str(old), *runs[4:], "--out", str(tmp_path / "both")])
    fallen = generated(tmp_path / "fallen", TEACHER, 9, [20.0, 19.0], "--cosine", test_nll=19.0)
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([str(old), fallen, "--out", str(tmp_path / "both")])


def test_what_was_compared_can_be_compared_again_with_more_runs(runs, tmp_path):
    outs = [tmp_path / name for name in ("part", "merged", "at_once")]
    compare.main([*runs[:4], "--out", str(outs[0])])
    compare.main([str(outs[0]), *runs[4:], "--out", str(outs[1])])
    compare.main([*runs, "--out", str(outs[2])])
    for name in FILES - {"nll.png"}:
        assert (outs[1] / name).read_text() == (outs[2] / name).read_text()


def test_unfinished_runs_are_compared_by_their_first_epochs(tmp_path, capsys):
    runs = [
        generated(tmp_path / "a", TEACHER, 0, [23.0, 22.0, 21.0, 21.5], test_nll=20.5),
        generated(tmp_path / "b", PROFESSOR, 0, [24.0, 22.5, 22.0], epochs=10),
    ]
    with pytest.raises(SystemExit, match="professor_forcing with seed 0 has 3 epochs"):
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


def test_forcing_without_gates_is_an_arm_of_its_own(runs, tmp_path, capsys):
    more = [
        generated(tmp_path / f"no_gate-{seed}", PROFESSOR, seed, [22, 21], "--no-gate", test_nll=20)
        for seed in range(3)
    ]
    orders = [[*runs, *more], [*more, *reversed(runs)]]
    written = []
    for order in orders:  # the rows stand as they should, whatever the order of the folders
        compare.main([*order, "--out", str(tmp_path / "out")])
        files = "seeds.csv", "epochs.csv"
        written.append([(tmp_path / "out" / file).read_text() for file in files])
        table = capsys.readouterr().out
        assert "| Professor Forcing, --no-gate | 20.00 |" in table
        places = [table.index(f"\n| {words(arm)} |") for arm in (TEACHER, PROFESSOR)]
        assert places == sorted(places)
        assert table.index("\n| Professor Forcing, --no-gate |") > places[-1]
    assert written[0] == written[1]


def test_sets_the_published_numbers_beside_those_of_mnist_and_raises_the_alarm(tmp_path, capsys):
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


def test_cuts_nothing_off_from_what_it_reads(runs, tmp_path):
    out = str(tmp_path / "out")
    compare.main([*runs, "--out", out])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(SystemExit, match="would lose what is cut off"):
        compare.main([f"{out}/../out", "--epochs", "1", "--out", out])
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    compare.main([out, "--out", out])
    assert before["seeds.csv"] == (tmp_path / "out" / "seeds.csv").read_bytes()


def test_refuses_what_cannot_be_compared(runs, tmp_path, capsys):
    other = generated(tmp_path / "c", TEACHER, 7, [20.0], "--learning-rate", "1e-3", test_nll=20)
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([*runs, other])
    longer = generated(tmp_path / "d", TEACHER, 7, [22.0, 21.0, 20.0], test_nll=20)
    with pytest.raises(SystemExit, match=r"same number of epochs.* got \[2, 3\]"):
        compare.main([*runs, longer])
    falling = generated(tmp_path / "e", TEACHER, 7, [22.0, 21.0], "--cosine")
    later = generated(tmp_path / "f", PROFESSOR, 7, [22.0, 21.0], "--cosine", epochs=80)
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([falling, later, "--epochs", "2"])
    with pytest.raises(SystemExit, match="--steps goes with runs of the copy task"):
        compare.main([*runs, "--steps", "1000"])
    copying = RunFolder(tmp_path / "copying", vars(copy_task.parse_arguments([])))
    with pytest.raises(SystemExit, match="of two tables"):
        compare.main([*runs, str(copying.path)])
    with pytest.raises(SystemExit, match="comes twice"):
        compare.main([*runs, runs[0]])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SystemExit, match="is no run of"):
        compare.main([str(tmp_path / "run")])


@pytest.mark.parametrize("name", sorted(FILES))
def test_refuses_to_replace_what_it_did_not_write(runs, tmp_path, name):
    out = tmp_path / "out"
    compare.main([*runs, "--out", str(out)])
    compare.main([*runs, "--out", str(out)])  # its own may be written anew
    for path in out.iterdir():
        path.unlink()
    (out / name).write_text("mine")
    with pytest.raises(SystemExit, match=f"{name} is there already and is not of this program's"):
        compare.main([*runs, "--out", str(out)])
    assert [path.name for path in out.iterdir()] == [name]
