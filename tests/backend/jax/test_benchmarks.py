"""`benchmarks.gpu` and `benchmarks.backends` on a CPU, at small sizes."""

import json

from benchmarks import backends, gpu


def test_a_case_that_fails_or_has_no_time_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "rows_of", lambda case, *rest: ([{"case": case, "us": 1.5}], None))
    gpu.main(["--cases", "launch", "gru", "--json", str(tmp_path / "gpu.json")])
    rows = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["case"] for row in rows] == ["device", "launch", "gru"]
    assert "case launch  us 1.5" in capsys.readouterr().out
    gpu.main(["--cases", "launch", "--budget", "0"])
    assert "case launch  error no time left" in capsys.readouterr().out


def test_numbers_are_those_of_the_references_and_a_step_is_timed(capsys):
    for case in ("equality", "launch", "memory forcing"):
        gpu.main(["--child", case, "--time", "2", "--batches", "2"])
    rows = [json.loads(line.removeprefix("ROW ")) for line in capsys.readouterr().out.splitlines()]
    assert [row["case"] for row in rows] == [
        *("equality, highest precision", "equality, default precision"),
        *("launch", "memory forcing"),
    ]
    assert max(rows[0]["outputs and traces"], rows[0]["gradients"]) < 1e-5
    assert rows[3]["us_per_step"] > 0


def test_the_table_of_both_backends_has_the_best_of_every_way(monkeypatch, capsys):
    backends.child("unroll", 2, 2)
    row = json.loads(capsys.readouterr().out)
    assert (row["backend"], row["case"], row["time"]) == ("jax", "unroll", 2)
    times = iter([3e3, 2e3, 1e3, 4e3])
    monkeypatch.setattr(
        backends, "row_of", lambda *way: {**row, "us_per_step": next(times), "devices": way[2]}
    )
    backends.main(["--cases", "unroll", "--times", "2", "--python", "jax=python"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-4] for line in lines[1:]] == ["1000", "2000"]
