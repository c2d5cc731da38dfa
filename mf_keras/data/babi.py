"""bAbI: questions about short stories."""

import pathlib
import re
import tarfile
import zlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from mf_keras.data.lengths import stream_of
from mf_keras.data.published import checked_path, published_file
from mf_keras.data.vocabulary import Vocabulary
from mf_keras.types import Path
from mf_keras.validation import one_of, positive_int

# The word that marks the steps of an answer.
_BLANK = "-"
# The words of all twenty tasks, training and test, with the three signs of Graves et al. 2016.
BABI_WORDS = Vocabulary(
    [
        "-",
        ".",
        "?",
        "a",
        "above",
        "afraid",
        "after",
        "afternoon",
        "afterwards",
        "and",
        "antoine",
        "apple",
        "are",
        "back",
        "bathroom",
        "bedroom",
        "before",
        "below",
        "bernhard",
        "bigger",
        "bill",
        "blue",
        "bored",
        "box",
        "brian",
        "carrying",
        "cat",
        "cats",
        "chest",
        "chocolate",
        "chocolates",
        "cinema",
        "color",
        "container",
        "daniel",
        "did",
        "discarded",
        "do",
        "does",
        "down",
        "dropped",
        "e",
        "east",
        "either",
        "emily",
        "evening",
        "fit",
        "fits",
        "following",
        "football",
        "fred",
        "frog",
        "from",
        "garden",
        "gave",
        "gertrude",
        "get",
        "give",
        "go",
        "got",
        "grabbed",
        "gray",
        "green",
        "greg",
        "hallway",
        "handed",
        "he",
        "how",
        "hungry",
        "in",
        "inside",
        "is",
        "jason",
        "jeff",
        "jessica",
        "john",
        "journeyed",
        "julie",
        "julius",
        "kitchen",
        "left",
        "lily",
        "lion",
        "longer",
        "many",
        "mary",
        "maybe",
        "mice",
        "milk",
        "morning",
        "mouse",
        "moved",
        "n",
        "no",
        "none",
        "north",
        "not",
        "nothing",
        "objects",
        "of",
        "office",
        "one",
        "or",
        "pajamas",
        "park",
        "passed",
        "picked",
        "pink",
        "put",
        "received",
        "rectangle",
        "red",
        "rhino",
        "right",
        "s",
        "sandra",
        "school",
        "she",
        "sheep",
        "south",
        "sphere",
        "square",
        "suitcase",
        "sumit",
        "swan",
        "than",
        "that",
        "the",
        "then",
        "there",
        "they",
        "thirsty",
        "this",
        "three",
        "tired",
        "to",
        "took",
        "travelled",
        "triangle",
        "two",
        "up",
        "w",
        "was",
        "went",
        "west",
        "what",
        "where",
        "white",
        "who",
        "why",
        "will",
        "winona",
        "wolf",
        "wolves",
        "yann",
        "yellow",
        "yes",
        "yesterday",
        "you",
    ],
    separator=" ",
)

_ARCHIVE = "tasks_1-20_v1-2.tar.gz"
_URL = f"http://www.thespermwhale.com/jaseweston/babi/{_ARCHIVE}"
_SHA256 = "0364ebde659f14d11bc21744516c5ec49d3d06cb692733f66680771244998898"
_SPLITS = ("train", "test")


class _Story(NamedTuple):
    words: np.ndarray  # (T,), classes of `BABI_WORDS`
    answers: np.ndarray  # (T,), the answer's word at its steps, else 0


