import base64
import json
import re

import numpy as np
import pytest

from mf_keras import files, viewer
from mf_keras.viewer import document

RANDOM = np.random.default_rng(0)
RUN = viewer.Run(
    sequence=RANDOM.integers(0, 2, (6, 1)),
    memory=RANDOM.normal(size=(6, 3, 4)),
    read_weights=RANDOM.uniform(size=(6, 2, 3)),
    write_weights=RANDOM.uniform(size=(6, 1, 3)),
    given=2,
    nll=3.5,
)


def unpacked(packed):
    """What the page's program makes of an array."""
    values = np.frombuffer(base64.b64decode(packed["bytes"]), f"<i{packed['bits'] // 8}")
    unit = packed["largest"] / (2 ** (packed["bits"] - 1) - 1)
    return values.reshape(packed["shape"]) * unit


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</', page)[1])


def test_what_is_packed_is_the_run_to_rounding():
    data = document.pack({"a": RUN}, image_shape=(2, 3), title="t")
    (packed,) = data["runs"]
    step = np.abs(RUN.memory).max() / 127
    np.testing.assert_allclose(unpacked(packed["memory"]), RUN.memory, atol=0.51 * step)
    np.testing.assert_allclose(unpacked(packed["read"]), RUN.read_weights, atol=2e-5)
    np.testing.assert_allclose(unpacked(packed["write"]), RUN.write_weights, atol=2e-5)
    np.testing.assert_array_equal(unpacked(packed["sequence"]), RUN.sequence)
    assert (packed["label"], packed["given"], packed["nll"]) == ("a", 2, 3.5)
    assert (data["image"], data["tokens"], data["title"]) == ([2, 3], None, "t")
    assert 0 < data["limit"] <= np.abs(RUN.memory).max()


def test_tokens_and_cells_without_weights():
    run = viewer.Run([0, 2, 1], np.zeros((3, 1, 2)))
    data = document.pack({"a": run}, tokens=["x", "y", "</script>"])
    (packed,) = data["runs"]
    assert packed["text"] == [0, 2, 1]
    assert (packed["read"], packed["write"], packed["given"], data["limit"]) == (None, None, 3, 1.0)


def test_long_runs_show_some_of_their_steps(monkeypatch):
    monkeypatch.setattr(document, "MOST_CELLS", 30)
    (packed,) = document.pack({"a": RUN})["runs"]
    assert packed["every"] == 3
    np.testing.assert_allclose(unpacked(packed["memory"]), RUN.memory[[2, 5]], atol=0.02)
    np.testing.assert_allclose(unpacked(packed["read"]), RUN.read_weights[[2, 5]], atol=2e-5)
    assert len(unpacked(packed["sequence"])) == packed["steps"] == 6


def test_a_page_is_one_file_that_loads_nothing(tmp_path):
    path = viewer.write_page(tmp_path / "new" / "page.html", {"a <b>": RUN}, title="</script><b>")
    page = path.read_text("utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert data_of(page) == document.pack({"a <b>": RUN}, title="</script><b>")
    assert page.count("</script>") == 2
    assert not re.search(r"https?://|\bsrc=|@import|<!--|/\*[A-Z]+\*/", page)


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = viewer.write_page(tmp_path / "page.html", {"a": RUN})
    before = path.read_bytes()

    def full(*arguments):
        raise OSError("no space")

    monkeypatch.setattr(files, "_synchronise", full)
    with pytest.raises(files.NotWrittenError):
        viewer.write_page(path, {"b": RUN})
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"memory": np.zeros((6, 3))}, r"runs\['a'\]\.memory must have shape"),
        ({"memory": np.full((6, 3, 4), np.nan)}, r"runs\['a'\]\.memory .*finite"),
        ({"sequence": np.zeros((5, 1))}, r"runs\['a'\]\.sequence must have shape"),
        ({"read_weights": np.zeros((6, 2, 4))}, r"runs\['a'\]\.read_weights must have shape"),
        ({"given": 7}, r"runs\['a'\]\.given must be"),
        ({"nll": np.inf}, r"runs\['a'\]\.nll must be"),
        ({"sequence": np.zeros((6, 2))}, "image_shape must have a pixel for each step"),
    ],
)
def test_wrong_runs_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        document.pack({"a": RUN._replace(**change)}, image_shape=(2, 3))


def test_other_wrong_arguments_are_refused(tmp_path):
    with pytest.raises(TypeError, match="runs must map labels"):
        document.pack([RUN])
    with pytest.raises(ValueError, match="runs must hold at least one"):
        document.pack({})
    with pytest.raises(TypeError, match=r"runs\['a'\] must be a viewer.Run"):
        document.pack({"a": RUN.memory})
    with pytest.raises(ValueError, match="image_shape must have a pixel for each step"):
        document.pack({"a": RUN}, image_shape=(2, 2))
    with pytest.raises(ValueError, match="tokens must name every token"):
        document.pack({"a": RUN._replace(sequence=np.arange(6))}, tokens=["a"])
    with pytest.raises(ValueError, match=r"path must end in \.html"):
        viewer.write_page(tmp_path / "page.txt", {"a": RUN})
    assert not list(tmp_path.iterdir())
