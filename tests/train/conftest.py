"""One finished run of each experiment, which the tests of the other commands read."""

import pytest

from tests.train.small import COPYING, GENERATION, finished_generator, generated, small_experiments
from train import copy_task, sequence_generation


@pytest.fixture
def small():
    """`small_experiments` for one test."""
    with small_experiments():
        yield


@pytest.fixture(scope="session")
def generation_run(tmp_path_factory):
    """A run folder of train.sequence_generation: two epochs of two batches."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    with small_experiments():
        sequence_generation.main([*GENERATION, "--pictures-every", "2", "--out", str(folder)])
    return folder


@pytest.fixture(scope="session")
def copy_run(tmp_path_factory):
    """A run folder of train.copy_task: two intervals of two steps."""
    folder = tmp_path_factory.mktemp("runs") / "copy"
    with small_experiments():
        copy_task.main([*COPYING, "--out", str(folder)])
    return folder


@pytest.fixture(scope="session")
def generators(tmp_path_factory):
    """Run folders of two methods, of which the first generates darker images."""
    folder = tmp_path_factory.mktemp("generators")
    biases = {"memory_forcing": 2.0, "teacher_forcing": 0.0}
    return [finished_generator(folder / name, name, 0, bias) for name, bias in biases.items()]


@pytest.fixture
def table_1_runs(tmp_path):
    """Finished runs of two methods and three seeds."""
    found = []
    for seed, (teacher, professor) in enumerate([(20.0, 20.4), (21.0, 21.1), (19.0, 19.1)]):
        for method, nll in (("teacher_forcing", teacher), ("professor_forcing", professor)):
            path = tmp_path / f"{method}-{seed}"
            found.append(generated(path, method, seed, [nll + 2, nll + 1], test_nll=nll))
    return found
