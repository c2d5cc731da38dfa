"""Where the published data lie beside a checkout; tests skip what is not there."""

import pathlib

import pytest

SHARED = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data"


def needs(path):
    """A mark that skips a test where `path`, relative to the data, is not there."""
    return pytest.mark.skipif(not (SHARED / path).exists(), reason=f"needs {path}")
