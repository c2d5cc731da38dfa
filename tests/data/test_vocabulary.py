"""Vocabularies: encoding, decoding, the end, and what is refused."""

import numpy as np
import pytest

from mf_keras.data import Vocabulary


def test_encoding_and_decoding_are_inverse():
    plain, ended = Vocabulary("abc"), Vocabulary("abc", end=True)
    assert (len(plain), len(ended)) == (3, 4)
    np.testing.assert_array_equal(plain.encode("cab"), [2, 0, 1])
    np.testing.assert_array_equal(ended.encode("cab"), [3, 1, 2, 0])
    assert ended.encode("cab").dtype == np.int32
    assert plain.decode(plain.encode("cab")) == "cab"
    assert ended.decode([3, 1, 2, 0, 0, 1]) == "cab"
    assert ended.decode([3, 1]) == "ca"
    assert ended.decode(ended.encode("")) == ""


def test_words_are_separated():
    words = Vocabulary(["to", "be", "or"], separator=" ")
    np.testing.assert_array_equal(words.encode("to be or"), [0, 1, 2])
    np.testing.assert_array_equal(words.encode(["be"]), [1])
    assert words.decode(np.int64([2, 1])) == "or be"


def test_equality():
    assert Vocabulary("ab") == Vocabulary(["a", "b"])
    assert hash(Vocabulary("ab")) == hash(Vocabulary(["a", "b"]))
    assert Vocabulary("ab") != Vocabulary("ab", end=True)
    assert "end=True" in repr(Vocabulary("ab", end=True))


def test_what_is_refused():
    with pytest.raises(ValueError, match="tokens must be there once each"):
        Vocabulary("aba")
    with pytest.raises(ValueError, match="tokens must be there once each"):
        Vocabulary("")
    with pytest.raises(TypeError, match="tokens must be text"):
        Vocabulary([1, 2])
    with pytest.raises(ValueError, match="separator must be one of"):
        Vocabulary("ab", separator=",")
    vocabulary = Vocabulary("ab", end=True)
    with pytest.raises(ValueError, match=r"text must be of the 2 tokens .* got 'c'"):
        vocabulary.encode("abc")
    with pytest.raises(ValueError, match=r"text must be of the 2 tokens .* got \[\]"):
        vocabulary.encode(["a", []])
    with pytest.raises(TypeError, match="text must be text"):
        vocabulary.encode(3)
    for numbers in ([[1]], [3], [-1]):
        with pytest.raises(ValueError, match=r"numbers must have shape \(T,\), from 0 to 2"):
            vocabulary.decode(numbers)
    with pytest.raises(TypeError, match="numbers must be integers"):
        vocabulary.decode([0.5])
