import argparse
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from train import copy_task, sequence_generation, strategy

SMALL = ["--controller-units", "4", "--memory-size", "3", "--word-size", "2", "--num-reads", "1"]


@pytest.mark.parametrize("module", [copy_task, sequence_generation])
def test_one_device_unless_more_are_asked_for(module):
    options = module.parse_arguments([])
    assert strategy.make(options) is tf.distribute.get_strategy()
    with pytest.raises(ValueError, match="--devices goes with --strategy mirrored"):
        strategy.make(module.parse_arguments(["--devices", "2"]))


def test_runs_from_before_there_were_strategies_go_on():
    assert strategy.make(argparse.Namespace(batch_size=1)) is tf.distribute.get_strategy()


def test_a_model_of_a_strategy_is_compiled_for_it():
    options = copy_task.parse_arguments(["--strategy", "mirrored", *SMALL])
    with strategy.make(options).scope():
        model = copy_task.make_model(options, seed=0)
    assert model.steps_per_execution == 1
    assert not model.jit_compile


@pytest.mark.parametrize(
    ("batch_size", "variable", "threads"), [(1, None, 1), (64, None, 0), (1, "2", 0)]
)
def test_small_batches_use_one_thread_an_operation(batch_size, variable, threads):
    program = (
        "import tensorflow as tf; from train.strategy import use_few_threads; "
        f"use_few_threads({batch_size}); "
        "print(tf.config.threading.get_intra_op_parallelism_threads())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TF_NUM_INTRAOP_THREADS"}
    if variable:
        environment["TF_NUM_INTRAOP_THREADS"] = variable
    result = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    # 0 is TensorFlow's choice, or what its environment variable says, which it does not report.
    assert int(result.stdout) == threads


def test_a_refused_run_leaves_no_folder(tmp_path):
    out = tmp_path / "run"
    for module in (copy_task, sequence_generation):
        with pytest.raises(SystemExit, match="--devices goes with"):
            module.main(["--devices", "2", "--out", str(out)])
    assert not out.exists()