def babi(
    task: int, split: str = "train", path: Path | None = None, blanks: int = 0
) -> tf.data.Dataset:
    """Stories with questions: bAbI tasks v1.2, en-10k (Weston et al. 2015, arXiv:1502.05698).

    10 000 questions a task for training, 1000 for testing. A story is one sequence of words in
    lower case, full stops and question marks, with all its questions where they stand, as Graves et
    al. 2016 present them: a question is followed by "-", once for every word of its answer, and
    these steps have the answer as target.

        inputs (T, 159): a one-hot vector a word, of `BABI_WORDS`
        targets (T,) of int32: the answer's words at the marked steps, 0 elsewhere
        sample_weight (T,): 1 at the marked steps, 0 elsewhere

    Stories have unequal lengths: `padded_batches` makes batches. Train with
    `outputs.Categorical(len(BABI_WORDS))`. A question is right if all words of its answer are.

    Args:
        task: 1 to 20.
        split: "train" or "test".
        path: the archive tasks_1-20_v1-2.tar.gz, or the folder that it unpacks to; None to fetch it
            once from thespermwhale.com (15 MB).
        blanks: steps of "-" before the answer's, which have no target (Csordas and Schmidhuber
            2019: 3).

    Returns:
        A `tf.data.Dataset` of triples (inputs, targets, sample_weight), of known cardinality.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an unknown task or split, `blanks` is below 0, or the archive is none of bAbI.
        FileNotFoundError: there is no such file, it lacks the task, or it could not be fetched.
    """
    task = positive_int("task", task, maximum=20)
    one_of("split", split, _SPLITS)
    blanks = positive_int("blanks", blanks, minimum=0)
    if path is None:
        path = published_file(_ARCHIVE, _URL, _SHA256, None, argument="path")
    stories = _stories(_text(checked_path("path", path), task, split), blanks)
    both = [np.stack(story, axis=1) for story in stories]  # (T, 2)

    def example(story):
        words, answers = story[:, 0], story[:, 1]
        inputs = tf.one_hot(words, len(BABI_WORDS))
        return inputs, answers, tf.cast(answers != 0, tf.float32)

    return stream_of(both, "int32").map(example)


def _text(path: pathlib.Path, task: int, split: str) -> str:
    """The file of a task."""
    wanted = re.compile(rf"(^|/)en-10k/qa{task}_[^/]*_{split}\.txt$")
    lacking = f"path {str(path)!r} has no en-10k/qa{task}_..._{split}.txt"
    if path.is_dir():
        files = [file for file in path.rglob("*.txt") if wanted.search(file.as_posix())]
        if not files:
            raise FileNotFoundError(f"{lacking}. Unpack {_URL} there.")
        return files[0].read_text("utf-8")
    if not path.is_file():
        raise FileNotFoundError(
            f"path must be {_ARCHIVE} or the folder that it unpacks to, got {str(path)!r}. "
            f"It is published at {_URL} (SHA-256 {_SHA256})."
        )
    try:
        with tarfile.open(path) as archive:
            members = [name for name in archive.getnames() if wanted.search(name)]
            file = archive.extractfile(members[0]) if members else None
            if file is not None:
                return file.read().decode()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"path must be an archive of bAbI, got {str(path)!r}: {error}") from error
    raise FileNotFoundError(f"{lacking}. The archive published at {_URL} has all.")


def _stories(text: str, blanks: int) -> list[_Story]:
    """Stories of lines "NUMBER SENTENCE" and "NUMBER QUESTION TAB ANSWER TAB SUPPORTING LINES"."""
    lines = [line.split(" ", 1) for line in text.splitlines()]
    starts = [i for i, (number, _) in enumerate(lines) if number == "1"]
    bounds = zip(starts, [*starts[1:], len(lines)], strict=True)
    return [_story([words for _, words in lines[a:b]], blanks) for a, b in bounds]


def _story(lines, blanks):
    words: list[str] = []
    answers: list[str] = []  # as long as words; a blank where nothing is wanted
    for line in lines:
        sentence, *rest = line.lower().split("\t")
        found = re.findall(r"\w+|[.?]", sentence)
        answer = rest[0].split(",") if rest else []
        words += [*found, *[_BLANK] * (blanks * bool(answer) + len(answer))]
        answers += [*[_BLANK] * (len(words) - len(answers) - len(answer)), *answer]
    return _Story(BABI_WORDS.encode(words), BABI_WORDS.encode(answers))
