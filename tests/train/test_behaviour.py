import numpy as np

from mf_keras import checkpoints
from tests.train.small import T, random_images
from train import behaviour


def test_distances_between_the_two_behaviours(small, generators, tmp_path, capsys):
    behaviour.main([*generators, "--sequences", "50", "--out", str(tmp_path)])
    text = capsys.readouterr().out
    # All see the first pixel's step alike; the darker samples are, the farther they run away.
    header, *rows = (tmp_path / "distances.csv").read_text().splitlines()
    rows = [dict(zip(header.split(","), row.split(","), strict=True)) for row in rows]
    assert len(rows) == 2 * 2 * T
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
    assert all(abs(float(row["between_splits"])) < 0.06 for row in rows)
    assert "mean over steps and 1 seed(s)" in text
    assert text.index("| teacher forcing |") < text.index("| Memory Forcing |")


def test_traces_are_those_of_the_generator(small, generators):
    generator = checkpoints.load(f"{generators[0]}/best.keras")
    images = random_images(5)
    real, free = behaviour.traces(generator, images, [2, T], seed=3)
    _, trace = generator.teacher_force(images)
    for part in ("hidden", "memory"):
        expected = np.array(getattr(trace, part))[:, [1, T - 1]].reshape(5, 2, -1)
        np.testing.assert_allclose(real[part], expected, rtol=1e-5, atol=1e-6)
        assert free[part].shape == expected.shape
        assert np.abs(free[part] - expected).max() > 1e-3
