"""Several replicas: two logical CPU devices, which must exist before TensorFlow starts."""

import json
import os
import subprocess
import sys

import pytest

METHODS = ("TeacherForcing", "ProfessorForcing", "MemoryForcing", "PositiveNegativeMemoryForcing")
EVERY = pytest.mark.parametrize("method", METHODS)
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_NUM_INTRAOP_THREADS": "1"}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What `tests.forcing.mirrored` measured."""
    command = [
        sys.executable,
        "-m",
        "tests.forcing.mirrored",
        str(tmp_path_factory.mktemp("files")),
    ]
    run = subprocess.run(
        command, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, timeout=600
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


@EVERY
def test_two_replicas_are_one_with_the_whole_batch(report, method):
    """Weights, momenta, gate averages, spectral norms and buffers, and ragged last batches."""
    gap, where = report[method]["distance"]
    assert gap < 1e-5, where
    assert report[method]["moved"] > 1e-2


@EVERY
def test_the_replicas_stay_the_same(report, method):
    assert report[method]["spread"] == 0.0


@EVERY
def test_logs_are_those_of_the_whole_batch(report, method):
    """At every step, after the epoch, and of the validation."""
    one, two = report[method]["logs"]
    assert len(one["steps"]) > 1
    for a, b in zip([one["epoch"], *one["steps"]], [two["epoch"], *two["steps"]], strict=True):
        assert a == pytest.approx(b, abs=1e-5)


def test_the_game_was_played(report):
    """The buffers were ready, both kinds of predictions came, and gates closed."""
    assert min(report["buffers"]) > 3
    logs = report["PositiveNegativeMemoryForcing"]["logs"][0]["epoch"]
    assert logs["discriminator_accuracy"] > 0.0


def test_files_go_from_one_replica_to_several_and_back(report):
    assert max(report["saved"]) < 1e-5


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ("steps_per_execution", "steps_per_execution must be 1"),
        ("jit_compile", 'jit_compile must be "auto" or False'),
        ("generator", "must be created in the scope of one strategy"),
        ("optimizer", "optimizer must be created in the scope"),
    ],
)
def test_refuses_what_cannot_work(report, mistake, words):
    assert words in report["refusals"][mistake]
