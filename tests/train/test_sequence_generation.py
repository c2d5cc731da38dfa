import argparse
import json
import resource
import shutil
import uuid

import keras
import numpy as np
import pytest
import tensorflow as tf
from matplotlib.image import imread

from mf_keras import TeacherForcing, callbacks, data
from train import copy_task, figures, sequence_generation
from train.run_folder import RunFolder

SMALL = ["--controller-units", "4", "--memory-size", "3", "--word-size", "2", "--num-reads", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    arguments = ["--dataset", "digits", "--epochs", "2", "--batch-size", "200", *SMALL]
    arguments += ["--pictures-every", "2"]
    sequence_generation.main([*arguments, "--learning-rate", "1e-2", "--out", str(folder)])
    return folder


def test_results_are_the_nll_of_the_best_generator_on_the_whole_test_split(run):
    results = json.loads((run / "results.json").read_text())
    generator = keras.models.load_model(run / "best.keras")
    test = np.stack(list(data.digits("test").as_numpy_iterator()))
    assert results["test"]["nll"] == pytest.approx(generator.nll(test).numpy().mean(), rel=1e-5)
    assert len(test) == 200


def test_history_has_a_row_for_each_epoch(run):
    header, *rows = (run / "history.csv").read_text().splitlines()
    assert {"epoch", "nll", "val_nll"} <= set(header.split(","))
    assert len(rows) == 2
    assert json.loads((run / "config.json").read_text())["learning_rate"] == 0.01


@pytest.mark.parametrize(
    "name", ["samples", "data", "nll", "memory", "memory_free_running", "memory_over_time"]
)
def test_pictures_show_something(run, name):
    assert imread(run / f"{name}.png")[..., :3].std() > 0.01


def test_draws_while_it_trains(run):
    names = {path.name for path in (run / "pictures").iterdir()}
    assert {"samples_0002.png", "memory_0002.png", "nll.png"} <= names
    assert any(path.stat().st_size > 1000 for path in (run / "events").iterdir())


def test_figures_4_and_5_are_drawn_from_runs(run, tmp_path):
    figures.main([str(run), "--out", str(tmp_path)])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {f"figure_{n}_digits-teacher_forcing-0.png" for n in (4, 5)}
    with pytest.raises(SystemExit, match="is no run folder"):
        figures.main([str(tmp_path), "--out", str(tmp_path / "other")])


def test_nothing_is_drawn_where_a_file_of_one_run_is_missing(run, tmp_path):
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "best.keras").unlink()
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "seed": 1}))
    with pytest.raises(SystemExit, match=r"best.keras"):
        figures.main([str(run), str(broken), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_runs_that_differ_in_options_are_drawn_apart(run, tmp_path):
    def names(*options):
        parsed = sequence_generation.parse_arguments(["--method", "memory_forcing", *options])
        return figures.names(parsed)

    assert names()[4] == "figure_4_digits-memory_forcing-0.png"
    assert names("--no-gate")[4] == "figure_4_digits-memory_forcing-no-gate-0.png"
    with pytest.raises(SystemExit, match=r"would both be drawn as figure_4_digits-teacher_forcing"):
        figures.main([str(run), str(shutil.copytree(run, tmp_path / "b")), "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_refuses_a_folder_that_holds_something(run):
    before = {path: path.stat().st_mtime_ns for path in run.iterdir()}
    with pytest.raises(SystemExit, match="holds something already"):
        sequence_generation.main(["--dataset", "digits", "--out", str(run)])
    assert {path: path.stat().st_mtime_ns for path in run.iterdir()} == before


def test_forces_without_gates_if_asked(tmp_path):
    arguments = ["--method", "memory_forcing", *SMALL]
    gated = sequence_generation.make_model(sequence_generation.parse_arguments(arguments))
    free = sequence_generation.parse_arguments([*arguments, "--no-gate"])
    assert gated.gate == (0.75, 0.99)
    assert sequence_generation.make_model(free).gate is None


def test_discriminators_have_a_learning_rate_of_their_own():
    for options, rate in (((), 1e-3), (("--discriminator-learning-rate", "0.25"), 0.25)):
        parsed = sequence_generation.parse_arguments(["--method", "memory_forcing", *options])
        players = sequence_generation.make_model(parsed).adversaries.values()
        rates = [float(player.optimizer.learning_rate) for player in players]
        np.testing.assert_allclose(rates, [rate] * 2)


def test_the_learning_rate_falls_to_0_if_asked(tmp_path):
    options = sequence_generation.parse_arguments(
        [
            "--learning-rate",
            "0.5",
            "--cosine",
            "--epochs",
            "2",
            "--out",
            str(tmp_path / "run"),
            *SMALL,
        ]
    )
    _, splits, _, model = sequence_generation.start(options)
    rate = keras.optimizers.schedules.deserialize(model.optimizer.get_config()["learning_rate"])
    steps = 2 * (1397 // 64)
    assert sequence_generation.batching(splits["train"], options) == (64, steps // 2)
    assert [float(rate(step)) for step in (0, steps // 2, steps)] == pytest.approx([0.5, 0.25, 0.0])
    with pytest.raises(SystemExit, match="--epochs must be the 2 over which --cosine"):
        sequence_generation.main(["--resume", str(tmp_path / "run"), "--epochs", "3"])


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


def test_raises_the_alarm_below_what_is_possible(monkeypatch, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    folder, config = RunFolder.open(tmp_path / "run")
    options = argparse.Namespace(**config)
    splits = sequence_generation.load(options)
    monkeypatch.setitem(sequence_generation.LOWEST_POSSIBLE_NLL, "digits", 4.0)
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


def test_ctrl_c_says_what_is_kept(monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(TeacherForcing, "fit", interrupted)
    with pytest.raises(SystemExit, match="stopped and saved"):
        sequence_generation.main(["--dataset", "digits", *SMALL, "--out", str(tmp_path / "run")])


def test_a_full_disk_ends_with_one_line_that_says_how_to_go_on(monkeypatch, tmp_path):
    out, limits, kept = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE), []

    def fit(self, *args, callbacks, **kwargs):
        """Saves, and saves again on a disk that has room for small files alone."""
        callbacks[-1].save()
        kept.append((out / "last.keras").read_bytes())
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
        callbacks[-1].save()

    monkeypatch.setattr(TeacherForcing, "fit", fit)
    try:
        with pytest.raises(SystemExit) as caught:
            sequence_generation.main(["--dataset", "digits", *SMALL, "--out", str(out)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    message = str(caught.value.code).strip()
    assert message.startswith(f"error: {out / 'last.keras'} could not be written: File too large.")
    assert message.endswith(f"to go on: python -m train.sequence_generation --resume {out}")
    assert "\n" not in message
    assert [(out / "last.keras").read_bytes()] == kept
    assert not list(out.glob(".*"))


def test_checkpoints_that_cannot_be_used_are_named(monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    out = tmp_path / "run"
    monkeypatch.setattr(TeacherForcing, "fit", interrupted)
    with pytest.raises(SystemExit, match="stopped and saved"):
        sequence_generation.main(["--dataset", "digits", *SMALL, "--out", str(out)])
    (out / "last.keras").write_bytes(b"half")
    with pytest.raises(SystemExit, match=r"no checkpoint can be used.*last\.keras.*cut short"):
        sequence_generation.main(["--resume", str(out)])
    assert (out / "last.keras").read_bytes() == b"half"


def test_a_resumed_run_ends_as_an_unbroken_one(monkeypatch, tmp_path):
    """Broken off in the middle of the second of two epochs; not compiled by XLA, for speed."""
    make_model = sequence_generation.make_model

    def graph_model(*arguments):
        model = make_model(*arguments)
        model.compile(model.optimizer, jit_compile=False)
        return model

    monkeypatch.setattr(sequence_generation, "make_model", graph_model)
    monkeypatch.setattr(sequence_generation, "draw", lambda *arguments: None)
    arguments = ["--dataset", "digits", "--epochs", "2", "--batch-size", "600", *SMALL]
    arguments += ["--learning-rate", "1e-2"]
    sequence_generation.main([*arguments, "--out", str(tmp_path / "whole")])
    on_batch_end = callbacks.Checkpoint.on_train_batch_end

    def interrupt(self, batch, logs=None):
        on_batch_end(self, batch, logs)
        if int(self.model.optimizer.iterations) == 3:  # two batches an epoch
            raise KeyboardInterrupt

    broken = str(tmp_path / "broken")
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Checkpoint, "on_train_batch_end", interrupt)
        with pytest.raises(SystemExit, match=r"to go on: .* --resume .*broken"):
            sequence_generation.main([*arguments, "--out", broken])
    left_over = tmp_path / "broken" / f".{uuid.uuid4().hex}.last.keras"
    left_over.write_bytes(b"half")
    sequence_generation.main(["--resume", broken])
    assert not left_over.exists()
    models = [
        keras.models.load_model(tmp_path / name / "last.keras") for name in ("whole", "broken")
    ]
    for a, b in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    folders = [RunFolder.open(tmp_path / name)[0] for name in ("whole", "broken")]
    rows = [folder.rows("history.csv") for folder in folders]
    assert all(row.pop("seconds") > 0 for row in rows[0] + rows[1])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2
    goes_on_to_more_epochs(folders[0], rows[0])


def test_a_resumed_run_trains_validates_and_chooses_by_the_right_data(monkeypatch, tmp_path):
    options = sequence_generation.parse_arguments(SMALL)
    folder = RunFolder(tmp_path / "run", vars(options))
    (folder / "history.csv").write_text("epoch,val_nll\n0,3.0\n1,1.0\n2,2.0\n")
    splits, model = sequence_generation.load(options), sequence_generation.make_model(options)
    given = {}

    def fit(model, batches, *arguments, **options):
        given.update(options, batches=batches)

    monkeypatch.setattr(sequence_generation.resuming, "fit_from_checkpoint", fit)
    assert sequence_generation.train(model, splits, options, folder) == 2
    (best,) = [each for each in given["callbacks"] if isinstance(each, callbacks.SaveBest)]
    assert (best.best, best.best_epoch) == (1.0, 2)

    def images(batches):
        return {image.tobytes() for batch in batches.as_numpy_iterator() for image in batch}

    assert images(given["validation_data"]) == images(splits["validation"].batch(200))
    assert images(given["batches"].take(21)) <= images(splits["train"].batch(200))


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
    options = [*SMALL, "--method", "memory_forcing", "--seed", "5", "--no-gate"]
    model = sequence_generation.make_model(sequence_generation.parse_arguments(options))
    assert (model.seed, model.gate) == (5, None)


@pytest.mark.parametrize("command", [sequence_generation, copy_task])
def test_refuses_options_that_a_resumed_run_would_not_look_at(command, capsys):
    same = ["--method", "teacher_forcing"]  # as by default
    for option in (["--seed", "3"], ["--no-gate"], ["--out", "y"], ["--steps", "2000"], same):
        if command is copy_task and option[0] == "--seed":
            option = ["--first-seed", "3"]
        if command is sequence_generation and option[0] == "--steps":
            option = ["--batch-size", "2"]
        with pytest.raises(SystemExit):
            command.parse_arguments(["--resume", "x", *option])
        assert f"argument {option[0]}: the run has its own" in capsys.readouterr().err


def test_a_resumed_run_finds_data_that_have_moved(tmp_path):
    options = sequence_generation.parse_arguments(["--data-dir", "old", *SMALL])
    folder = RunFolder(tmp_path / "run", vars(options))
    more = ["--resume", str(folder.path), "--data-dir", "new"]
    sequence_generation.start(sequence_generation.parse_arguments(more))
    assert RunFolder.open(folder.path)[1] == {**vars(options), "data_dir": "new"}


def broken_off(*arguments):
    raise OSError("broken off")


def goes_on_to_more_epochs(folder, before):
    more = ["--resume", str(folder.path), "--epochs", "3"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sequence_generation, "evaluate", broken_off)
        with pytest.raises(OSError, match="broken off"):
            sequence_generation.main(more)
    assert not (folder / "results.json").exists()  # they were those of two epochs
    sequence_generation.main(more)
    rows = folder.rows("history.csv")
    assert len(rows) == 3
    assert [{k: v for k, v in row.items() if k != "seconds"} for row in rows[:2]] == before
    assert folder.read_json("results.json")["epochs"] == 3
    with pytest.raises(SystemExit, match="--epochs must be at least the 3 that the run has, got 2"):
        sequence_generation.main(["--resume", str(folder.path), "--epochs", "2"])
    assert RunFolder.open(folder.path)[1]["epochs"] == 3


def test_resuming_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="is no run folder"):
        sequence_generation.main(["--resume", str(tmp_path)])
