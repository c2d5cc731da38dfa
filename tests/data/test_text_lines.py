"""Lines of text: characters, ends, SMILES, and what is refused."""

import collections
import gzip

import numpy as np
import pytest

from mf_keras.data import Vocabulary, padded_batches, text_lines, vocabulary_of
from tests.data.shared import SHARED, needs


@pytest.fixture
def path(tmp_path):
    (tmp_path / "lines.txt").write_text("ab\n\ncab\r\nb")
    return tmp_path / "lines.txt"


def test_a_line_is_its_characters_and_the_end(path):
    vocabulary = vocabulary_of(path)
    assert vocabulary == Vocabulary("abc", end=True)
    stream = text_lines(path)
    assert int(stream.cardinality()) == 3
    found = list(stream.as_numpy_iterator())
    assert [line.tolist() for line in found] == [[1, 2, 0], [3, 1, 2, 0], [2, 0]]
    assert found[0].dtype == np.int32
    assert [vocabulary.decode(line) for line in found] == ["ab", "cab", "b"]


def test_a_vocabulary_of_several_files_has_the_characters_of_all(path):
    other = path.with_name("other.txt")
    other.write_text("bd\n")
    vocabulary = vocabulary_of(path, other)
    assert vocabulary == Vocabulary("abcd", end=True)
    with pytest.raises(ValueError, match="vocabulary does not fit line 1 of"):
        text_lines(other, vocabulary_of(path))
    assert next(text_lines(other, vocabulary).as_numpy_iterator()).tolist() == [2, 4, 0]


def test_compressed_lines_are_the_same(path):
    packed = path.with_name("lines.txt.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    for a, b in zip(text_lines(path), text_lines(packed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_another_vocabulary(path):
    (line, *_) = text_lines(path, Vocabulary("xabc", end=True)).as_numpy_iterator()
    np.testing.assert_array_equal(line, [2, 3, 0])
    with pytest.raises(ValueError, match=r"vocabulary does not fit line 3 of .* got 'c'"):
        text_lines(path, Vocabulary("ab", end=True))
    with pytest.raises(ValueError, match="vocabulary must have an end token"):
        text_lines(path, Vocabulary("abc"))
    with pytest.raises(TypeError, match="vocabulary must be a data"):
        text_lines(path, "abc")


def test_lines_that_are_too_long_are_named(path):
    assert int(text_lines(path, longest=3).cardinality()) == 3
    with pytest.raises(ValueError, match=r"longest is 2, but line 3 .* has 3 characters"):
        text_lines(path, longest=2)


def test_the_mark_of_windows_is_no_character_and_lines_end_at_line_ends(path):
    path.write_bytes(b"\xef\xbb\xbfCC\nC\x0cN\r\nO\rC")
    assert vocabulary_of(path) == Vocabulary(["\x0c", "C", "N", "O"], end=True)
    assert int(text_lines(path).cardinality()) == 4


def test_files_that_are_no_text(tmp_path):
    broken = bytearray(gzip.compress(b"CC" * 999))
    broken[10:14] = b"\xff\xff\xff\xff"
    (tmp_path / "broken.gz").write_bytes(broken)
    with pytest.raises(ValueError, match="path must be a text file in UTF-8"):
        vocabulary_of(tmp_path / "broken.gz")
    with pytest.raises(FileNotFoundError, match="path must be an existing file"):
        text_lines(tmp_path / "nowhere")
    for name, contents in {"a": b"\xff\xfe\x00", "b": b"\n\n", "c.gz": b"no gzip"}.items():
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(ValueError, match="path must be a"):
            text_lines(tmp_path / name)


@pytest.mark.long
@needs("smiles")
def test_molecules():
    """ZINC-250k: 24 445 lines for validation of 44 characters on average, and 5000 for testing."""
    vocabulary = vocabulary_of(SHARED / "smiles" / "zinc_valid.smi.gz")
    assert len(vocabulary) == 32 + 1
    molecules = text_lines(SHARED / "smiles" / "zinc_valid.smi.gz")
    assert int(molecules.cardinality()) == 24_445
    steps = collections.Counter()
    for _, _, weights in padded_batches(molecules, 512, lengths=(32, 48, 101)):
        steps.update(np.asarray(weights).sum(axis=1).astype(int).tolist())
    assert max(steps) == 100 + 1
    mean = sum(length * count for length, count in steps.items()) / 24_445
    assert mean == pytest.approx(44.25 + 1, abs=0.01)
    # A character and the lengths of the test file are not in the validation file.
    test = SHARED / "smiles" / "zinc_test.smi.gz"
    assert int(text_lines(test).cardinality()) == 5000
    with pytest.raises(ValueError, match=r"vocabulary does not fit line .* got '7'"):
        text_lines(test, vocabulary)
