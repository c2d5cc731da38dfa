import json

import pytest

from train.one_shot import Options
from train.runs.beside import runs_beside


@pytest.fixture
def beside(tmp_path):
    """`(names of runs, options)` -> what `runs_beside` gives; every run is finished but "open"."""

    def find(runs, **own):
        for name, options in runs.items():
            folder = tmp_path / name
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps(Options(**options).config()))
            if name != "open":
                (folder / "accuracy.csv").write_text("")
        paths = tuple(str(tmp_path / name) for name in runs)
        return runs_beside(Options(beside=paths, **own), ("classes", "shots"), "accuracy.csv")

    return find


def test_runs_of_other_methods_seeds_and_options_of_forcing_stand_beside(beside):
    runs = {
        "lstm": {"method": "lstm"},
        "more": {"first_seed": 1, "seeds": 2},
        "strengths": {"strengths": True, "learning_rate": 1e-2},
        "dnc": {"method": "dnc", "steps": 400},
    }
    found = beside(runs)
    assert [options.method for _, options in found] == ["lstm", "mann", "mann", "dnc"]
    assert [folder.path.name for folder, _ in found] == list(runs)


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ({"a": {"method": "lstm", "classes": 3}}, "a' has another --classes than this run"),
        ({"open": {"method": "lstm"}}, "open' is not finished"),
        ({"a": {"first_seed": 1, "learning_rate": 1e-2}}, "has other settings than another run of"),
        ({"a": {"first_seed": 1, "steps": 400}}, "has other settings than another run of mann"),
        ({"a": {}}, "has seed 0 of mann, as another run"),
        (
            {"a": {"method": "dnc", "seeds": 3}, "b": {"method": "dnc", "first_seed": 2}},
            "b' has seed 2 of dnc, as another run",
        ),
    ],
)
def test_runs_that_a_row_would_mix_are_refused(beside, runs, words):
    with pytest.raises(ValueError, match=words):
        beside(runs)
