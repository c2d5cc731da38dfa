"""Memory-augmented networks and Memory Forcing for Keras 3.

* `DNCCell`, `NTMCell`, `MANNCell`, `KanervaCell`: Keras RNN cells around any controller cell;
  `MemoryCell`: their base class.
* `MemoryRNN`: a layer around a cell, in place of `keras.layers.RNN`; `unroll`: its loop over time.
* `SequenceGenerator`, `SequenceTransducer`: models of sequences; `outputs`: what a step is.
* `TeacherForcing`, `ProfessorForcing`, `MemoryForcing`, `PositiveNegativeMemoryForcing`: their
  training under `model.fit`, with `SequenceDiscriminator`s for all but the first and a
  `MemoryReplay` for the last.
* `addressing`: the papers' equations; `kanerva`: those of a Bayesian memory.
* `data`: the tasks; `callbacks`; `plots`: pictures of samples and memory, which need matplotlib.
* `serving.Client`: a client of servers of what `SequenceGenerator.export` wrote.

`data`, `plots` and `serving` are imported when they are first used.
"""

import importlib
from typing import Any

from mf_keras import addressing, callbacks, kanerva, outputs
from mf_keras.cells import (
    DNCCell,
    DNCState,
    KanervaCell,
    KanervaState,
    MANNCell,
    MANNState,
    MemoryCell,
    NTMCell,
    NTMState,
)
from mf_keras.forcing import (
    MemoryForcing,
    MemoryReplay,
    PositiveNegativeMemoryForcing,
    ProfessorForcing,
    SequenceDiscriminator,
    TeacherForcing,
)
from mf_keras.models import MemoryRNN, SequenceGenerator, SequenceTransducer, unroll
from mf_keras.version import __version__

__all__ = [
    "DNCCell",
    "DNCState",
    "KanervaCell",
    "KanervaState",
    "MANNCell",
    "MANNState",
    "MemoryCell",
    "MemoryForcing",
    "MemoryRNN",
    "MemoryReplay",
    "NTMCell",
    "NTMState",
    "PositiveNegativeMemoryForcing",
    "ProfessorForcing",
    "SequenceDiscriminator",
    "SequenceGenerator",
    "SequenceTransducer",
    "TeacherForcing",
    "__version__",
    "addressing",
    "callbacks",
    "data",
    "kanerva",
    "outputs",
    "plots",
    "serving",
    "unroll",
]


def __getattr__(name: str) -> Any:
    """The parts that need more than Keras, such as matplotlib, imported on first use."""
    if name in ("data", "plots", "serving"):
        return importlib.import_module(f"mf_keras.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """What is there, and what is imported on first use."""
    return sorted({*globals(), *__all__})
