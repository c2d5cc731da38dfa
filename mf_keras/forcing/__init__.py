"""The training algorithms."""

from mf_keras.forcing.memory import MemoryForcing
from mf_keras.forcing.positive_negative import PositiveNegativeMemoryForcing
from mf_keras.forcing.professor import ProfessorForcing
from mf_keras.forcing.teacher import TeacherForcing

__all__ = ["MemoryForcing", "PositiveNegativeMemoryForcing", "ProfessorForcing", "TeacherForcing"]
