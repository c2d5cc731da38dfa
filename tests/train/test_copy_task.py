import json
import uuid

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import NTMCell
from train import compare, copy_task, figures
from train.run_folder import RunFolder

SMALL = ["--controller-units", "4", "--memory-size", "3", "--word-size", "2", "--num-reads", "1"]
TASK = ["--length", "2", "--width", "1", "--batch-size", "2", "--learning-rate", "1e-2"]


def test_counts_correct_predictions_for_every_seed(tmp_path):
    out = tmp_path / "run"
    copy_task.main(["--steps", "1000", "--seeds", "2", *TASK, *SMALL, "--out", str(out)])
    results = json.loads((out / "results.json").read_text())
    assert set(results) == {"0", "1"}
    for seed, result in results.items():
        assert 0 < result["correct_predictions"] < result["predictions"] == 2000
        rows = (out / f"seed_{seed}.csv").read_text().splitlines()
        column = rows[0].split(",").index("correct_predictions")
        assert float(rows[1].split(",")[column]) == result["correct_predictions"]
        assert keras.models.load_model(out / f"seed_{seed}.keras").units == 1
    assert (out / "nll.png").stat().st_size > 1000


def test_options_reach_the_model():
    words = (
        "--method positive_negative --weight 10 --no-gate --capacity 7 --discriminator-batch 3 "
        "--discriminator-learning-rate 0.5 --final-memory --learning-rate 0.25"
    )
    options = copy_task.parse_arguments([*words.split(), *SMALL])
    model, other = (copy_task.make_model(options, seed) for seed in (4, 5))
    player, adam, cell = model.adversaries["memory"], model.optimizer, model.transducer.cell
    assert (model.cost_weights["memory"], model.gate, model.seed) == (10.0, None, 4)
    assert (model.replay.capacity, model.discriminator_batch, model.final_memory) == (7, 3, True)
    assert (float(player.optimizer.learning_rate), float(adam.learning_rate)) == (0.5, 0.25)
    assert (adam.beta_1, adam.beta_2, adam.epsilon) == (0.9, 0.98, 1e-9)  # the paper's
    assert (cell.controller.units, cell.memory_size) == (4, 3)
    assert (cell.word_size, cell.num_reads) == (2, 1)
    kernels = [np.array(each.transducer.cell.interface.kernel) for each in (model, other)]
    assert (kernels[0] != kernels[1]).any()
    ntm = copy_task.make_model(copy_task.parse_arguments(["--cell", "ntm", *SMALL]), 0)
    assert isinstance(ntm.generator.cell, NTMCell)


def test_first_window_of_95_percent():
    options = copy_task.parse_arguments(["--steps", "3000"])
    history = [
        {"correct_predictions": right, "nll": nll, "seconds": 1.5}
        for right, nll in ((10.0, 3.0), (949.0, 2.0), (951.0, 1.0))
    ]
    summary = copy_task.summarize(history, options)
    assert summary["steps_to_95_percent"] == 3000
    assert summary["correct_predictions"] == 1910
    assert summary["last_nll"] == 1.0
    assert summary["seconds"] == 4.5


@pytest.fixture
def small_windows(monkeypatch):
    """Runs of few steps, in Python: compiling would take longer than they do."""
    monkeypatch.setattr(copy_task, "WINDOW", 4)
    monkeypatch.setattr(copy_task, "STEPS_PER_EXECUTION", 2)
    monkeypatch.setattr(copy_task, "LONGER", (1,))
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Break(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) >= 6:
            raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly")
def test_a_broken_run_resumes_to_the_same_numbers(tmp_path, small_windows, monkeypatch):
    def run(out):
        forcing = ["--capacity", "20", "--discriminator-batch", "2", "--weight", "0.5"]
        sizes = ["--steps", "12", "--checkpoint-windows", "1", *TASK, *SMALL, *forcing]
        copy_task.main(["--method", "positive_negative", *sizes, "--out", str(out)])

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run(whole)
    with monkeypatch.context() as patch:
        patch.setattr(copy_task.callbacks, "StopOnNonFinite", Break)
        with pytest.raises(SystemExit, match=r"--resume .*broken"):
            run(broken)
    assert (broken / "seed_0-last.keras").exists()
    (broken / f".{uuid.uuid4().hex}.seed_0-last.keras").write_bytes(b"half")
    copy_task.main(["--resume", str(broken)])
    assert not (broken / "seed_0-last.keras").exists()
    first, second = (json.loads((out / "results.json").read_text())["0"] for out in (whole, broken))
    del first["seconds"], second["seconds"]
    assert first == second
    models = [keras.models.load_model(out / "seed_0.keras") for out in (whole, broken)]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(a, b)
    rows = [folder.rows("seed_0.csv") for folder, _ in map(RunFolder.open, (whole, broken))]
    for row in rows[0] + rows[1]:
        del row["seconds"]
    assert rows[0] == rows[1]
    assert {p.name for p in broken.iterdir()} == {p.name for p in whole.iterdir()}
    assert (broken / "discriminator.png").stat().st_size > 1000
    (tmp_path / "figures").mkdir()
    arm = "positive_negative-capacity-20-discriminator-batch-2-weight-0.5"
    mine = tmp_path / "figures" / f"figure_2_{arm}-0.png"
    mine.write_text("mine")
    with pytest.raises(SystemExit, match=r"figure_2_.* is not of this program's"):
        figures.main([str(whole), "--out", str(tmp_path / "figures")])
    assert mine.read_text() == "mine"
    mine.unlink()
    figures.main([str(whole), "--out", str(tmp_path / "figures")])
    for number in (1, 2):
        picture = tmp_path / "figures" / f"figure_{number}_{arm}-0.png"
        assert picture.stat().st_size > 1000


