import glob
import os

import tensorflow as tf

from mf_keras.backend.tensorflow import quiet


def searches(monkeypatch):
    """The searches of TensorFlow, whose own do not repeat their words."""
    found = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: found.append(kind))
    return found


def test_standard_error_is_back_afterwards(monkeypatch, capfd):
    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: os.write(2, b"E0000"))
    quiet.search_for_gpus()
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_nothing_is_hidden_where_there_is_a_gpu(monkeypatch):
    found = searches(monkeypatch)
    monkeypatch.setattr(glob, "glob", lambda pattern: [pattern])
    quiet.search_for_gpus()
    assert not found


def test_a_process_without_standard_error(monkeypatch):
    def closed(descriptor):
        raise OSError(9, "Bad file descriptor")

    found = searches(monkeypatch)
    monkeypatch.setattr(glob, "glob", lambda pattern: [])
    monkeypatch.setattr(os, "dup", closed)
    quiet.search_for_gpus()
    assert not found
