"""What a step of a sequence is: bits, a token, reals. One file an output; nothing else knows."""

from mf_keras.outputs.bernoulli import Bernoulli
from mf_keras.outputs.categorical import Categorical
from mf_keras.outputs.gaussian_mixture import GaussianMixture
from mf_keras.outputs.joint import Joint
from mf_keras.outputs.output import Output, check_output, counted_steps

__all__ = [
    "Bernoulli",
    "Categorical",
    "GaussianMixture",
    "Joint",
    "Output",
    "check_output",
    "counted_steps",
]
