"""The training algorithms."""

from mf_keras.forcing.memory_forcing import MemoryForcing
from mf_keras.forcing.positive_negative import PositiveNegativeMemoryForcing
from mf_keras.forcing.professor_forcing import ProfessorForcing
from mf_keras.forcing.teacher_forcing import TeacherForcing

__all__ = ["MemoryForcing", "PositiveNegativeMemoryForcing", "ProfessorForcing", "TeacherForcing"]
