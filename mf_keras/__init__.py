"""Memory-augmented networks and Memory Forcing for Keras 3.

* `DNCCell`, `NTMCell`, `MANNCell`, `KanervaCell`, `TapeCell`: Keras RNN cells around any
  controller cell; `MemoryCell`: their base class.
* `MemoryRNN`: a layer around a cell, instead of `keras.layers.RNN`; `unroll`: its loop over time.
* `SequenceGenerator`, `SequenceTransducer`: models of sequences; `outputs`: what a step is.
* `KanervaMachine`: a model of sets of images that are stored in a memory.
* `TeacherForcing`, `ProfessorForcing`, `MemoryForcing`, `PositiveNegativeMemoryForcing`: their
  training under `model.fit`, with `SequenceDiscriminator`s for all but the first and a
  `MemoryReplay` for the last.
* `SequenceGAN`: SeqGAN, with `TokenDiscriminator`s.
* `Policy`: a cell that acts in one of `environments`; `Reinforce`: its training by rewards;
  `MemoryReward`: with a reward for a memory like that of successful episodes.
* `addressing`: the papers' equations; `kanerva`: those of a Bayesian memory.
* `data`: the tasks; `callbacks`; `plots`: pictures of samples and memory, which need matplotlib.
* `viewer`: a memory as a page of HTML, step by step; `page`: the same page beside a running model.
* `serving.Client`: a client of servers of what `SequenceGenerator.export` wrote.

Keras and TensorFlow are imported with the first of these names that needs them, so that
`mf_keras.serving` works without. The classes are registered with Keras, for the files that hold
them, as soon as both `mf_keras` and `keras` are imported.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

from mf_keras.version import __version__

if TYPE_CHECKING:
    from mf_keras import (
        addressing,
        callbacks,
        data,
        environments,
        kanerva,
        outputs,
        page,
        plots,
        serving,
        viewer,
    )
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
        TapeCell,
        TapeState,
    )
    from mf_keras.forcing import (
        KanervaMemoryForcing,
        MemoryForcing,
        MemoryReplay,
        MemoryReward,
        PositiveNegativeMemoryForcing,
        ProfessorForcing,
        Reinforce,
        SequenceDiscriminator,
        SequenceGAN,
        TeacherForcing,
        TokenDiscriminator,
    )
    from mf_keras.models import (
        KanervaMachine,
        MemoryRNN,
        Policy,
        SequenceGenerator,
        SequenceTransducer,
    )
    from mf_keras.models.unroll import unroll

__all__ = [
    "DNCCell",
    "DNCState",
    "KanervaCell",
    "KanervaMachine",
    "KanervaMemoryForcing",
    "KanervaState",
    "MANNCell",
    "MANNState",
    "MemoryCell",
    "MemoryForcing",
    "MemoryRNN",
    "MemoryReplay",
    "MemoryReward",
    "NTMCell",
    "NTMState",
    "Policy",
    "PositiveNegativeMemoryForcing",
    "ProfessorForcing",
    "Reinforce",
    "SequenceDiscriminator",
    "SequenceGAN",
    "SequenceGenerator",
    "SequenceTransducer",
    "TapeCell",
    "TapeState",
    "TeacherForcing",
    "TokenDiscriminator",
    "__version__",
    "addressing",
    "callbacks",
    "data",
    "environments",
    "kanerva",
    "outputs",
    "page",
    "plots",
    "serving",
    "unroll",
    "viewer",
]

_MODULES = (
    *("addressing", "callbacks", "data", "environments", "kanerva", "outputs", "page", "plots"),
    *("serving", "viewer"),
)
# Packages with the classes that Keras must know by name. The names above are theirs.
_REGISTERED = ("cells", "outputs", "environments", "models", "forcing")
_WITHOUT_KERAS = (
    *("cli", "files", "page", "protos", "serving", "types", "validation", "version", "viewer"),
)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in __all__:
        for package in _REGISTERED:
            module = importlib.import_module(f"{__name__}.{package}")
            if name in module.__all__:
                globals()[name] = getattr(module, name)  # so that it is found at once from now on
                return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _register() -> None:
    for package in _REGISTERED:
        importlib.import_module(f"{__name__}.{package}")


class _Registers(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds Keras, or the first module of this package that imports it, and registers after it.

    So a file can be loaded whichever of `keras` and `mf_keras` is imported first.
    """

    _loader: Any

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        package, _, module = fullname.partition(".")
        ours = package == __name__ and module.split(".")[0] not in _WITHOUT_KERAS
        if fullname != "keras" and not ours:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            self._loader = spec.loader
            spec.loader = self
        return spec

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _register()


if "keras" in sys.modules:
    _register()
else:
    sys.meta_path.insert(0, _Registers())
