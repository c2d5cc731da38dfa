import json

import numpy as np
import pandas as pd
import pytest

from tests.train.small import copied, generated
from train import compare, copy_task
from train.analysis import run_table
from train.analysis.run_table import title
from train.runs.folder import RunFolder

TEACHER, PROFESSOR = "teacher_forcing", "professor_forcing"


def test_forcing_without_gates_is_a_variant(table_1_runs, tmp_path, capsys):
    more = [
        generated(tmp_path / f"no_gate-{seed}", PROFESSOR, seed, [22, 21], "--no-gate", test_nll=20)
        for seed in range(3)
    ]
    orders = [[*table_1_runs, *more], [*more, *reversed(table_1_runs)]]
    written = []
    for order in orders:  # the rows have one order, whatever the order of the folders
        compare.main([*order, "--out", str(tmp_path / "out")])
        files = "seeds.csv", "epochs.csv"
        written.append([(tmp_path / "out" / file).read_text() for file in files])
        table = capsys.readouterr().out
        assert "| Professor Forcing, --no-gate | 20.00 |" in table
        places = [table.index(f"\n| {title(variant)} |") for variant in (TEACHER, PROFESSOR)]
        assert places == sorted(places)
        assert table.index("\n| Professor Forcing, --no-gate |") > places[-1]
    assert written[0] == written[1]


def test_settings_that_lack_an_option_had_its_default(table_1_runs, tmp_path):
    old = tmp_path / "old"
    compare.main([*table_1_runs[:4], "--out", str(old)])
    settings = json.loads((old / "settings.json").read_text())
    del settings["cosine"]
    (old / "settings.json").write_text(json.dumps(settings))
    compare.main([str(old), *table_1_runs[4:], "--out", str(tmp_path / "both")])
    fallen = generated(tmp_path / "fallen", TEACHER, 9, [20.0, 19.0], "--cosine", test_nll=19.0)
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([str(old), fallen, "--out", str(tmp_path / "both")])


def test_unknown_results_stay_unknown(tmp_path, capsys):
    run, outs = copied(tmp_path / "a", "teacher_forcing", [750]), [tmp_path / x for x in "bcd"]
    compare.main([run, "--out", str(outs[0])])
    windows = outs[0] / "windows.csv"
    lines = [line.rsplit(",", 1) for line in windows.read_text().splitlines()]
    windows.write_text(
        "\n".join([",".join(lines[0]), *(f"{line[0]}," for line in lines[1:])]) + "\n"
    )
    compare.main([str(outs[0]), "--out", str(outs[1]), "--steps", "1000"])
    compare.main([str(outs[1]), "--out", str(outs[2])])
    assert "| teacher forcing | 0 | - | - | inf | - |" in capsys.readouterr().out
    for name in ("table_2.md", "seeds.csv", "windows.csv"):
        assert (outs[1] / name).read_text() == (outs[2] / name).read_text()
    windows.write_text(",".join(lines[0]) + "\n")
    with pytest.raises(SystemExit, match=r"windows.csv has no rows of teacher_forcing with seed 0"):
        compare.main([str(outs[0]), "--out", str(tmp_path / "e")])


def test_needs_runs_that_are_finished(tmp_path):
    for name, rate in (("a", "1e-3"), ("b", "1e-2")):
        RunFolder(tmp_path / name, copy_task.Options.parse(["--learning-rate", rate]))
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(SystemExit, match="no finished seed"):
        compare.main([str(tmp_path / "a")])
    with pytest.raises(SystemExit, match="no run folder"):
        compare.main([str(tmp_path / "c")])


def test_variants_stand_in_the_order_of_the_methods_and_have_readable_names():
    variants = [
        "something_else",
        PROFESSOR,
        f"{TEACHER} --cosine",
        f"{PROFESSOR} --no-gate",
        TEACHER,
    ]
    assert sorted(variants, key=run_table.order) == [
        *(TEACHER, f"{TEACHER} --cosine", PROFESSOR, f"{PROFESSOR} --no-gate", "something_else")
    ]
    assert title(f"{PROFESSOR} --no-gate --weight 10") == "Professor Forcing, --no-gate --weight 10"
    assert title("another") == "another"


def table(*keys):
    index = pd.MultiIndex.from_tuples(keys, names=run_table.KEYS)
    return pd.DataFrame({"nll": np.arange(len(keys), dtype=float)}, index)


def test_pairs_are_the_seeds_that_all_variants_have():
    runs = table(("a", 0), ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("b", 3))
    assert run_table.paired(runs)["nll"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert [name for name, _ in run_table.by_variant(runs)] == ["a", "b"]
    with pytest.raises(ValueError, match="no finished seed in common"):
        run_table.paired(table(("a", 0), ("b", 1)))


def test_a_csv_file_is_read_as_it_was_written(tmp_path):
    runs = table(("a", 0), ("1e5", 2)).assign(name=["one", None])
    runs.loc[("a", 0), "nll"] = np.nan
    formats = {"nll": ".2f", "name": "s"}
    text = run_table.csv_text(runs, formats)
    assert text.splitlines() == ["method,seed,nll,name", "a,0,,one", "1e5,2,1.00,"]
    (tmp_path / "runs.csv").write_text(text)
    again = run_table.read_csv(tmp_path / "runs.csv", run_table.KEYS, formats)
    assert run_table.csv_text(again, formats) == text
    with pytest.raises(ValueError, match=r"runs\.csv must have the columns method,seed,nll\."):
        run_table.read_csv(tmp_path / "runs.csv", run_table.KEYS, {"nll": ".2f"})
