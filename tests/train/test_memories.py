import shutil

import numpy as np
import pytest

from tests.train.small import copied
from train import memories


def test_runs_are_drawn_below_one_another(small, copy_run, tmp_path, capsys):
    other = shutil.copytree(copy_run, tmp_path / "other")
    path = tmp_path / "memories.png"
    memories.main([str(copy_run), str(other), "--out", str(path)])
    assert str(path) in capsys.readouterr().out
    assert path.stat().st_size > 1000


def test_what_is_drawn_is_what_the_cell_did(small, copy_run):
    found, options = memories.look(str(copy_run))
    inputs, _, weights = memories.example(options)
    steps = 2 * options.length + 1
    assert inputs.shape == (steps, options.width + 1)
    assert found.write.shape == found.read.shape == (steps, options.memory_size)
    assert found.memory.shape == (options.memory_size, options.word_size)
    assert 0 <= found.wrong <= weights.sum() * options.width


def test_weights_of_any_sign_are_drawn():
    weights = np.random.default_rng(0).normal(size=(5, 3))
    found = memories.Memory("kanerva", weights, 0.0 * weights, np.ones((3, 2)), 1)
    figure = memories.draw(np.ones((5, 2)), [found, found])
    assert len(figure.axes) == 9


def test_refuses_what_it_cannot_draw(tmp_path):
    with pytest.raises(SystemExit, match="is no run folder"):
        memories.main([str(tmp_path)])
    run = copied(tmp_path / "run", "teacher_forcing", [1])
    with pytest.raises(SystemExit, match="there is no such file"):
        memories.main([run])
