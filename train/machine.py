"""What a result was measured on."""

import importlib.metadata
import pathlib
import platform


def describe():
    """The processor and the versions that numbers and times depend on, a dict of text."""
    from mf_keras import backend  # here, so that `processor` is to be had without TensorFlow

    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")}
    return {"processor": f"{backend.usable_cores()} x {processor()}", **versions}


def processor():
    """The processor's name as the system tells it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
