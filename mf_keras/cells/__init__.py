"""Keras RNN cells with an external memory."""

from mf_keras.cells.cell import MemoryCell, Signal, check_losses
from mf_keras.cells.dnc import DNCCell, DNCState
from mf_keras.cells.dtype import check_dtype
from mf_keras.cells.kanerva import KanervaCell, KanervaState
from mf_keras.cells.mann import MANNCell, MANNState
from mf_keras.cells.ntm import NTMCell, NTMState
from mf_keras.cells.tape import TapeCell, TapeState

__all__ = [
    "DNCCell",
    "DNCState",
    "KanervaCell",
    "KanervaState",
    "MANNCell",
    "MANNState",
    "MemoryCell",
    "NTMCell",
    "NTMState",
    "Signal",
    "TapeCell",
    "TapeState",
    "check_dtype",
    "check_losses",
]
