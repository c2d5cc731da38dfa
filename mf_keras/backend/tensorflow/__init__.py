"""The functions of `mf_keras.backend` on TensorFlow."""

from mf_keras.backend.tensorflow import datasets, replicas, strategies
from mf_keras.backend.tensorflow.compilation import (
    CompiledFor,
    compiled,
    compiling_loops,
    loops_are_compiled,
)
from mf_keras.backend.tensorflow.cores import (
    on_cores,
    side_by_side,
    together_on_cores,
    usable_cores,
)
from mf_keras.backend.tensorflow.events import EventFile
from mf_keras.backend.tensorflow.scan import scan
from mf_keras.backend.tensorflow.steps import after, cond, pullback, step
from mf_keras.backend.tensorflow.tensors import (
    has_state,
    is_concrete,
    read_rows,
    to_tensor,
    write_rows,
)

__all__ = [
    "CompiledFor",
    "EventFile",
    "after",
    "compiled",
    "compiling_loops",
    "cond",
    "datasets",
    "has_state",
    "is_concrete",
    "loops_are_compiled",
    "on_cores",
    "pullback",
    "read_rows",
    "replicas",
    "scan",
    "side_by_side",
    "step",
    "strategies",
    "to_tensor",
    "together_on_cores",
    "usable_cores",
    "write_rows",
]
