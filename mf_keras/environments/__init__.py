"""Tasks that a policy acts in, as pure functions of tensors; see `Policy` and `Reinforce`."""

from mf_keras.environments.copying import CopyEnvironment
from mf_keras.environments.environment import Environment
from mf_keras.environments.memory_chain import MemoryChain
from mf_keras.environments.tapes import Tapes

__all__ = ["CopyEnvironment", "Environment", "MemoryChain", "Tapes"]
