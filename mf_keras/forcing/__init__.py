"""The training algorithms."""

from mf_keras.forcing.teacher_forcing import TeacherForcing

__all__ = ["TeacherForcing"]
