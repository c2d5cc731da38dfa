import numpy as np
import pytest

from mf_keras import SequenceGenerator, SequenceTransducer, checkpoints
from mf_keras.models import presets
from tests.small import binary, small_cell, small_generator, small_transducer


def test_what_was_saved_is_loaded_without_its_training(tmp_path):
    generator = small_generator(learn_initial_memory=True)
    generator.compile("adam", "mse")
    generator.save_to_preset(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["generator.keras"]
    loaded = SequenceGenerator.from_preset(tmp_path / "mine")
    assert not loaded.compiled
    assert generator.compiled
    x = binary(2, 5, 1)
    np.testing.assert_array_equal(loaded.nll(x), generator.nll(x))


def test_the_newest_version_of_a_folder_is_taken(tmp_path):
    for version in ("9", "10", "draft"):
        (tmp_path / version).mkdir()
        (tmp_path / version / presets.FILE).touch()
    (tmp_path / "11").mkdir()  # of an earlier package, without the file
    assert presets.find(tmp_path) == tmp_path / "10" / presets.FILE


def test_names_are_those_of_saved_models(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "ROOTS", (tmp_path,))
    (tmp_path / "zebra" / "1").mkdir(parents=True)
    (tmp_path / "zebra" / "1" / presets.FILE).touch()
    assert presets.find("zebra") == tmp_path / "zebra" / "1" / presets.FILE
    with pytest.raises(ValueError, match=r"one of \['zebra'\], or a folder .*, got 'lion'"):
        presets.find("lion")
    with pytest.raises(TypeError, match="preset must be a path"):
        presets.find(3)


def test_refuses_other_models_and_damaged_files(tmp_path):
    checkpoints.save_model(small_transducer(), tmp_path / presets.FILE)
    with pytest.raises(ValueError, match="holds a SequenceTransducer, not a SequenceGenerator"):
        SequenceGenerator.from_preset(tmp_path)
    (tmp_path / presets.FILE).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="cannot be loaded"):
        SequenceGenerator.from_preset(tmp_path)
    with pytest.raises(TypeError, match="folder must be a path"):
        SequenceGenerator(small_cell()).save_to_preset(None)
    assert not hasattr(SequenceTransducer, "from_preset")
