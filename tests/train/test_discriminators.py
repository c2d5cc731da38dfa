import pandas as pd
import pytest

from tests.train.small import generated
from train import discriminators

GAME = {
    "val_hidden_discriminator_auc": [0.5, 0.6, 0.8],
    "hidden_discriminator_gate_open": [0.0, 0.25, 0.5],
}


def finished(path, method, seed, *options, shift=0.0, logs=("hidden",)):
    """A finished run of three epochs whose history has scores of these discriminators."""
    generated(path, method, seed, [30.0, 28.0, 29.0 + shift], *options, test_nll=28.0)
    (path / "best.keras").touch()
    history = pd.read_csv(path / "history.csv")
    for field in logs:
        for name, values in GAME.items():
            history[name.replace("hidden", field)] = [value + shift for value in values]
    history.to_csv(path / "history.csv", index=False)
    return str(path)


def test_scores_of_the_last_epochs_gates_and_the_lowest_nll(tmp_path):
    steps = ("--discriminator-steps", "3")
    runs = [
        finished(tmp_path / "a", "professor_forcing", 0),
        finished(tmp_path / "b", "professor_forcing", 1, shift=0.1),
        finished(tmp_path / "c", "memory_forcing", 0, *steps, logs=("hidden", "memory")),
        finished(tmp_path / "d", "memory_forcing", 1, *steps, logs=("hidden", "memory")),
    ]
    out = tmp_path / "out"
    discriminators.main([*runs, "--last", "2", "--out", str(out)])
    professor, memory = (out / "discriminators.md").read_text().splitlines()[2:]
    assert professor == "| Professor Forcing | 0.750 | - | 30.0 | - | 28.00 | 11.0 |"
    expected = (
        "| Memory Forcing, --discriminator-steps 3 | 0.700 | 0.700 | 25.0 | 25.0 | 28.00 | 11.0 |"
    )
    assert memory == expected
    rows = pd.read_csv(out / "epochs.csv")
    assert len(rows) == 12
    assert rows["epoch"].max() == 3
    assert rows.query("method == 'professor_forcing' and seed == 1")["hidden_auc"].iloc[-1] == 0.9
    assert {path.name for path in out.glob("*.png")} == {"hidden_auc.png", "memory_auc.png"}


def test_runs_without_scores_are_refused(tmp_path):
    teacher = generated(tmp_path / "a", "teacher_forcing", 0, [30.0], test_nll=30.0)
    old = generated(tmp_path / "b", "memory_forcing", 0, [30.0], test_nll=30.0)
    for run in (teacher, old):
        (tmp_path / run / "best.keras").touch()
        with pytest.raises(SystemExit, match="has no scores of discriminators"):
            discriminators.main([run, "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
