"""The notebooks were run as they stand, and their code runs still, on less data."""

import json
import pathlib
import re

import numpy as np
import pytest

from mf_keras import data
from mf_keras.data import algorithmic, omniglot
from mf_keras.data.lengths import stream_of

NOTEBOOKS = sorted((pathlib.Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))
SMALL = {
    "digits": "epochs, train_size, test_size = 1, 16, 20; "
    "units, slots, word_size, reads = 4, 3, 2, 1",
    "music": "epochs, pieces, units = 1, 4, 4\nlengths = (4, 8)",
    "one_shot": "intervals, batches, test_episodes = 1, 2, 3; "
    "classes, shots, image_size = 2, 2, 4; units, slots, word_size = 4, 3, 2",
}
EACH = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == set(SMALL)


@EACH
def test_a_notebook_was_run_from_top_to_bottom(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert path.stat().st_size < 500_000
    for place in ("/home/", "/root/", "/tmp/", "/work/"):
        assert place not in json.dumps(outputs), place


@pytest.mark.long
@EACH
def test_the_code_of_a_notebook_runs(path, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    pieces = [rng.integers(0, 2, (t, data.PIANO_KEYS)).astype("uint8") for t in (20, 3, 8, 5)]
    made = [pieces[0][:8], *pieces[1:]]
    monkeypatch.setattr(data, "polyphonic_music", lambda *arguments: stream_of(made, "float32"))
    characters = rng.integers(0, 256, (1623, 20, 8, 8), "uint8")
    monkeypatch.setattr(omniglot, "_characters", lambda *arguments: characters)
    monkeypatch.setattr(algorithmic, "_LARGEST_BLOCK", 20)
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "notebook"}
    for cell in code_cells(path):
        source = "".join(cell["source"])
        if "parameters" in cell["metadata"].get("tags", ()):
            source += "\n" + SMALL[path.stem]
        # XLA would take longer than such a small training.
        source = re.sub(r"(\w+\.compile\(.*)\)\n", r"\1, jit_compile=False)\n", source)
        exec(compile(source, path.name, "exec"), names)
