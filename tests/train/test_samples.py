import numpy as np
import pytest

from tests.train.small import T
from train import samples
from train.analysis import scorers


def test_no_sample_is_drawn_twice():
    drawn = []

    class Generator:
        def sample(self, *given):
            drawn.append(given)
            return np.zeros((*given[:2], 1))

    assert samples.draw(Generator(), 450, 7, 3, 0.5).shape == (450, 7, 1)
    assert drawn == [(200, 7, seed, 0.5) for seed in (3, 4, 5)]


class InkScorers(scorers.Scorers):
    """Scores by the share of ink."""

    def nll(self, images):
        return images.mean(axis=(1, 2)) * 100

    def classes(self, images):
        ink = images.mean(axis=(1, 2))
        return np.stack([ink, 1.0 - ink], axis=1)


INK = InkScorers(None, None, 17.0, 0.965)


def test_scores_are_what_they_say():
    images = (np.random.default_rng(0).random((50, 64, 1)) < 0.5).astype("float32")
    typical = np.mean([np.abs(images[i] - images[j]).sum() for i in range(50) for j in range(i)])
    assert samples.differing_pixels(images) == pytest.approx(typical)
    found = samples.scores(images, INK, typical)
    assert found["diversity"] == pytest.approx(1.0)
    assert found["judged_nll"] == pytest.approx(images.mean() * 100)
    assert found["class_entropy"] == pytest.approx(np.log(2.0), abs=0.01)
    assert 0.5 < found["confidence"] < 0.6
    same = samples.scores(np.zeros((9, T, 1), "float32"), INK, typical)
    assert (same["diversity"], same["class_entropy"], same["confidence"]) == (0.0, 0.0, 1.0)


def test_scores_every_run_at_every_temperature(small, generators, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scorers, "load_or_train", lambda *arguments: INK)
    arguments = [
        *generators,
        "--samples",
        "300",
        "--temperatures",
        "0.5",
        "1",
        "--out",
        str(tmp_path),
    ]
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
