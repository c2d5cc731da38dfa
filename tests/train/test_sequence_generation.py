import dataclasses
import hashlib
import json
import resource
import shutil
import uuid

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from matplotlib.image import imread
from pandas.testing import assert_frame_equal

from mf_keras import TeacherForcing, callbacks
from tests.train.small import GENERATION, IMAGES, SIZES, small_splits, without
from train import sequence_data, sequence_generation
from train.runs import resuming
from train.runs.folder import RunFolder
from train.sequence_generation import Options


def test_results_are_the_nll_of_the_best_generator_on_the_whole_test_split(generation_run):
    results = json.loads((generation_run / "results.json").read_text())
    generator = keras.models.load_model(generation_run / "best.keras")
    test = sequence_generation.images(small_splits()["test"])
    assert results["test"]["nll"] == pytest.approx(generator.nll(test).numpy().mean(), rel=1e-5)
    assert len(test) == IMAGES["test"]


def test_history_has_a_row_for_each_epoch(generation_run):
    header, *rows = (generation_run / "history.csv").read_text().splitlines()
    assert {"epoch", "nll", "val_nll"} <= set(header.split(","))
    assert len(rows) == 2
    assert json.loads((generation_run / "config.json").read_text())["learning_rate"] == 0.01


@pytest.mark.parametrize(
    "name", ["samples", "data", "nll", "memory", "memory_free_running", "memory_over_time"]
)
def test_pictures_show_something(generation_run, name):
    assert imread(generation_run / f"{name}.png")[..., :3].std() > 0.01


def test_draws_during_the_training(generation_run):
    names = {path.name for path in (generation_run / "pictures").iterdir()}
    assert {"samples_0002.png", "memory_0002.png", "nll.png"} <= names
    assert any(path.stat().st_size > 1000 for path in (generation_run / "events").iterdir())


def test_refuses_a_folder_that_holds_something(generation_run):
    before = {path: path.stat().st_mtime_ns for path in generation_run.iterdir()}
    with pytest.raises(SystemExit, match="exists and is not empty"):
        sequence_generation.main(["--dataset", "digits", "--out", str(generation_run)])
    assert {path: path.stat().st_mtime_ns for path in generation_run.iterdir()} == before


def test_forces_without_gates_if_asked(tmp_path):
    arguments = ["--method", "memory_forcing", *SIZES]
    gated = sequence_generation.make_model(Options.parse(arguments))
    free = Options.parse([*arguments, "--no-gate"])
    assert gated.gate == (0.75, 0.99)
    assert sequence_generation.make_model(free).gate is None


def test_discriminators_of_behaviours_are_scored_on_validation_sequences(tmp_path):
    def scores(validation, *words):
        options = Options.parse([*SIZES, *words])
        model = sequence_generation.make_model(options)
        return sequence_generation.scores(model, validation or load(options), options)

    def load(options):
        return sequence_generation.load(options)["validation"]

    digits = small_splits()["validation"]
    assert scores(digits) == []
    (found,) = scores(digits, "--method", "professor_forcing")
    np.testing.assert_array_equal(found.x, sequence_generation.images(digits))
    for name, text in {"train": "abc\n", "validation": "ab\nc\n", "test": "b\n"}.items():
        (tmp_path / name).write_text(text)
    files = [str(tmp_path / name) for name in ("train", "validation", "test")]
    lines = ["--dataset", "lines", "--files", *files]
    (found,) = scores(None, "--method", "memory_forcing", *lines)
    np.testing.assert_array_equal(found.x, [[1, 2, 0], [3, 0, 0]])
    np.testing.assert_array_equal(found.mask, [[True] * 3, [True, True, False]])


def test_the_last_lines_say_what_the_discriminators_did():
    history = pd.DataFrame(
        {
            "hidden_discriminator_gate_open": [0.0, 0.5],
            "hidden_discriminator_accuracy": [0.5, 0.75],
            "val_hidden_discriminator_auc": [0.5, 0.625],
        }
    )
    (line,) = sequence_generation.game(history, Options(method="professor_forcing"))
    assert "in 25 % of the steps" in line
    assert "accuracy in the last epoch 0.75, AUC on held-out behaviours 0.62" in line
    assert sequence_generation.game(history, Options()) == []


