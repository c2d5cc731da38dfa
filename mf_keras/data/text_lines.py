"""Lines of the user's own text file, such as molecules in SMILES."""

import gzip
import pathlib
import re
import zlib

import tensorflow as tf

from mf_keras.data.lengths import stream_of
from mf_keras.data.published import existing_file
from mf_keras.data.vocabulary import Vocabulary
from mf_keras.types import Path
from mf_keras.validation import positive_int


def text_lines(
    path: Path, vocabulary: Vocabulary | None = None, longest: int | None = None
) -> tf.data.Dataset:
    """One sequence a line, of its characters and the end token.

        vocabulary = data.vocabulary_of("train.smi", "test.smi")
        train = data.text_lines("train.smi", vocabulary)
        test = data.text_lines("test.smi", vocabulary)
        generator = SequenceGenerator(cell, outputs.Categorical(len(vocabulary)))

    Lines have unequal lengths: `padded_batches` makes batches. Empty lines are left out.

    Args:
        path: a file in UTF-8, perhaps compressed (.gz).
        vocabulary: of characters, with an end token; None for `vocabulary_of(path)`. Give the same
            for all files of a data set.
        longest: characters that a line may have; None for any number.

    Returns:
        A `tf.data.Dataset` of int32 sequences (T,), the line's characters and 0 for the end, of
        known cardinality.

    Raises:
        TypeError: an argument has the wrong type.
        FileNotFoundError: there is no such file.
        ValueError: it is no text or has no line, a line is longer than `longest`, has a character
            that is not the vocabulary's, or the vocabulary has no end.
    """
    if not isinstance(vocabulary, Vocabulary | None):
        raise TypeError(f"vocabulary must be a data.Vocabulary or None, got {vocabulary!r}.")
    if vocabulary is not None and not vocabulary.end:
        raise ValueError(f"vocabulary must have an end token, end=True, got {vocabulary!r}.")
    if longest is not None:
        longest = positive_int("longest", longest)
    path = existing_file("path", path)
    lines = _lines(path)
    if vocabulary is None:
        vocabulary = _vocabulary(lines)
    encoded = []
    for number, line in lines.items():
        if longest is not None and len(line) > longest:
            raise ValueError(
                f"longest is {longest}, but line {number} of {str(path)!r} has {len(line)} "
                "characters. Shorten or leave out such lines, or allow more."
            )
        try:
            encoded.append(vocabulary.encode(line))
        except ValueError as error:
            raise ValueError(
                f"vocabulary does not fit line {number} of {str(path)!r}: {error}"
            ) from error
    return stream_of(encoded, "int32")


def vocabulary_of(path: Path, *more: Path) -> Vocabulary:
    """The characters of text files but for line ends, sorted, with an end token as class 0.

    Args:
        path: as for `text_lines`.
        *more: further files, such as those for validation and test: a model can give no
            probability to a character that is not in its vocabulary.

    Raises:
        TypeError, FileNotFoundError, ValueError: as `text_lines`.
    """
    return _vocabulary(*(_lines(existing_file("path", each)) for each in (path, *more)))


def _vocabulary(*files):
    return Vocabulary(sorted(set().union(*(text for f in files for text in f.values()))), end=True)


def _lines(path: pathlib.Path) -> dict[int, str]:
    """Lines that are not empty, by their numbers from 1 on."""
    try:
        contents = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = contents.decode("utf-8-sig")  # without the mark that Windows writes
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(
            f"path must be a text file in UTF-8, got {str(path)!r}: {error}"
        ) from error
    lines = {i: line for i, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1) if line}
    if not lines:
        raise ValueError(f"path must be a file with lines of text, got {str(path)!r}.")
    return lines
