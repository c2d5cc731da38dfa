"""Every public function, method and constructor is annotated; mypy checks that they are right."""

import ast
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "mf_keras"
MODULES = sorted(PACKAGE.rglob("*.py"))


def public(body):
    """A module's public functions; of its public classes, public methods and `__init__`."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        if node.name.startswith("_") and node.name != "__init__":
            continue
        if isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{name}", method) for name, method in public(node.body))
        else:
            yield node.name, node


def missing(function):
    """What of a function has no annotation: parameters, and `return`."""
    given = function.args
    found = [*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg]
    names = [x.arg for x in found if x is not None and x.annotation is None]
    names = [name for name in names if name not in ("self", "cls")]
    return names if function.returns is not None else [*names, "return"]


def unannotated(source):
    found = {name: missing(function) for name, function in public(ast.parse(source).body)}
    return {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_public_functions_are_annotated(path):
    assert not unannotated(path.read_text())


def test_what_is_not_annotated_is_found():
    source = """
def f(a: int, *b, c=1, **d: int) -> None: ...
def g(): ...
def _private(a): ...
class A:
    def __init__(self, a) -> None: ...
    @classmethod
    def make(cls) -> "A": ...
    @property
    def size(self): ...
    def _private(self, a): ...
class _B:
    def f(self, a): ...
"""
    assert unannotated(source) == {
        "f": ["b", "c"],
        "g": ["return"],
        "A.__init__": ["a"],
        "A.size": ["return"],
    }


def test_annotations_are_shipped():
    """`py.typed` tells type checkers to read them (PEP 561)."""
    assert (PACKAGE / "py.typed").exists()
