import pytest
import tensorflow as tf

from tests.train.small import SIZES
from train import copy_task, sequence_generation
from train.runs import devices
from train.runs.devices import DeviceOptions, make_strategy


def test_one_device_unless_more_are_asked_for():
    assert make_strategy(DeviceOptions(), 1) is tf.distribute.get_strategy()
    with pytest.raises(ValueError, match="--devices goes with --strategy mirrored"):
        make_strategy(DeviceOptions(devices=2), 1)


def test_a_model_of_a_strategy_is_compiled_for_it():
    options = copy_task.Options.parse(["--strategy", "mirrored", *SIZES])
    with make_strategy(options, options.batch_size).scope():
        model = copy_task.make_model(options, seed=0)
    assert model.steps_per_execution == 1
    assert not model.jit_compile


@pytest.mark.parametrize(
    ("batch_size", "variable", "calls"), [(1, None, [1]), (64, None, []), (1, "2", [])]
)
def test_small_batches_use_one_thread_an_operation(monkeypatch, batch_size, variable, calls):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", variable)
    found = []
    name = "set_intra_op_parallelism_threads"
    monkeypatch.setattr(devices.tf.config.threading, name, found.append)
    devices.use_few_threads(batch_size)
    assert found == calls


def test_a_refused_run_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    for module in (copy_task, sequence_generation):
        with pytest.raises(SystemExit, match="--devices goes with"):
            module.main(["--devices", "2", "--out", str(out)])
    assert not out.exists()
