"""The small door to TensorFlow: the scan with its own gradient, compilation, concrete tensors.

A second Keras backend would need these functions, and nothing of the mathematics would change.
"""

import keras

if keras.backend.backend() != "tensorflow":
    raise ImportError(
        "mf_keras needs Keras to run on TensorFlow, but its backend is "
        f"{keras.backend.backend()!r}. Set KERAS_BACKEND=tensorflow before keras is imported."
    )

from mf_keras.backend.compilation import (
    CompiledFor,
    compiled,
    compiling_loops,
    loops_are_compiled,
)
from mf_keras.backend.cores import on_cores, side_by_side, together_on_cores, usable_cores
from mf_keras.backend.scan import scan
from mf_keras.backend.tensors import has_state, is_concrete, read_rows, to_tensor, write_rows

__all__ = [
    "CompiledFor",
    "compiled",
    "compiling_loops",
    "has_state",
    "is_concrete",
    "loops_are_compiled",
    "on_cores",
    "read_rows",
    "scan",
    "side_by_side",
    "to_tensor",
    "together_on_cores",
    "usable_cores",
    "write_rows",
]