def test_discriminators_have_a_learning_rate_of_their_own():
    for options, rate in (((), 1e-3), (("--discriminator-learning-rate", "0.25"), 0.25)):
        parsed = Options.parse(["--method", "memory_forcing", *options])
        players = sequence_generation.make_model(parsed).adversaries.values()
        rates = [float(player.optimizer.learning_rate) for player in players]
        np.testing.assert_allclose(rates, [rate] * 2)


def test_says_at_once_that_data_is_missing_and_writes_nothing(tmp_path):
    out = tmp_path / "run"
    arguments = ["--dataset", "binarized_mnist", "--data-dir", str(tmp_path / "none")]
    with pytest.raises(SystemExit, match="data_dir must be an existing folder"):
        sequence_generation.main([*arguments, "--out", str(out)])
    assert not out.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--dataset", "faces"],
        ["--dataset", "digits", "--method", "none"],
        ["--dataset", "digits", "--no-gate"],
        ["--dataset", "digits", "--discriminator-learning-rate", "0.1"],
        ["--dataset", "digits", "--epochs", "0"],
        ["--dataset", "digits", "--learning-rate", "nan"],
        ["--dataset", "digits", "--memory-size", "2.5"],
        ["--dataset", "digits", "--seed", "-1"],
    ],
)
def test_refuses_unknown_options(arguments, tmp_path, capsys):
    out = tmp_path / "run"
    with pytest.raises(SystemExit, match="2"):
        sequence_generation.main([*arguments, "--out", str(out)])
    assert arguments[-2] in capsys.readouterr().err
    assert not out.exists()


def test_raises_the_alarm_below_what_is_possible(monkeypatch, small, generation_run, tmp_path):
    shutil.copytree(generation_run, tmp_path / "run")
    folder, options = RunFolder.open(tmp_path / "run", Options)
    splits = sequence_generation.load(options)
    monkeypatch.setattr(sequence_data.DATASETS["digits"], "lowest_nll", 4.0)
    monkeypatch.setattr(sequence_generation, "draw", lambda *arguments: None)
    for nll in (3.9, 4.1):
        results = {"nll": nll, "bits_per_step": nll / 64}
        monkeypatch.setattr(
            sequence_generation, "evaluate", lambda *arguments, results=results: [results] * 2
        )
        if nll < 4.0:
            with pytest.raises(SystemExit, match=r"ALARM: 3\.90 nats"):
                sequence_generation.finish(options, splits, 1, folder)
        else:
            sequence_generation.finish(options, splits, 1, folder)


