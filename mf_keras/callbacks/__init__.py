"""Keras callbacks: what is kept while a model trains, and what ends a training."""

from typing import Any

from mf_keras.callbacks.saving import Checkpoint, SaveBest
from mf_keras.callbacks.stopping import StopOnNonFinite
from mf_keras.checkpoints import save_model

__all__ = ["Checkpoint", "Pictures", "SaveBest", "StopOnNonFinite", "save_model"]


def __getattr__(name: str) -> Any:
    """`Pictures`, for which alone matplotlib is imported."""
    if name == "Pictures":
        from mf_keras.callbacks.pictures import Pictures

        return Pictures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
