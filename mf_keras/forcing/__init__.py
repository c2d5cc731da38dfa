"""The training algorithms, a file each, and what they have."""

from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.memory import MemoryForcing
from mf_keras.forcing.positive_negative import PositiveNegativeMemoryForcing
from mf_keras.forcing.professor import ProfessorForcing
from mf_keras.forcing.reinforce import Reinforce
from mf_keras.forcing.replay import MemoryReplay
from mf_keras.forcing.teacher import TeacherForcing

__all__ = [
    "MemoryForcing",
    "MemoryReplay",
    "PositiveNegativeMemoryForcing",
    "ProfessorForcing",
    "Reinforce",
    "SequenceDiscriminator",
    "TeacherForcing",
]
