"""The training algorithms, a file each, and what they have."""

from mf_keras.forcing.discriminator import SequenceDiscriminator
from mf_keras.forcing.kanerva import KanervaMemoryForcing
from mf_keras.forcing.memory import MemoryForcing
from mf_keras.forcing.memory_reward import MemoryReward
from mf_keras.forcing.positive_negative import PositiveNegativeMemoryForcing
from mf_keras.forcing.professor import ProfessorForcing
from mf_keras.forcing.reinforce import Reinforce
from mf_keras.forcing.replay import MemoryReplay
from mf_keras.forcing.sequence_gan import SequenceGAN
from mf_keras.forcing.teacher import TeacherForcing
from mf_keras.forcing.token_discriminator import TokenDiscriminator

__all__ = [
    "KanervaMemoryForcing",
    "MemoryForcing",
    "MemoryReplay",
    "MemoryReward",
    "PositiveNegativeMemoryForcing",
    "ProfessorForcing",
    "Reinforce",
    "SequenceDiscriminator",
    "SequenceGAN",
    "TeacherForcing",
    "TokenDiscriminator",
]
