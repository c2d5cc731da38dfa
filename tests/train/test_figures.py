import json
import shutil

import pytest

from tests.train.small import copied
from train import figures, sequence_generation


def test_figures_4_and_5_are_drawn_from_runs(small, generation_run, tmp_path):
    figures.main([str(generation_run), "--out", str(tmp_path)])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"figure_{n}_digits-teacher_forcing-0.png" for n in (4, 5)}
    with pytest.raises(SystemExit, match="is no run folder"):
        figures.main([str(tmp_path), "--out", str(tmp_path / "other")])


def test_figures_1_and_2_are_drawn_from_runs(small, copy_run, tmp_path):
    variant = "positive_negative-capacity-20-discriminator-batch-2-weight-0.5"
    mine = tmp_path / f"figure_2_{variant}-0.png"
    mine.write_text("mine")
    with pytest.raises(SystemExit, match=r"figure_2_.* was not written by this program"):
        figures.main([str(copy_run), "--out", str(tmp_path)])
    assert mine.read_text() == "mine"
    mine.unlink()
    figures.main([str(copy_run), "--out", str(tmp_path)])
    for number in (1, 2):
        assert (tmp_path / f"figure_{number}_{variant}-0.png").stat().st_size > 1000


def test_nothing_is_drawn_where_a_file_of_one_run_is_missing(small, generation_run, tmp_path):
    broken = shutil.copytree(generation_run, tmp_path / "broken")
    (broken / "best.keras").unlink()
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "seed": 1}))
    with pytest.raises(SystemExit, match=r"best.keras"):
        figures.main([str(generation_run), str(broken), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_runs_that_differ_in_options_have_other_figures(generation_run, tmp_path):
    def names(**options):
        options = sequence_generation.Options(method="memory_forcing", **options)
        return figures.names(options)

    assert names()[4] == "figure_4_digits-memory_forcing-0.png"
    assert names(no_gate=True)[4] == "figure_4_digits-memory_forcing-no-gate-0.png"
    copy = shutil.copytree(generation_run, tmp_path / "b")
    with pytest.raises(SystemExit, match=r"would both be drawn as figure_4_digits-teacher_forcing"):
        figures.main([str(generation_run), str(copy), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


@pytest.fixture
def no_drawings(monkeypatch):
    """Runs without the half-trained transducer of figures 1 and 2."""
    monkeypatch.setattr(figures, "copying_figures", lambda folder, options: dict)


def test_several_runs_of_the_copy_task_are_compared(no_drawings, tmp_path):
    runs = [
        copied(tmp_path / "a", "teacher_forcing", [750, 850]),
        copied(tmp_path / "b", "positive_negative", [790, 860]),
    ]
    figures.main([*runs, "--out", str(tmp_path / "out")])
    assert "| teacher forcing | 800 |" in (tmp_path / "out" / "table_2.md").read_text()
    other = copied(tmp_path / "c", "positive_negative", [1], first_seed=9)
    with pytest.raises(SystemExit, match="no finished seed in common"):
        figures.main([runs[0], other, "--out", str(tmp_path / "none")])
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "seeds.csv").write_text("mine")
    with pytest.raises(SystemExit, match=r"seeds\.csv already exists and was not written by this"):
        figures.main([*runs, "--out", str(tmp_path / "none")])
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["seeds.csv"]
