"""Memory-augmented networks and Memory Forcing for Keras 3.

* `DNCCell`, `NTMCell`, `MANNCell`, `KanervaCell`: Keras RNN cells around any controller cell.
* `unroll`: the loop over time that returns what the memory did.
* `SequenceGenerator`, `SequenceTransducer`: models of sequences; `outputs`: what a step is.
* `KanervaMachine`: a model of sets of images that are stored in a memory.
* `TeacherForcing`, `ProfessorForcing`, `MemoryForcing`, `PositiveNegativeMemoryForcing`: their
  training under `model.fit`, with `SequenceDiscriminator`s for all but the first and a
  `MemoryReplay` for the last.
* `addressing`: the papers' equations; `kanerva`: those of a Bayesian memory.

To be imported by their names, as in `from mf_keras import data`:

* `data`: the tasks; `callbacks`; `plots`: pictures of samples and memory.
* `serving.Client`: a client of servers of what `SequenceGenerator.export` wrote.
"""

from mf_keras import addressing, kanerva, outputs
from mf_keras.cells import (
    DNCCell,
    DNCState,
    KanervaCell,
    KanervaState,
    MANNCell,
    MANNState,
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
from mf_keras.models import KanervaMachine, SequenceGenerator, SequenceTransducer, unroll
from mf_keras.version import __version__

__all__ = [
    "DNCCell",
    "DNCState",
    "KanervaCell",
    "KanervaMachine",
    "KanervaState",
    "MANNCell",
    "MANNState",
    "MemoryForcing",
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
    "kanerva",
    "outputs",
    "unroll",
]
