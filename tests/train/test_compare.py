import pathlib

import pytest

from tests.train.small import copied, generated
from train import compare, copy_task
from train.runs.folder import RunFolder

TEACHER, PROFESSOR = "teacher_forcing", "professor_forcing"
RESULTS = pathlib.Path(compare.__file__).parent / "results"
PUBLISHED = sorted(path.parent for path in RESULTS.glob("*/table_*.md"))


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_published_folders_are_reproduced(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(compare.plots, "save", lambda *arguments: None)
    for kind in (compare.Generation, compare.Copying):
        monkeypatch.setattr(kind, "figure", lambda *arguments: None)
    compare.main([str(folder), "--out", str(tmp_path)])
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert len(written) == 4
    assert written == {name: (folder / name).read_text() for name in written}


def test_run_folders_give_what_was_published_of_them(tmp_path):
    folder = RESULTS / "binarized_mnist"
    compare.main([*map(str, folder.glob("*-0")), "--out", str(tmp_path)])
    for name in ("table_1.md", "seeds.csv", "epochs.csv", "settings.json"):
        assert (tmp_path / name).read_text() == (folder / name).read_text()


TABLE_1 = [
    (generated, ("a", TEACHER, 0, [22.0, 21.0]), {"test_nll": 20.0}),
    (generated, ("b", PROFESSOR, 0, [22.4, 21.4]), {"test_nll": 20.4}),
    (generated, ("c", TEACHER, 1, [23.0, 22.0]), {"test_nll": 21.0}),
]
TABLE_2 = [
    (copied, ("a", "teacher_forcing", [750, 960]), {}),
    (copied, ("b", "positive_negative", [790]), {}),
    (copied, ("c", "positive_negative", [970]), {"first_seed": 1}),
]


def made(table, folder):
    return [make(folder / name, *rest, **more) for make, (name, *rest), more in table]


@pytest.mark.parametrize("table", [TABLE_1, TABLE_2])
def test_a_comparison_can_be_compared_again_with_more_runs(table, tmp_path):
    found = made(table, tmp_path)
    outs = [tmp_path / name for name in ("part", "merged", "at_once")]
    compare.main([*found[:2], "--out", str(outs[0])])
    compare.main([str(outs[0]), found[2], "--out", str(outs[1])])
    compare.main([*found, "--out", str(outs[2])])
    for name in compare.marks(compare.experiment_of(found)):
        assert (outs[1] / name).read_bytes() == (outs[2] / name).read_bytes()


@pytest.mark.parametrize("table", [TABLE_1, TABLE_2])
def test_refuses_to_replace_files_of_other_programs(table, tmp_path):
    found, out = made(table, tmp_path), tmp_path / "out"
    for _ in range(2):  # its own may be written anew
        compare.main([*found, "--out", str(out)])
    names = {path.name for path in out.iterdir()}
    assert names == set(compare.marks(compare.experiment_of(found)))
    for path in out.iterdir():
        path.unlink()
    for name in names:
        (out / name).write_text("mine")
        match = f"{name} already exists and was not written by this program"
        with pytest.raises(SystemExit, match=match):
            compare.main([*found, "--out", str(out)])
        assert [path.name for path in out.iterdir()] == [name]
        (out / name).unlink()


def test_cuts_nothing_off_from_what_it_reads(table_1_runs, tmp_path):
    out = str(tmp_path / "out")
    compare.main([*table_1_runs, "--out", out])
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(SystemExit, match="would lose the rows that are left out"):
        compare.main([f"{out}/../out", "--epochs", "1", "--out", out])
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    compare.main([out, "--out", out])
    assert before["seeds.csv"] == (tmp_path / "out" / "seeds.csv").read_bytes()


def test_refuses_what_cannot_be_compared(table_1_runs, tmp_path, capsys):
    other = generated(tmp_path / "c", TEACHER, 7, [20.0], "--learning-rate", "1e-3", test_nll=20)
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([*table_1_runs, other])
    longer = generated(tmp_path / "d", TEACHER, 7, [22.0, 21.0, 20.0], test_nll=20)
    with pytest.raises(SystemExit, match=r"same number of epochs.* got \[2, 3\]"):
        compare.main([*table_1_runs, longer])
    falling = generated(tmp_path / "e", TEACHER, 7, [22.0, 21.0], "--cosine")
    later = generated(tmp_path / "f", PROFESSOR, 7, [22.0, 21.0], "--cosine", epochs=80)
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([falling, later, "--epochs", "2"])
    with pytest.raises(SystemExit, match="--steps goes with runs of the copy task"):
        compare.main([*table_1_runs, "--steps", "1000"])
    copying = RunFolder(tmp_path / "copying", copy_task.Options())
    with pytest.raises(SystemExit, match="of two tables"):
        compare.main([*table_1_runs, str(copying.path)])
    with pytest.raises(SystemExit, match="occurs twice"):
        compare.main([*table_1_runs, table_1_runs[0]])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SystemExit, match="is no run of"):
        compare.main([str(tmp_path / "run")])
