import pytest

from tests.train.small import copied
from train import compare


def test_table_2_and_figure_7_from_several_folders(tmp_path, capsys):
    runs = [
        copied(tmp_path / "a", "teacher_forcing", [750, 850, 950, 999]),
        copied(tmp_path / "b", "positive_negative", [790, 860]),
        copied(tmp_path / "c", "positive_negative", [960], first_seed=2),
    ]
    compare.main([*runs, "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "table_2.md").read_text()
    assert "3 seeds" in text  # those that both methods have
    assert "| teacher forcing | 850 | 100 | - | inf | 60 |" in text
    # Differences 40, 10, 10: mean 20, sd 17.3, t(0.975, 2) = 4.303.
    assert "| positive/negative | 870 | 85 | +20 (-23 to +63) | inf | 60 |" in text
    assert text in capsys.readouterr().out
    rows = (tmp_path / "out" / "seeds.csv").read_text().splitlines()
    assert rows[1] == "teacher_forcing,0,750,,2.5,60.0,0.75,70,140"
    assert rows[3] == "teacher_forcing,2,950,2000,2.5,60.0,0.75,70,140"
    assert len(rows) == 8
    assert (tmp_path / "out" / "figure_7.png").stat().st_size > 1000
    again = copied(tmp_path / "d", "positive_negative", [1])
    with pytest.raises(SystemExit, match="occurs twice"):
        compare.main([*runs, again, "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_other_options_are_variants_and_runs_may_be_cut_short(tmp_path, capsys):
    runs = [
        copied(tmp_path / "a", "teacher_forcing", [750, 850]),
        copied(tmp_path / "b", "positive_negative", [790, 860]),
        copied(tmp_path / "c", "positive_negative", [700, 800], "--no-gate", "--weight", "10"),
    ]
    compare.main([*runs, "--out", str(tmp_path / "out")])
    table = capsys.readouterr().out
    assert "| positive/negative, --no-gate --weight 10 | 750 |" in table
    compare.main([*runs, "--out", str(tmp_path / "first"), "--steps", "1000"])
    assert "| teacher forcing | 0 | 0 | - | inf | 25 |" in capsys.readouterr().out
    compare.main([*runs, "--out", str(tmp_path / "all"), "--steps", "2000"])
    whole, cut = ((tmp_path / name / "seeds.csv").read_text() for name in ("out", "all"))
    assert whole == cut  # with the tests after the training
    short = tmp_path / "c" / "seed_1.csv"
    short.write_text("\n".join(short.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(SystemExit, match="same number of steps"):
        compare.main([*runs, "--out", str(tmp_path / "out")])
    with pytest.raises(
        SystemExit,
        match="--weight 10 with seed 1 has 1000 steps of 2000",
    ):
        compare.main([*runs, "--out", str(tmp_path / "out"), "--steps", "2000"])
    with pytest.raises(SystemExit, match="2"):
        compare.main([*runs, "--steps", "1500"])
    assert "multiple of 1000" in capsys.readouterr().err
