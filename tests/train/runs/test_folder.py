import pytest

from train import copy_task, sequence_generation
from train.runs.folder import RunFolder
from train.sequence_generation import Options


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run", Options())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ('{"dataset": "digits"}', "is no run of train.copy_task"),
        ('{"model_type": "bert"}', "is no run of train.copy_task"),
        ("[1]", "is no run of train.copy_task"),
        ("half", "is no configuration of a run"),
    ],
)
def test_refuses_runs_of_another_command(tmp_path, config, message):
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=message):
        RunFolder.open(tmp_path, copy_task.Options)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


def test_says_what_commands_it_could_be_of(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"no run of train\.sequence_generation or train\.copy_t"):
        RunFolder.open(tmp_path, sequence_generation.Options, copy_task.Options)


def test_refuses_a_file_and_a_folder_that_is_not_empty(tmp_path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(FileExistsError, match="exists and is not empty"):
            RunFolder(path, Options())
    assert (tmp_path / "file").read_text() == "mine"


def test_reads_the_rows_of_a_history(folder):
    assert folder.history("none.csv").empty
    text = "epoch,discriminator_heard,nll,val_nll\r\n0,0.5,0.1,NA\r\n1,0.25,0.2,NA\r\n2,0.1,0"
    (folder / "history.csv").write_bytes(text.encode())
    history = folder.history("history.csv")
    # Without the column that is never known and the row that is cut short; today's names.
    assert list(history.columns) == ["epoch", "discriminator_gate_open", "nll"]
    assert history["nll"].tolist() == [0.1, 0.2]


def test_cuts_a_history(folder):
    file = folder / "history.csv"
    file.write_bytes(b"epoch,c_heard\r\n0,0.5\r\n1,0.25\r\n2,0.1\r\n")
    assert folder.keep_rows("history.csv", 2) == 2
    assert file.read_bytes() == b"epoch,c_heard\r\n0,0.5\r\n1,0.25\r\n"
    assert folder.keep_rows("history.csv", 0) == 0
    assert not file.exists()


def test_a_file_with_an_older_name_gets_more_rows(folder):
    (folder / "history.csv").write_bytes(b"epoch,c_heard,seconds\r\n0,0.5,1\r\n")
    with folder.csv_logger("history.csv") as logger:
        logger.on_train_begin()
        logger.on_epoch_begin(1)
        logger.on_epoch_end(1, {"c_gate_open": 0.25})
    assert folder.history("history.csv")["c_gate_open"].tolist() == [0.5, 0.25]
