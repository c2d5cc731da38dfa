"""Music, text and strokes in train.sequence_generation: small made data, nothing is compiled."""

import json
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from matplotlib.image import imread
from pandas.testing import assert_frame_equal

from mf_keras import SequenceGenerator, callbacks, data
from mf_keras.data import lengths as streams
from tests.data.test_strokes import write
from tests.train.small import SIZES, without
from train import behaviour, export, figures, samples, sequence_data, sequence_generation
from train.runs.folder import RunFolder
from train.sequence_generation import Options

ONE = ["--epochs", "1", "--batch-size", "2", "--learning-rate", "1e-2"]
GRU = ["--cell", "gru", "--controller-units", "4"]  # eagerly a tenth of the DNC's time
STEPS = {"train": (2, 4, 2, 6, 1), "validation": (2, 5), "test": (1, 7, 3)}


@pytest.fixture(autouse=True)
def eagerly(monkeypatch):
    monkeypatch.setattr(sequence_data, "MULTIPLE", 2)
    monkeypatch.setattr(sequence_data, "BUCKETS", 2)
    monkeypatch.setattr(sequence_generation, "SHOWN", 8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the `tf.config.experimental_run_functions")
        tf.config.run_functions_eagerly(True)
        yield
        tf.config.run_functions_eagerly(False)


def made(split, step=(88,), values=2, dtype="float32"):
    """A stream of short sequences of 0 to values - 1."""
    rng = np.random.default_rng(len(split))
    found = [rng.integers(0, values, (t, *step)) for t in STEPS[split]]
    return streams.stream_of([x.astype("uint8") for x in found], dtype)


@pytest.fixture
def music(monkeypatch):
    """Made pieces instead of the published ones."""
    monkeypatch.setattr(data, "polyphonic_music", lambda name, split, folder: made(split))


def run(tmp_path, *arguments):
    folder = tmp_path / "run"
    sequence_generation.main([*ONE, *arguments, "--out", str(folder)])
    results = json.loads((folder / "results.json").read_text())
    return folder, results, keras.models.load_model(folder / "best.keras")


def nll_of(generator, split):
    """NLL of single sequences, without any padding."""
    return [float(generator.nll(x[None])[0]) for x in split.as_numpy_iterator()]


@pytest.mark.long
def test_music_counts_frames(music, tmp_path, capsys):
    folder, results, generator = run(tmp_path, "--dataset", "music", "--dropout", "0.2", *SIZES)
    found, frames = nll_of(generator, made("test")), sum(STEPS["test"])
    test = results["test"]
    assert test["nll"] == pytest.approx(np.mean(found), rel=1e-5)
    assert test["nll_per_step"] == pytest.approx(sum(found) / frames, rel=1e-5)
    firsts = [float(generator.nll(x[None, :1])[0]) for x in made("test").as_numpy_iterator()]
    later = (sum(found) - sum(firsts)) / (frames - len(found))
    assert test["nll_per_later_step"] == pytest.approx(later, rel=1e-5)
    assert f"{later:.3f} without the first of each piece" in capsys.readouterr().out
    for name in ("samples", "data", "nll", "memory", "memory_free_running", "memory_over_time"):
        assert imread(folder / f"{name}.png")[..., :3].std() > 0.01
    assert generator.cell.controller.dropout == generator.cell.controller.recurrent_dropout == 0.2


@pytest.mark.long
def test_runs_of_unequal_lengths_are_measured_drawn_and_exported(music, tmp_path, monkeypatch):
    monkeypatch.setitem(STEPS, "validation", (4, 3, 5))
    folder, results, _ = run(tmp_path, "--dataset", "music", *SIZES)
    behaviour.main([str(folder), "--out", str(tmp_path / "behaviour")])
    rows = pd.read_csv(tmp_path / "behaviour" / "distances.csv")
    assert set(rows["step"]) == {1, 2, 3}  # which two of three pieces of the test split have
    figures.main([str(folder), "--out", str(tmp_path / "figures")])
    assert len(list((tmp_path / "figures").glob("figure_[45]_music-teacher_forcing-0.png"))) == 2
    with pytest.raises(SystemExit, match="the data must be images for this, got --dataset music"):
        samples.main([str(folder), "--out", str(tmp_path / "samples")])
    given = {}
    monkeypatch.setattr(
        SequenceGenerator, "export", lambda self, out, **options: given.update(options, out=out)
    )
    export.main([str(folder), "--out", str(tmp_path / "music" / "1")])
    assert (given["length"], given["unequal_lengths"]) == (8, True)
    assert given["card"]["data"] == "music, pieces of frames of 88 keys, jsb"
    assert f"{results['test']['nll_per_step']:.3f} nats a frame" in given["card"]["NLL"]


@pytest.mark.long
def test_a_gru_without_memory_is_the_baseline(music, tmp_path):
    folder, _, generator = run(tmp_path, "--dataset", "music", *GRU)
    piece = next(made("test").as_numpy_iterator())
    layer = keras.layers.RNN(generator.cell.controller, return_sequences=True)
    shifted = np.concatenate([np.zeros((1, 88), "float32"), piece[:-1]])
    inputs = np.concatenate([shifted, np.zeros((len(piece), 1), "float32")], axis=1)
    hidden = layer(inputs[None])
    kernel, bias = generator.cell.readout.get_weights()
    logits = np.clip(hidden, -20, 20) @ kernel[:4] + bias
    np.testing.assert_allclose(generator(piece[None]), logits, atol=1e-5)
    assert not (folder / "memory.png").exists()


@pytest.mark.long
def test_an_interrupted_run_of_unequal_lengths_ends_as_one_that_was_not(
    music, monkeypatch, tmp_path
):
    monkeypatch.setattr(sequence_generation, "draw", lambda *arguments: None)
    words = [*ONE, *GRU, "--dataset", "music", "--epochs", "2", "--dropout", "0.3"]
    sequence_generation.main([*words, "--out", str(tmp_path / "whole")])
    on_batch_end = callbacks.Checkpoint.on_train_batch_end

    def interrupt(self, batch, logs=None):
        on_batch_end(self, batch, logs)
        if int(self.model.optimizer.iterations) == 4:  # three batches an epoch
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_train_batch_end", interrupt)
        with pytest.raises(SystemExit, match="to resume"):
            sequence_generation.main([*words, "--out", str(tmp_path / "cut")])
    sequence_generation.main(["--resume", str(tmp_path / "cut")])
    models = [keras.models.load_model(tmp_path / run / "last.keras") for run in ("whole", "cut")]
    for a, b in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [
        RunFolder.open(tmp_path / run, Options)[0].history("history.csv")
        for run in ("whole", "cut")
    ]
    assert_frame_equal(*map(without, rows))


@pytest.mark.long
def test_a_sequence_gan_of_lines_writes_text_that_is_scored(tmp_path, capsys):
    texts = {
        "train": "abc\nacbb\nb\ncaab\n",
        "validation": "ab\n",
        "test": "cab\nbd\n",
    }  # a character only here
    paths = []
    for name, text in texts.items():
        (tmp_path / f"{name}.txt").write_text(text)
        paths.append(str(tmp_path / f"{name}.txt"))
    words = [*GRU, "--method", "sequence_gan", "--warm-up-steps", "1", "--dataset", "lines"]
    folder, results, generator = run(tmp_path, *words, "--files", *paths)
    vocabulary = data.vocabulary_of(*paths)
    found = nll_of(generator, data.text_lines(paths[2], vocabulary))
    assert results["test"]["nll"] == pytest.approx(np.mean(found), rel=1e-5)
    assert f"{np.mean(found):.2f} nats a line" in capsys.readouterr().out
    assert (folder / "data.txt").read_text() == texts["train"]
    text = (folder / "samples.txt").read_text()
    assert len(text.splitlines()) == 8
    assert set(text) <= set("abcd\n")
    history = RunFolder.open(folder, Options)[0].history("history.csv")
    assert {"reward", "critic_loss", "c_s", "discriminator_accuracy"} <= set(history)
    out = tmp_path / "samples"
    few = ["--samples", "20", "--temperatures", "0.5", "1", "--out", str(out)]
    samples.main([str(folder), *few])
    assert "| test lines | | - | | 1.000 | | 1.000 |" in (out / "samples.md").read_text()
    scored = pd.read_csv(out / "samples.csv")
    assert scored["method"].tolist() == ["sequence_gan --warm-up-steps 1"] * 2
    assert scored[["unique", "new"]].stack().between(0.0, 1.0).all()
    assert (out / "samples.png").stat().st_size > 1000


def test_characters_have_bits(monkeypatch, tmp_path, capsys):
    def characters(split, length, folder):
        tokens = np.random.default_rng(0).integers(0, 65, (5, length)).astype("int32")
        return tf.data.Dataset.from_tensor_slices(tokens)

    monkeypatch.setattr(data, "characters", characters)
    _, results, generator = run(tmp_path, *GRU, "--dataset", "characters", "--length", "6")
    bits = np.mean(nll_of(generator, characters("test", 6, None))) / 6 / np.log(2)
    assert results["test"]["bits_per_step"] == pytest.approx(bits, rel=1e-5)
    assert f"{bits:.3f} bits per character" in capsys.readouterr().out


@pytest.mark.long
def test_strokes_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    drawings = {
        name: [np.c_[rng.normal(size=(t, 2)), rng.integers(0, 2, t)] for t in (4, 6)]
        for name in ("train", "valid", "test")
    }
    path = str(write(tmp_path / "drawings.npz", drawings))
    words = [*GRU, "--dataset", "strokes", "--files", path, "--components", "2"]
    folder, results, generator = run(tmp_path, *words)
    found = nll_of(generator, data.strokes(path, "test"))
    assert results["test"]["nll_per_step"] == pytest.approx(sum(found) / 10, rel=1e-5)
    assert imread(folder / "data.png")[..., :3].std() > 0.01


def test_batches_of_unequal_lengths():
    split, lengths = made("train"), (2, 6)
    buckets = sequence_data.in_buckets(sequence_data.steps_of(split), lengths, 2)
    assert [(steps, rows.tolist(), size) for steps, rows, size in buckets] == [
        (2, [0, 2, 4], 2),
        (6, [1, 3], 2),
    ]
    originals = {x.tobytes() for x in split.as_numpy_iterator()}
    epochs = []
    for seed, skipped in ((0, 0), (0, 2), (1, 0)):
        batches = sequence_data.batches_of_unequal(split, lengths, 2, seed).skip(skipped).take(2)
        found = []
        for x, _, weights in batches.as_numpy_iterator():
            assert x.shape[1] in lengths
            steps = weights.sum(axis=1).astype(int)
            assert all((row[:t] == 1).all() for row, t in zip(weights, steps, strict=True))
            found += [row[:t].tobytes() for row, t in zip(x, steps, strict=True)]
        assert len(set(found)) == 4
        assert set(found) <= originals
        epochs.append(found)
    assert epochs[0] != epochs[1]
    assert epochs[0] != epochs[2]
    options = Options(dataset="music", batch_size=2)
    assert sequence_generation.batching(split, options, lengths) == (2, 2)


def test_lengths_divide_the_training_sequences():
    splits = {name: made(name) for name in STEPS}
    assert sequence_data.bucket_lengths(splits) == (2, 8)
    assert sequence_data.bucket_lengths(splits, buckets=1) == (8,)
    assert sequence_data.bucket_lengths(splits, buckets=3) == (2, 4, 8)
    same = dict.fromkeys(STEPS, tf.data.Dataset.from_tensor_slices(np.ones((3, 5, 1))))
    assert sequence_data.bucket_lengths(same) == (6,)
