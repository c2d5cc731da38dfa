"""Names for annotations: tensors, arrays, states, configurations."""

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeAlias

Tensor: TypeAlias = Any  # a tensor of the framework that Keras runs on
ArrayLike: TypeAlias = Any  # a NumPy array, a tensor, or what becomes one
Structure: TypeAlias = Any  # a nested structure of tensors
State: TypeAlias = Any  # a cell's named tuple of tensors
Path: TypeAlias = str | os.PathLike[str]
Shape: TypeAlias = tuple[int | None, ...]
Config: TypeAlias = dict[str, Any]  # of `get_config`
Seed: TypeAlias = Any  # an int, or a keras.random.SeedGenerator
Keep: TypeAlias = Collection[str] | None  # names of fields of the trace
Chunk: TypeAlias = int | Literal["sqrt"] | None  # see `unroll`
Logs: TypeAlias = Mapping[str, Any] | None  # what Keras passes to a callback
Function: TypeAlias = Callable[..., Any]
