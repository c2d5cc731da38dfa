"""No alarm on machines without a GPU."""

import glob
import os
import sys

import tensorflow as tf

_DEVICE_FILES = ("/dev/nvidia*", "/dev/dxg", "/dev/kfd")  # NVIDIA's, WSL's, AMD's


def search_for_gpus() -> None:
    """Let TensorFlow search for GPUs, without a word where the system has none.

    The first search logs `E0000 ... failed call to cuInit` on every machine without one. Later ones
    log nothing.
    """
    if sys.platform != "linux" or any(map(glob.glob, _DEVICE_FILES)):
        return
    try:
        kept = os.dup(2)
    except OSError:  # a process without standard error
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        tf.config.list_physical_devices("GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)
