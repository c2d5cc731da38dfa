"""The README's example runs as printed, and what the README names exists."""

import pathlib
import re

import pytest

from mf_keras import data

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.long
def test_example_runs_as_printed(tmp_path, monkeypatch, capsys):
    """With one batch of data a split."""
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 1
    assert len(blocks[0].strip().splitlines()) <= 20
    digits = data.digits
    monkeypatch.setattr(data, "digits", lambda split: digits(split).take(64))
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks[0], "README.md", "exec"), {"__name__": "readme"})
    assert "nats per image" in capsys.readouterr().out
    for name in ("samples.png", "memory.png", "model.keras"):
        assert (tmp_path / name).stat().st_size > 1000


def test_pictures_and_linked_files_exist():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    for link in links:
        assert (ROOT / link).exists(), link
