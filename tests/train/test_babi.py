"""Question answering: made stories, a few steps, nothing is compiled."""

import json
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import callbacks, data
from tests.train.small import SIZES
from train import babi, sequence_data
from train.babi import Options

PLACES = ("garden", "kitchen", "office")
TWO = ["--batch-size", "2", "--learning-rate", "1e-2"]
GRU = ["--cell", "gru", "--controller-units", "4"]  # eagerly a tenth of the DNC's time


@pytest.fixture(autouse=True)
def eagerly(monkeypatch):
    monkeypatch.setattr(sequence_data, "MULTIPLE", 1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions")
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


@pytest.fixture
def folder(tmp_path):
    """Stories of one or two questions, in the form of the unpacked archive."""
    en = tmp_path / "babi" / "en-10k"
    en.mkdir(parents=True)
    for split, count in (("train", 6), ("test", 3)):
        lines = []
        for i in range(count):
            place = PLACES[i % 3]
            lines += ["1 Mary left.", f"2 Where? \t{place}\t1"]
            if i % 2:
                lines += ["3 What? \tmilk,apple\t1"]
        (en / f"qa1_made_{split}.txt").write_text("\n".join(lines) + "\n")
    return str(tmp_path / "babi")


def test_counts_the_questions_of_the_test_split(folder, tmp_path, capsys):
    out = tmp_path / "run"
    words = ["--path", folder, "--blanks", "1", "--masked-lookup", "--erase-on-deallocation"]
    babi.main([*words, *TWO, *SIZES, "--epochs", "1", "--out", str(out)])
    results = json.loads((out / "results.json").read_text())
    transducer = keras.models.load_model(out / "best.keras")
    assert transducer.cell.masked_lookup
    assert transducer.cell.erase_on_deallocation
    assert not transducer.cell.sharpen_links
    wrong = count = 0
    for inputs, targets, weights in data.babi(1, "test", folder, blanks=1).as_numpy_iterator():
        answers = np.argmax(transducer(inputs[None]), axis=-1)[0]
        for steps in babi.questions(weights):
            count += 1
            wrong += int((answers[steps] != targets[steps]).any())
    assert count == 4
    assert results["test"] == {"wrong": wrong, "questions": count, "error": wrong / count}
    assert f"{100 * wrong / count:.1f} % of 4 questions" in capsys.readouterr().out
    assert "mary left.\nwhere?" in (out / "answers.txt").read_text()
    assert (out / "nll.png").exists()


def test_an_interrupted_run_ends_as_one_that_was_not(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(babi, "finish", lambda *arguments: None)
    words = ["--path", folder, *TWO, *GRU, "--epochs", "2"]
    babi.main([*words, "--out", str(tmp_path / "whole")])
    on_batch_end = callbacks.Checkpoint.on_train_batch_end

    def interrupt(self, batch, logs=None):
        on_batch_end(self, batch, logs)
        if int(self.model.optimizer.iterations) == 3:  # two batches an epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_train_batch_end", interrupt)
        with pytest.raises(SystemExit, match="to resume"):
            babi.main([*words, "--out", str(tmp_path / "cut")])
    babi.main(["--resume", str(tmp_path / "cut")])
    models = [keras.models.load_model(tmp_path / run / "last.keras") for run in ("whole", "cut")]
    for a, b in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(SystemExit, match="--epochs must be at least the 2 that the run has"):
        babi.main(["--resume", str(tmp_path / "cut"), "--epochs", "1"])


def test_a_question_is_right_if_all_words_of_its_answer_are():
    weights = np.array([[0, 1, 1, 0, 1, 0], [1, 0, 0, 0, 0, 0]])
    targets = np.array([[0, 5, 6, 0, 7, 0], [8, 0, 0, 0, 0, 0]])
    assert babi.questions(weights[0]) == [slice(1, 3), slice(4, 5)]
    assert babi.wrong_questions(targets, targets, weights) == (0, 3)
    answers = np.where(weights, targets, 9)  # other steps do not count
    assert babi.wrong_questions(answers, targets, weights) == (0, 3)
    answers[0, 1:3] = 0  # two wrong words of one question
    answers[1, 0] = 0
    assert babi.wrong_questions(answers, targets, weights) == (2, 3)


def test_validation_stories_are_held_out_of_the_training(folder):
    splits = babi.load(Options(path=folder))
    stories = {
        name: {x.tobytes() for x, _, _ in split.as_numpy_iterator()}
        for name, split in splits.items()
    }
    assert [int(split.cardinality()) for split in splits.values()] == [5, 1, 3]
    assert set(splits) == {"train", "validation", "test"}
    assert stories["train"] | stories["validation"] >= stories["test"]  # made so


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "21"], "--task: must be 1 to 20, got 21"),
        (["--blanks", "-1"], "--blanks: must be an integer >= 0, got -1"),
        (["--cell", "ntm", "--masked-lookup"], "--masked-lookup: goes with --cell dnc, not ntm"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        babi.main(arguments)
    assert words in capsys.readouterr().err


def test_a_missing_archive_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(SystemExit, match="none"):
        babi.main(["--path", str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()
