"""Models of sequences around a memory cell, and the loop over time that they run on."""

from mf_keras.models.generator import SequenceGenerator
from mf_keras.models.kanerva_machine import KanervaMachine
from mf_keras.models.memory_rnn import MemoryRNN
from mf_keras.models.policy import Episodes, Policy
from mf_keras.models.transducer import SequenceTransducer
from mf_keras.models.unroll import unroll

__all__ = [
    "Episodes",
    "KanervaMachine",
    "MemoryRNN",
    "Policy",
    "SequenceGenerator",
    "SequenceTransducer",
    "unroll",
]
