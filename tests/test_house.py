"""How the rooms lie: who may import what."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "mf_keras"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the ground up; a module imports from the floors below its own, or its own folder.
FLOORS = [
    ["validation", "version", "files", "types"],
    ["backend"],
    ["layouts"],
    ["addressing", "sparse_linkage", "losses", "data", "plots", "checkpoints"],
    ["cells"],
    ["models", "callbacks"],
    ["export", "serving"],
    ["forcing"],
]
# Within a method alone: a model is exported by what it knows nothing of.
EXCEPT = {("models", "mf_keras.export")}
USE_TENSORFLOW = {"backend", "data", "export", "forcing", "serving"}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Dotted names of everything that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name):
    return next(i for i, rooms in enumerate(FLOORS) if name in rooms)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_below(path):
    own = room(path)
    for name in imports(path):
        assert not name.startswith("keras.src")
        assert own in USE_TENSORFLOW or not name.startswith("tensorflow")
        assert not name.startswith(("train", "benchmarks", "tests"))
        if name.startswith("mf_keras.") and own != "__init__" and (own, name) not in EXCEPT:
            other = name.split(".")[1]
            assert other == own or floor(other) < floor(own), f"{own} imports {other}"
