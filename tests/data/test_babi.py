"""bAbI: stories, marked answers, the vocabulary of all tasks, and what is refused."""

import tarfile

import numpy as np
import pytest

from mf_keras.data import BABI_WORDS, babi, padded_batches
from mf_keras.data.babi import _stories, _text
from tests.data.shared import SHARED, needs

PATH = SHARED / "babi" / "babi_v1-2.tar.gz"
STORIES = """1 Mary went to the hallway.
2 Where is Mary? \thallway\t1
3 John took the milk there.
4 What is John carrying? \tmilk,apple\t3
1 Yann is tired.
2 Where will Yann go?\tbedroom\t1
"""


@pytest.fixture
def folder(tmp_path):
    tasks = tmp_path / "tasks_1-20_v1-2" / "en-10k"
    tasks.mkdir(parents=True)
    for split in ("train", "test"):
        (tasks / f"qa8_lists-sets_{split}.txt").write_text(STORIES)
    return tmp_path


def words(numbers):
    return BABI_WORDS.decode(np.asarray(numbers))


@pytest.mark.parametrize("packed", [False, True])
def test_stories_with_their_questions(folder, packed):
    path = folder
    if packed:
        path = folder / "tasks.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            archive.add(folder / "tasks_1-20_v1-2", "tasks_1-20_v1-2")
    stream = babi(8, "train", path)
    assert int(stream.cardinality()) == 2
    (inputs, targets, weights), second = stream.as_numpy_iterator()
    assert inputs.dtype == weights.dtype == np.float32
    assert targets.dtype == np.int32
    np.testing.assert_array_equal(inputs.sum(axis=1), 1.0)
    assert words(inputs.argmax(axis=1)) == (
        "mary went to the hallway . where is mary ? - "
        "john took the milk there . what is john carrying ? - -"
    )
    assert words(targets[weights == 1]) == "hallway milk apple"
    np.testing.assert_array_equal(np.flatnonzero(weights), [10, 22, 23])
    np.testing.assert_array_equal(targets[weights == 0], 0)
    assert words(second[0].argmax(axis=1)) == "yann is tired . where will yann go ? -"


def test_blanks_before_the_answer(folder):
    inputs, targets, weights = next(babi(8, "test", folder, blanks=3).as_numpy_iterator())
    assert "where is mary ? - - - - john" in words(inputs.argmax(axis=1))
    assert words(targets[weights == 1]) == "hallway milk apple"
    np.testing.assert_array_equal(np.flatnonzero(weights), [13, 28, 29])


def test_batches_are_padded(folder):
    batch = next(iter(padded_batches(babi(8, "test", folder), 2, lengths=(30,))))
    assert [tuple(part.shape) for part in batch] == [(2, 30, 159), (2, 30), (2, 30)]
    np.testing.assert_array_equal(np.asarray(batch[2]).sum(axis=1), [3, 1])


def test_what_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match="task must be an integer <= 20"):
        babi(21)
    with pytest.raises(ValueError, match="split must be one of 'train', 'test'"):
        babi(1, "valid")
    with pytest.raises(ValueError, match="blanks must be an integer >= 0"):
        babi(1, blanks=-1)
    with pytest.raises(FileNotFoundError, match=r"has no en-10k/qa1_\.\.\._train\.txt"):
        babi(1, "train", folder)
    with pytest.raises(FileNotFoundError, match=r"published at http://www.thespermwhale.com"):
        babi(1, "train", tmp_path / "nowhere")
    with tarfile.open(tmp_path / "cut.tar.gz", "w:gz") as archive:
        archive.add(folder, "tasks")
    whole = (tmp_path / "cut.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="path must be an archive of bAbI"):
        babi(1, "train", tmp_path / "cut.tar.gz")
    (tmp_path / "forged.tar.gz").write_text("no archive")
    with pytest.raises(ValueError, match="path must be an archive of bAbI"):
        babi(1, "train", tmp_path / "forged.tar.gz")


@needs("babi")
@pytest.mark.parametrize(("task", "split", "questions"), [(1, "test", 1000), (4, "train", 10_000)])
def test_questions(task, split, questions):
    text = _text(PATH, task, split)
    assert sum("\t" in line for line in text.splitlines()) == questions
    stories = _stories(text, 0)
    assert sum(np.count_nonzero(story.answers) for story in stories) == questions  # of one word
    assert int(babi(task, split, PATH).cardinality()) == len(stories)


@needs("babi")
def test_the_vocabulary_is_that_of_all_tasks():
    """156 words and three signs (Graves et al. 2016)."""
    assert len(BABI_WORDS) == 159
    found = set()
    for task in range(1, 21):
        for story in _stories(_text(PATH, task, "test"), 0):
            found.update(story.words.tolist(), story.answers.tolist())
    assert found == set(range(159))


@needs("babi")
def test_a_task_that_the_archive_lacks():
    with pytest.raises(FileNotFoundError, match=r"has no en-10k/qa3_\.\.\._train\.txt"):
        babi(3, "train", PATH)
