"""The package's names, and what an import of them imports."""

import configparser
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest

import mf_keras

ROOT = pathlib.Path(__file__).parent.parent
PRESET = ROOT / "saved_models" / "digits" / "1" / "generator.keras"


def test_every_name_is_there():
    for name in mf_keras.__all__:
        assert getattr(mf_keras, name) is not None
    assert set(mf_keras.__all__) <= set(dir(mf_keras))
    assert {"MemoryCell", "callbacks", "data", "plots", "serving"} <= set(mf_keras.__all__)
    with pytest.raises(AttributeError, match="module 'mf_keras' has no attribute 'nothing'"):
        _ = mf_keras.nothing


def test_what_a_package_exports_under_a_name_is_that():
    for name in mf_keras._REGISTERED:
        package = importlib.import_module(f"mf_keras.{name}")
        for each in set(package.__all__) & set(mf_keras.__all__):
            assert getattr(mf_keras, each) is getattr(package, each)


def test_the_oldest_versions_that_are_tried_are_the_lower_bounds():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    wanted = setup["options"]["install_requires"] + extras["tensorflow"] + extras["plots"]
    bounds = dict(re.findall(r"^(\w+) >=([\d.]+)$", wanted, re.MULTILINE))
    oldest = (ROOT / "requirements-oldest.txt").read_text("utf-8")
    tried = dict(re.findall(r"^(\w+)==([\d.]+)$", oldest, re.MULTILINE))
    assert bounds.keys() == tried.keys() >= {"keras", "numpy", "tensorflow"}
    for name, bound in bounds.items():
        assert tried[name] in (bound, f"{bound}.0"), name


BEFORE_KERAS = """
import sys
import mf_keras
assert not {"keras", "tensorflow"} & set(sys.modules)
import keras
print(type(keras.models.load_model(sys.argv[1])).__name__)
for name in ("DNCCell", "Bernoulli", "SequenceTransducer", "MemoryForcing"):
    assert keras.saving.get_registered_object(f"mf_keras>{name}") is not None, name
assert not any(type(finder).__module__ == "mf_keras" for finder in sys.meta_path)
"""


def test_a_file_loads_although_mf_keras_was_imported_first():
    """And a machine without a GPU says nothing of one at the level of errors."""
    command = [sys.executable, "-c", BEFORE_KERAS, str(PRESET)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    options = {"check": True, "capture_output": True, "text": True, "env": environment}
    run = subprocess.run(command, cwd=ROOT, **options)
    assert run.stdout.strip() == "SequenceGenerator"
    assert "\nE0" not in run.stderr
