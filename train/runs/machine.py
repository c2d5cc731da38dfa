"""What a result was measured on."""

import importlib.metadata
import pathlib
import platform


def describe() -> dict[str, str]:
    """The processor and the versions that numbers and times depend on."""
    from mf_keras import backend  # here, so that `processor` does not import TensorFlow

    versions = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras")}
    return {"processor": f"{backend.usable_cores()} x {processor()}", **versions}


def processor() -> str:
    """The processor's name by the system."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
