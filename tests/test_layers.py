"""The layers of the package: which module may import what."""

import ast
import importlib
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / "mf_keras"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the ground up; a module imports from the layers below its own, or from its own folder.
LAYERS = [
    ["types", "version"],
    ["validation", "files", "frozen", "states", "protos"],
    ["backend"],
    ["layouts", "viewer"],
    ["addressing", "kanerva", "sparse_linkage", "outputs", "data", "plots", "checkpoints"],
    ["cells", "environments"],
    ["models"],
    ["callbacks"],
    ["export", "serving"],
    ["forcing", "page"],
    ["cli"],
]
# Within a method only: a model is exported by what it knows nothing of.
EXCEPT = {("models", "mf_keras.export")}
# Whose job is TensorFlow's own; all others import `mf_keras.backend`.
USE_TENSORFLOW = {"backend/tensorflow", "data", "export"}
USE_JAX = {"backend/jax"}
# On JAX `fit` takes datasets of TensorFlow, too: within methods only.
USE_THE_OTHER = {"backend/jax/datasets.py"}


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Dotted names of everything that a module imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def at_import(path):
    """Dotted names of what a module imports when it is imported itself: not within functions."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reached(*starts):
    """All that importing these modules of the package imports, by name."""
    found, waiting = set(), list(starts)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        path = ROOT.joinpath(*name.split("."))
        files = [path / "__init__.py", path.with_suffix(".py")]
        waiting += [other for file in files if file.exists() for other in at_import(file)]
        if name.startswith("mf_keras."):
            waiting.append(name.rpartition(".")[0])
    return found


@pytest.mark.parametrize(
    "name",
    ["mf_keras.forcing", "mf_keras.callbacks", "mf_keras.callbacks.saving", "mf_keras.export"],
)
def test_what_draws_nothing_needs_no_matplotlib(name):
    found = reached(name)
    assert "keras" in found
    assert not {"matplotlib", "matplotlib.figure", "mf_keras.plots"} & found
    assert "matplotlib.figure" in reached("mf_keras.callbacks.pictures")


def layer(name):
    return next(i for i, rooms in enumerate(LAYERS) if name in rooms)


def test_benchmarks_import_what_there_is():
    """Within functions, too, where nothing else sees it before they run."""
    pytest.importorskip("tensorflow", reason="some benchmarks are TensorFlow's")
    for path in sorted((PACKAGE.parent / "benchmarks").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            own = isinstance(node, ast.ImportFrom) and node.module.split(".")[0]
            if own in ("mf_keras", "train", "benchmarks", "tests"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_stay_below(path):
    own, file = room(path), path.relative_to(PACKAGE).as_posix()
    tensorflow, jax = (file.startswith(tuple(use)) for use in (USE_TENSORFLOW, USE_JAX))
    chooses = file == "backend/__init__.py"
    for name in imports(path):
        assert not name.startswith(("keras.src", "tensorflow_serving"))
        later = file in USE_THE_OTHER and name not in at_import(path)
        assert tensorflow or later or not name.startswith("tensorflow")
        assert jax or not name.startswith("jax")
        of_tensorflow = name.startswith("mf_keras.backend.tensorflow")
        assert tensorflow or chooses or later or not of_tensorflow
        assert jax or chooses or not name.startswith("mf_keras.backend.jax")
        assert not name.startswith(("train", "benchmarks", "tests"))
        if name.startswith("mf_keras.") and own != "__init__" and (own, name) not in EXCEPT:
            other = name.split(".")[1]
            assert other == own or layer(other) < layer(own), f"{own} imports {other}"
