"""Tiny Shakespeare: sizes, the vocabulary, and the error without it."""

import collections

import numpy as np
import pytest

from mf_keras.data import SHAKESPEARE, characters
from mf_keras.data.characters import _cut, _text
from tests.data.shared import SHARED, needs

FOLDER = SHARED / "tfds"
SIZES = {"train": 1_003_854, "validation": 55_770, "test": 55_770}


@needs("tfds/tiny_shakespeare")
def test_pieces_and_vocabulary():
    assert sum(SIZES.values()) == 1_115_394
    assert len(SHAKESPEARE) == 65
    counts = collections.Counter()
    for split, size in SIZES.items():
        stream = characters(split, 1000, FOLDER)
        assert int(stream.cardinality()) == size // 1000
        pieces = np.stack(list(stream.as_numpy_iterator()))
        assert pieces.dtype == np.int32
        counts.update(pieces.ravel().tolist())
    assert sorted(counts) == list(range(65))  # every character is there


@needs("tfds/tiny_shakespeare")
def test_pieces_follow_each_other():
    short = np.concatenate(list(characters("test", 10, FOLDER).take(20).as_numpy_iterator()))
    (whole,) = characters("test", 200, FOLDER).take(1).as_numpy_iterator()
    np.testing.assert_array_equal(short, whole)
    first = next(characters("train", 14, FOLDER).as_numpy_iterator())
    assert SHAKESPEARE.decode(first) == "First Citizen:"


@needs("tfds/tiny_shakespeare")
def test_a_piece_longer_than_the_text():
    assert int(characters("test", 55_770, FOLDER).cardinality()) == 1
    with pytest.raises(ValueError, match="length must be at most the 55770 characters of 'test'"):
        characters("test", 55_771, FOLDER)


@needs("tfds/tiny_shakespeare")
def test_the_published_text_is_cut_as_by_tensorflow_datasets(tmp_path):
    prepared = {split: _text(split, FOLDER) for split in SIZES}
    whole = "".join(prepared.values())
    assert _cut(whole) == prepared
    (tmp_path / "input.txt").write_text(whole, encoding="utf-8")
    (piece,) = characters("test", 55_770, tmp_path).as_numpy_iterator()
    assert SHAKESPEARE.decode(piece) == prepared["test"]


def test_nothing_prepared_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_dir .* has no file input") as caught:
        characters(data_dir=tmp_path)
    assert "karpathy/char-rnn" in str(caught.value)
    (tmp_path / "input.txt").write_text("forged")
    with pytest.raises(ValueError, match=r"data_dir .* must have the published input"):
        characters(data_dir=tmp_path)


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match="split must be one of"):
        characters("valid")
    with pytest.raises(ValueError, match="length must be an integer >= 1"):
        characters("train", 0)
    with pytest.raises(FileNotFoundError, match="data_dir must be an existing folder"):
        characters(data_dir=tmp_path / "nowhere")
    with pytest.raises(TypeError, match="data_dir must be a path"):
        characters(data_dir=3)
