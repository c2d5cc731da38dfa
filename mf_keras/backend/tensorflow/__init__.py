"""The functions of `mf_keras.backend` on TensorFlow."""

from mf_keras.backend.fusion import materialize, materialized_transpose
from mf_keras.backend.tensorflow import datasets, replicas
from mf_keras.backend.tensorflow.events import EventFile
from mf_keras.backend.tensorflow.execution import (
    CompiledFor,
    compiled,
    compiling_loops,
    loops_are_compiled,
    on_cores,
    on_cpu,
    side_by_side,
    together_on_cores,
    usable_cores,
    whole_step,
)
from mf_keras.backend.tensorflow.primitives import (
    after,
    cond,
    has_state,
    is_concrete,
    keeping_values,
    needs_tensorflow,
    pullback,
    read_rows,
    required,
    step,
    to_tensor,
    unknown_to_keras,
    write_rows,
)
from mf_keras.backend.tensorflow.quiet import search_for_gpus
from mf_keras.backend.tensorflow.scan import scan

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
    "keeping_values",
    "loops_are_compiled",
    "materialize",
    "materialized_transpose",
    "needs_tensorflow",
    "on_cores",
    "on_cpu",
    "pullback",
    "read_rows",
    "replicas",
    "required",
    "scan",
    "side_by_side",
    "step",
    "to_tensor",
    "together_on_cores",
    "unknown_to_keras",
    "usable_cores",
    "whole_step",
    "write_rows",
]

search_for_gpus()
