"""Text files are in UTF-8 whatever the locale: every call that reads or writes text says so."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("mf_keras", "train", "benchmarks", "serving")
MODULES = sorted(path for name in FOLDERS for path in (ROOT / name).rglob("*.py"))
# Calls by their names, and at which place the encoding may stand.
TEXT = {"read_text": 0, "write_text": 1, "open": 3}
OURS = {"RunFolder", "os", "archive", "tarfile", "webbrowser"}  # whose `open` opens no text file


def without_encoding(source):
    """Lines that read or write text in the locale's encoding."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        owner = getattr(getattr(node.func, "value", None), "id", None)
        if name not in TEXT or owner in OURS or (name == "write_text" and owner is None):
            continue
        named = {keyword.arg for keyword in node.keywords}
        binary = any(
            isinstance(x, ast.Constant) and "b" in str(x.value) for x in node.args if name == "open"
        )
        if "encoding" not in named and not binary and len(node.args) <= TEXT[name]:
            yield node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_utf_8(path):
    assert not list(without_encoding(path.read_text(encoding="utf-8")))


def test_the_check_finds_what_it_looks_for():
    bad = "p.read_text()\nopen(p)\np.write_text('x')\nself.log.open('w')"
    assert len(list(without_encoding(bad))) == 4
    good = "p.read_text('utf-8')\nopen(p, 'rb')\nopen(p, encoding='utf-8')\nos.open(p, 1)"
    assert not list(without_encoding(good))