def test_ctrl_c_says_what_is_kept(monkeypatch, small, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(TeacherForcing, "fit", interrupted)
    with pytest.raises(SystemExit, match="stopped and saved"):
        sequence_generation.main(["--dataset", "digits", *SIZES, "--out", str(tmp_path / "run")])


def test_a_full_disk_ends_with_one_line_that_says_how_to_resume(monkeypatch, small, tmp_path):
    out, limits, kept = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE), []

    def fit(self, *args, callbacks, **kwargs):
        """Saves, and saves again on a disk that has room only for small files."""
        callbacks[-1].save()
        kept.append((out / "last.keras").read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        callbacks[-1].save()

    monkeypatch.setattr(TeacherForcing, "fit", fit)
    try:
        with pytest.raises(SystemExit) as caught:
            sequence_generation.main(["--dataset", "digits", *SIZES, "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value.code).strip()
    assert message.startswith(f"error: {out / 'last.keras'} could not be written: File too large.")
    assert message.endswith(f"to resume: python -m train.sequence_generation --resume {out}")
    assert "\n" not in message
    assert [(out / "last.keras").read_bytes()] == kept
    assert not list(out.glob(".*"))


def test_checkpoints_that_cannot_be_used_are_named(monkeypatch, small, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    monkeypatch.setattr(TeacherForcing, "fit", interrupted)
    with pytest.raises(SystemExit, match="stopped and saved"):
        sequence_generation.main(["--dataset", "digits", *SIZES, "--out", str(out)])
    (out / "last.keras").write_bytes(b"half")
    with pytest.raises(SystemExit, match=r"no checkpoint can be used.*last\.keras.*cut short"):
        sequence_generation.main(["--resume", str(out)])
    assert (out / "last.keras").read_bytes() == b"half"


@pytest.mark.long
def test_a_resumed_run_ends_as_an_uninterrupted_one(monkeypatch, small, generation_run, tmp_path):
    """Interrupted in the middle of the second of two epochs."""
    monkeypatch.setattr(sequence_generation, "draw", lambda *arguments: None)
    on_batch_end = callbacks.Checkpoint.on_train_batch_end

    def interrupt(self, batch, logs=None):
        on_batch_end(self, batch, logs)
        if int(self.model.optimizer.iterations) == 3:  # two batches an epoch
            raise KeyboardInterrupt

    path = tmp_path / "interrupted"
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_train_batch_end", interrupt)
        with pytest.raises(SystemExit, match=r"to resume: .* --resume .*interrupted"):
            sequence_generation.main([*GENERATION, "--out", str(path)])
    left_over = path / f".{uuid.uuid4().hex}.last.keras"
    left_over.write_bytes(b"half")
    sequence_generation.main(["--resume", str(path)])
    assert not left_over.exists()
    models = [keras.models.load_model(run / "last.keras") for run in (generation_run, path)]
    for a, b in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    folders = [RunFolder.open(run, Options)[0] for run in (generation_run, path)]
    rows = [folder.history("history.csv") for folder in folders]
    assert all((each["seconds"] > 0).all() for each in rows)
    assert_frame_equal(without(rows[0]), without(rows[1]))
    assert len(rows[0]) == 2
    resumes_to_more_epochs(folders[1], rows[1])


def resumes_to_more_epochs(folder, before):
    def interrupted(*arguments):
        raise OSError("interrupted")

    more = ["--resume", str(folder.path), "--epochs", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence_generation, "evaluate", interrupted)
        with pytest.raises(OSError, match="interrupted"):
            sequence_generation.main(more)
    assert not (folder / "results.json").exists()  # they were those of two epochs
    sequence_generation.main(more)
    rows = folder.history("history.csv")
    assert len(rows) == 3
    assert_frame_equal(without(rows[:2]), without(before))
    assert folder.read_json("results.json")["epochs"] == 3
    with pytest.raises(SystemExit, match="--epochs must be at least the 3 that the run has, got 2"):
        sequence_generation.main(["--resume", str(folder.path), "--epochs", "2"])
    assert RunFolder.open(folder.path, Options)[1].epochs == 3


def test_a_resumed_run_trains_validates_and_chooses_by_the_right_data(monkeypatch, small, tmp_path):
    options = Options.parse(SIZES)
    folder = RunFolder(tmp_path / "run", options)
    (folder / "history.csv").write_text("epoch,val_nll\n0,3.0\n1,1.0\n2,2.0\n")
    splits, model = sequence_generation.load(options), sequence_generation.make_model(options)
    given = {}

    def fit(model, batches, *arguments, **options):
        given.update(options, batches=batches)

    monkeypatch.setattr(resuming, "fit_from_checkpoint", fit)
    assert sequence_generation.train(model, splits, options, folder) == 2
    (best,) = [each for each in given["callbacks"] if isinstance(each, callbacks.SaveBest)]
    assert (best.best, best.best_epoch) == (1.0, 2)

    def images(batches):
        return {image.tobytes() for batch in batches.as_numpy_iterator() for image in batch}

    assert images(given["validation_data"]) == images(splits["validation"].batch(200))
    assert images(given["batches"].take(2)) <= images(splits["train"].batch(200))


def test_an_epoch_holds_every_image_once_in_an_order_of_seed_and_epoch():
    def epochs(seed):
        split = tf.data.Dataset.range(10)
        batches = sequence_generation.training_batches(split, 5, seed).take(4)
        return np.stack(list(batches.as_numpy_iterator())).reshape(2, 10)

    first = epochs(0)
    assert (np.sort(first) == np.arange(10)).all()
    assert (first[0] != first[1]).any()
    assert (epochs(0) == first).all()
    assert (epochs(1) != first).any()


def test_the_seed_is_that_of_the_noise_too():
    options = [*SIZES, "--method", "memory_forcing", "--seed", "5", "--no-gate"]
    model = sequence_generation.make_model(Options.parse(options))
    assert (model.seed, model.gate) == (5, None)


def test_a_resumed_run_finds_data_that_have_moved(small, tmp_path):
    folder = RunFolder(
        tmp_path / "run",
        Options.parse(["--dataset", "binarized_mnist", "--data-dir", "old", *SIZES]),
    )
    config = folder.read_json("config.json")
    more = ["--resume", str(folder.path), "--data-dir", "new"]
    sequence_generation.start(Options.parse(more))
    assert folder.read_json("config.json") == {**config, "data_dir": "new"}


def test_the_learning_rate_falls_over_all_epochs(small, tmp_path):
    words = ["--learning-rate", "0.5", "--cosine", "--epochs", "3", "--batch-size", "4", *SIZES]
    options = Options.parse([*words, "--out", str(tmp_path / "run")])
    _, splits, _, model = sequence_generation.start(options)
    rate = keras.optimizers.schedules.deserialize(model.optimizer.get_config()["learning_rate"])
    assert sequence_generation.batching(splits["train"], options) == (4, 2)
    assert [float(rate(step)) for step in (0, 3, 6)] == pytest.approx([0.5, 0.25, 0.0])
    with pytest.raises(SystemExit, match="--epochs must be the 3 over which --cosine"):
        sequence_generation.main(["--resume", str(tmp_path / "run"), "--epochs", "4"])


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="is no run folder"):
        sequence_generation.main(["--resume", str(tmp_path)])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "digits", "--collection", "nottingham"], "--collection: --dataset digits"),
        (["--dataset", "music", "--length", "5"], "--length: --dataset music has none"),
        (["--dataset", "music", "--files", "a"], "--files: --dataset music has none"),
        (["--dataset", "strokes", "--data-dir", "a"], "--data-dir: --dataset strokes has none"),
        (["--dataset", "music", "--pictures-every", "1"], "--pictures-every: --dataset music is"),
        (["--cell", "gru", "--num-reads", "2"], "--num-reads: --cell gru has no memory"),
        (["--cell", "gru", "--method", "memory_forcing"], "--method: --cell gru has no memory"),
        (["--method", "professor_forcing", "--rollouts", "2"], "goes with --method sequence_gan"),
        (["--method", "sequence_gan", "--rollouts", "2"], "--rollouts: goes with --reward final"),
        (["--method", "sequence_gan", "--no-gate"], "--no-gate: --method sequence_gan has no"),
        (
            ["--method", "sequence_gan", "--layer-normalization"],
            "goes with --method professor_forcing",
        ),
        (["--dropout", "1"], r"--dropout: must be a number in [0, 1), got '1'"),
    ],
)
def test_options_that_do_not_fit_are_refused(arguments, words, capsys):
    with pytest.raises(SystemExit, match="2"):
        sequence_generation.main(arguments)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "lines"], "needs --files TRAINING VALIDATION TEST"),
        (["--dataset", "strokes"], "needs --files FILE"),
        (["--dataset", "strokes", "--files", "none.npz"], "path must be an existing file"),
        (["--dataset", "music", "--data-dir", "none"], "none"),
    ],
)
def test_missing_files_are_named_before_anything_is_written(arguments, words, tmp_path):
    with pytest.raises(SystemExit, match=words):
        sequence_generation.main([*arguments, "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_runs_on_files_with_other_content_are_not_those_of_one_comparison(tmp_path):
    paths = [tmp_path / name for name in ("train", "validation", "test")]
    for path, text in zip(paths, ("abc\n", "ab\n", "b\n"), strict=True):
        path.write_text(text)
    files = [str(path) for path in paths]
    words = ["--dataset", "lines", "--files", *files, *SIZES, "--out", str(tmp_path / "run")]
    options, *_ = sequence_generation.start(Options.parse(words))
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["files_sha256"]
    assert stored == options.files_sha256 == hashlib.sha256(b"abc\nab\nb\n").hexdigest()
    other = dataclasses.replace(options, files_sha256="0")
    assert other.settings() != options.settings()
    moved = [shutil.copy(file, f"{file}.moved") for file in files]
    resume = ["--resume", str(tmp_path / "run"), "--files"]
    again, *_ = sequence_generation.start(Options.parse([*resume, *moved]))
    assert (again.files, again.settings()) == (moved, options.settings())
    paths[0].write_text("abd\n")
    with pytest.raises(ValueError, match="--files must hold what they held"):
        sequence_generation.start(Options.parse([*resume, *files]))


def test_rare_settings_are_named_where_they_are_given():
    assert not {"dropout", "collection", "length"} & Options().settings().keys()
    settings = Options(dataset="music", collection="nottingham", dropout=0.25).settings()
    assert (settings["collection"], settings["dropout"]) == ("nottingham", 0.25)
