import argparse
import json

import pytest

from benchmarks import measure


def parse(path):
    parser = argparse.ArgumentParser()
    measure.add_json_option(parser)
    return parser.parse_args(["--json", str(path)]).json


def test_results_are_written_where_none_or_own_ones_stand(tmp_path):
    path = tmp_path / "new" / "a.json"
    for seconds in (1.0, 2.0):
        measure.write_json(parse(path), [{"seconds": seconds}])
        assert json.loads(path.read_text())["rows"] == [{"seconds": seconds}]
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["mine.json", "mine.json/a.json", "."])
def test_what_is_there_is_refused_before_anything_is_measured(tmp_path, capsys, name):
    (tmp_path / "mine.json").write_text('{"rows": "mine"}')
    with pytest.raises(SystemExit, match="2"):
        parse(tmp_path / name)
    assert "argument --json: " in capsys.readouterr().err
    assert (tmp_path / "mine.json").read_text() == '{"rows": "mine"}'
