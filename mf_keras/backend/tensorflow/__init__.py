"""The functions of `mf_keras.backend` on TensorFlow."""

from mf_keras.backend.tensorflow import replicas, strategies
from mf_keras.backend.tensorflow.compilation import (
    CompiledFor,
    compiled,
    compiling_loops,
    loops_are_compiled,
)
from mf_keras.backend.tensorflow.cores import (
    on_cores,
    on_cpu,
    side_by_side,
    together_on_cores,
    usable_cores,
)
from mf_keras.backend.tensorflow.events import EventFile
from mf_keras.backend.tensorflow.fusion import materialize, materialized_transpose
from mf_keras.backend.tensorflow.scan import scan
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
    "compiled",
    "compiling_loops",
    "has_state",
    "is_concrete",
    "loops_are_compiled",
    "materialize",
    "materialized_transpose",
    "on_cores",
    "on_cpu",
    "read_rows",
    "replicas",
    "scan",
    "side_by_side",
    "strategies",
    "to_tensor",
    "together_on_cores",
    "usable_cores",
    "write_rows",
]