def without_figures_1_and_2(monkeypatch):
    """`finished` runs have no half-trained transducer to draw."""
    for name in ("read_copying", "draw_copying"):
        monkeypatch.setattr(figures, name, lambda *arguments: None)


def finished(path, method, correct, *options, first_seed=0):
    """A folder as a run of one seed for each number of correct predictions leaves it.

    Each has two windows, of which the second one has these predictions.
    """
    more = ["--method", method, "--first-seed", str(first_seed), "--seeds", str(len(correct))]
    folder = RunFolder(path, vars(copy_task.parse_arguments([*more, *options])))
    for seed, number in enumerate(correct, first_seed):
        rows = ["epoch,correct_predictions,nll,seconds", "0,0,5.0,25.0", f"1,{number},2.5,35.0"]
        (path / f"seed_{seed}.csv").write_text("\n".join(rows) + "\n")
    test = {"12": {"correct": 0.75}, "24": {"bit_errors": 70.0}, "48": {"bit_errors": 140.0}}
    seeds = range(first_seed, first_seed + len(correct))
    folder.write_json("results.json", {str(seed): {"test": test} for seed in seeds})
    return str(path)


def test_table_2_and_figure_7_from_several_folders(tmp_path, capsys, monkeypatch):
    runs = [
        finished(tmp_path / "a", "teacher_forcing", [750, 850, 950, 999]),
        finished(tmp_path / "b", "positive_negative", [790, 860]),
        finished(tmp_path / "c", "positive_negative", [960], first_seed=2),
    ]
    compare.main([*runs, "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "table_2.md").read_text()
    assert "3 seeds" in text  # those that both methods have
    assert "| teacher forcing | 850 | 100 | - | inf | 60 |" in text
    # Differences 40, 10, 10: mean 20, sd 17.3, t(0.975, 2) = 4.303.
    assert "| positive/negative | 870 | 85 | +20 (-23 to +63) | inf | 60 |" in text
    assert text in capsys.readouterr().out
    rows = (tmp_path / "out" / "seeds.csv").read_text().splitlines()
    assert rows[1] == "teacher_forcing,0,750,,2.5,60.0,0.75,70,140"
    assert rows[3] == "teacher_forcing,2,950,2000,2.5,60.0,0.75,70,140"
    assert len(rows) == 8
    assert (tmp_path / "out" / "figure_7.png").stat().st_size > 1000
    without_figures_1_and_2(monkeypatch)
    figures.main([*runs, "--out", str(tmp_path / "all")])
    assert (tmp_path / "all" / "table_2.md").read_text() == text
    again = finished(tmp_path / "d", "positive_negative", [1])
    with pytest.raises(SystemExit, match="comes twice"):
        compare.main([*runs, again, "--out", str(tmp_path / "none")])
    alone = finished(tmp_path / "e", "positive_negative", [1], first_seed=9)
    with pytest.raises(SystemExit, match="no finished seed in common"):
        figures.main([runs[0], alone, "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_what_was_compared_can_be_compared_again_with_more_runs(tmp_path):
    runs = [
        finished(tmp_path / "a", "teacher_forcing", [750, 960]),
        finished(tmp_path / "b", "positive_negative", [790]),
    ]
    more = finished(tmp_path / "c", "positive_negative", [970], first_seed=1)
    outs = [tmp_path / name for name in ("part", "merged", "at_once")]
    compare.main([*runs, "--out", str(outs[0])])
    compare.main([str(outs[0]), more, "--out", str(outs[1])])
    compare.main([*runs, more, "--out", str(outs[2])])
    for name in ("table_2.md", "seeds.csv", "windows.csv", "settings.json"):
        assert (outs[1] / name).read_text() == (outs[2] / name).read_text()


def test_what_is_not_known_of_a_comparison_stays_so(tmp_path, capsys):
    run, outs = finished(tmp_path / "a", "teacher_forcing", [750]), [tmp_path / x for x in "bcd"]
    compare.main([run, "--out", str(outs[0])])
    windows = outs[0] / "windows.csv"
    lines = [line.rsplit(",", 1) for line in windows.read_text().splitlines()]
    windows.write_text(
        "\n".join([",".join(lines[0]), *(f"{line[0]}," for line in lines[1:])]) + "\n"
    )
    compare.main([str(outs[0]), "--out", str(outs[1]), "--steps", "1000"])
    compare.main([str(outs[1]), "--out", str(outs[2])])
    assert "| teacher forcing | 0 | - | - | inf | - |" in capsys.readouterr().out
    for name in ("table_2.md", "seeds.csv", "windows.csv"):
        assert (outs[1] / name).read_text() == (outs[2] / name).read_text()
    windows.write_text(",".join(lines[0]) + "\n")
    with pytest.raises(SystemExit, match=r"windows.csv has no windows of teacher_forcing 0"):
        compare.main([str(outs[0]), "--out", str(tmp_path / "e")])


def test_other_options_are_arms_of_their_own_and_runs_may_be_cut_short(tmp_path, capsys):
    runs = [
        finished(tmp_path / "a", "teacher_forcing", [750, 850]),
        finished(tmp_path / "b", "positive_negative", [790, 860]),
        finished(tmp_path / "c", "positive_negative", [700, 800], "--no-gate", "--weight", "10"),
    ]
    compare.main([*runs, "--out", str(tmp_path / "out")])
    table = capsys.readouterr().out
    assert "| positive/negative, --no-gate --weight 10 | 750 |" in table
    compare.main([*runs, "--out", str(tmp_path / "first"), "--steps", "1000"])
    assert "| teacher forcing | 0 | 0 | - | inf | 25 |" in capsys.readouterr().out
    compare.main([*runs, "--out", str(tmp_path / "all"), "--steps", "2000"])
    whole, cut = ((tmp_path / name / "seeds.csv").read_text() for name in ("out", "all"))
    assert whole == cut  # with the tests after the training
    short = tmp_path / "c" / "seed_1.csv"
    short.write_text("\n".join(short.read_text().splitlines()[:2]) + "\n")
    with pytest.raises(SystemExit, match="same number of steps"):
        compare.main([*runs, "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit, match="--steps must be at most the 1000"):
        compare.main([*runs, "--out", str(tmp_path / "out"), "--steps", "2000"])
    with pytest.raises(SystemExit, match="2"):
        compare.main([*runs, "--steps", "1500"])
    assert "multiple of 1000" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["table_2.md", "seeds.csv", "windows.csv", "settings.json", "figure_7.png"]
)
@pytest.mark.parametrize("command", [compare, figures])
def test_refuses_to_replace_what_it_did_not_write(tmp_path, monkeypatch, name, command):
    without_figures_1_and_2(monkeypatch)
    methods = ("teacher_forcing", "positive_negative")
    runs = [finished(tmp_path / method, method, [100, 200]) for method in methods]
    out = tmp_path / "out"
    command.main([*runs, "--out", str(out)])
    command.main([*runs, "--out", str(out)])  # its own may be drawn anew
    for path in out.iterdir():
        path.unlink()
    (out / name).write_text("mine")
    with pytest.raises(SystemExit, match=f"{name} is there already and is not of this program's"):
        command.main([*runs, "--out", str(out)])
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "mine"


@pytest.mark.parametrize("option", [["--weight", "10"], ["--no-gate"], ["--final-memory"]])
def test_teacher_forcing_takes_no_options_of_forcing(option, capsys):
    with pytest.raises(SystemExit, match="2"):
        copy_task.parse_arguments(option)
    assert f"argument {option[0]}: --method teacher_forcing" in capsys.readouterr().err
    copy_task.parse_arguments(["--method", "positive_negative", *option])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "positive_negative", "--capacity", "8"], "--capacity: must be above the 8"),
        (["--first-seed", str(2**32 - 1), "--seeds", "2"], "last seed must be below 2^32"),
    ],
)
def test_refuses_options_that_would_fail_in_the_middle(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        copy_task.main([*options, "--out", str(tmp_path / "run")])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_refuses_runs_of_another_command(tmp_path):
    for config, message in (
        ('{"dataset": "digits"}', "is no run of train.copy_task"),
        ('{"model_type": "bert"}', "is no run of train.copy_task"),
        ("[1]", "is no run of train.copy_task"),
        ("half", "is no configuration of a run"),
    ):
        (tmp_path / "config.json").write_text(config)
        with pytest.raises(SystemExit, match=message):
            copy_task.main(["--resume", str(tmp_path)])
        assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_refuses_to_compare_what_is_not_alike(tmp_path):
    for name, learning_rate in (("a", 1e-3), ("b", 1e-2)):
        options = copy_task.parse_arguments(["--learning-rate", str(learning_rate)])
        RunFolder(tmp_path / name, vars(options))
    with pytest.raises(SystemExit, match="other settings"):
        compare.main([str(tmp_path / "a"), str(tmp_path / "b")])
    with pytest.raises(SystemExit, match="no finished seed"):
        compare.main([str(tmp_path / "a")])
    with pytest.raises(SystemExit, match="no run folder"):
        compare.main([str(tmp_path / "c")])


def test_refuses_bad_options(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        copy_task.main(["--steps", "1500", "--out", str(tmp_path / "run")])
    assert "multiple of 1000" in capsys.readouterr().err
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SystemExit, match="holds something already"):
        copy_task.main(["--out", str(tmp_path / "file")])
    assert (tmp_path / "file").read_text() == "mine"
