"""Keras callbacks that save models, draw pictures, and end a training that has failed."""

from typing import Any

from mf_keras.callbacks.discriminators import DiscriminatorScores
from mf_keras.callbacks.saving import Checkpoint, SaveBest
from mf_keras.callbacks.stopping import StopOnNonFinite
from mf_keras.checkpoints import save_model

__all__ = [
    "Checkpoint",
    "DiscriminatorScores",
    "Pictures",
    "SaveBest",
    "StopOnNonFinite",
    "save_model",
]


def __getattr__(name: str) -> Any:
    """`Pictures`; matplotlib is imported only for it."""
    if name == "Pictures":
        from mf_keras.callbacks.pictures import Pictures

        return Pictures
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
