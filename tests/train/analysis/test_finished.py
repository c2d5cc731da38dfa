import pytest

from tests.train.small import finished_generator
from train import behaviour, samples, sequence_generation
from train.runs.folder import RunFolder


@pytest.mark.parametrize(
    ("command", "written"), [(samples, "samples.md"), (behaviour, "behaviour.md")]
)
def test_refuses_runs_that_cannot_be_compared(small, generators, tmp_path, command, written):
    with pytest.raises(SystemExit, match="occurs twice"):
        command.main([*generators, generators[0]])
    with pytest.raises(SystemExit, match="is no run folder"):
        command.main([str(tmp_path)])
    new = RunFolder(tmp_path / "new", sequence_generation.Options())
    with pytest.raises(SystemExit, match=r"has no best\.keras yet"):
        command.main([str(new.path)])
    new = finished_generator(tmp_path / "unfinished", "teacher_forcing", 0)
    (tmp_path / "unfinished" / "results.json").unlink()
    with pytest.raises(SystemExit, match="has not ended"):
        command.main([new])
    mnist = finished_generator(
        tmp_path / "mnist", "teacher_forcing", 0, 0.0, "--dataset", "binarized_mnist"
    )
    with pytest.raises(SystemExit, match="differs from the runs before it in dataset"):
        command.main([mnist, generators[0]])
    faster = finished_generator(
        tmp_path / "faster", "teacher_forcing", 0, 0.0, "--learning-rate", "1e-2"
    )
    with pytest.raises(SystemExit, match="differs from the runs before it in learning_rate"):
        command.main([generators[0], faster])
    with pytest.raises(SystemExit, match="no finished seed in common"):
        command.main([generators[0], finished_generator(tmp_path / "other", "teacher_forcing", 7)])
    (tmp_path / "out").mkdir()
    mine = tmp_path / "out" / written
    mine.write_text("mine")
    with pytest.raises(SystemExit, match="was not written by this program"):
        command.main([*generators, "--out", str(tmp_path / "out")])
    assert mine.read_text() == "mine"
