"""The memory cell and the optimizer of a run."""

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras

from mf_keras import DNCCell, KanervaCell, MANNCell, NTMCell, SequenceDiscriminator
from mf_keras.cells import MemoryCell
from train.runs.memoryless import memoryless
from train.runs.options import Options, Role, flag, fraction, option, positive_float, positive_int

NO_MEMORY = "gru"
SEQUENCE_GAN = "sequence_gan"  # the method
# Methods -> the fields of the trace that they watch.
WATCHED = {"professor_forcing": ("hidden",), "memory_forcing": ("hidden", "memory")}
CELLS: dict[str, Callable[..., MemoryCell]] = {
    "dnc": DNCCell,
    NO_MEMORY: memoryless,
    "kanerva": KanervaCell,
    "mann": MANNCell,
    "ntm": NTMCell,
}


@dataclasses.dataclass(kw_only=True)
class ModelOptions(Options):
    """Options of the memory cell; the defaults are the paper's."""

    title = "model (the paper's settings by default)"
    cell: str = option("dnc", "of the memory; gru: only the controller", choices=sorted(CELLS))
    controller_units: int = option(64, "units of the GRU controller", positive_int)
    memory_size: int = option(20, "slots of the memory, N", positive_int)
    word_size: int = option(16, "length of a slot, W", positive_int)
    num_reads: int = option(4, "read heads, R", positive_int)
    dropout: float = option(
        0.0,
        "of the controller's inputs and state, with one mask a sequence",
        fraction,
        role=Role.RARE_SETTING,
    )

    def check(self) -> None:
        """Refuse sizes of a memory where there is none."""
        super().check()
        if self.cell == NO_MEMORY:
            for name in ("memory_size", "word_size", "num_reads"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise ValueError(f"argument {flag(name)}: --cell {NO_MEMORY} has no memory")

    def make_cell(self, units: int) -> keras.layers.Layer:
        """The memory cell, which gives `units` logits a step."""
        return CELLS[self.cell](
            keras.layers.GRUCell(
                self.controller_units, dropout=self.dropout, recurrent_dropout=self.dropout
            ),
            units,
            memory_size=self.memory_size,
            word_size=self.word_size,
            num_reads=self.num_reads,
        )


@dataclasses.dataclass(kw_only=True)
class ForcingOptions(Options):
    """Options of the methods with a discriminator."""

    title = "forcing (every method but teacher_forcing)"
    no_gate: bool = option(
        False,
        "exactly the paper's eq. 9 and 10, without gates; default: gates (0.75, 0.99)",
        role=Role.VARIANT,
    )
    discriminator_learning_rate: float = option(
        1e-3, "of the discriminators' Adam", positive_float, role=Role.VARIANT
    )
    discriminator_beta_1: float = option(
        0.9, "of the discriminators' Adam", fraction, role=Role.VARIANT
    )

    def gate(self) -> dict[str, Any]:
        """The argument `gate` of a model, where it is not the default."""
        return {"gate": None} if self.no_gate else {}

    def discriminator_optimizer(self) -> keras.optimizers.Optimizer:
        """The optimizer of the discriminators."""
        return keras.optimizers.Adam(
            self.discriminator_learning_rate, beta_1=self.discriminator_beta_1
        )


@dataclasses.dataclass(kw_only=True)
class BehaviourOptions(ForcingOptions):
    """Options of the methods whose discriminators see behaviours."""

    title = "discriminators of professor_forcing and memory_forcing"
    discriminator_steps: int = option(
        1, "their updates for one of the generator's", positive_int, role=Role.VARIANT
    )
    discriminator_units: int = option(128, "of their GRU", positive_int, role=Role.VARIANT)
    layer_normalization: bool = option(
        False, "of the numbers of every step, before their GRU", role=Role.VARIANT
    )
    spectral_normalization: bool = option(False, "of their dense layers", role=Role.VARIANT)
    pooling: str = option(
        "mean", "of their states over time", role=Role.VARIANT, choices=("last", "mean")
    )

    def check(self) -> None:
        """Refuse these options of other methods."""
        super().check()
        method = getattr(self, "method", None)
        if method is None or method in WATCHED:
            return
        for name in inspect.get_annotations(BehaviourOptions):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"argument {flag(name)}: goes with --method {' or '.join(WATCHED)}, "
                    f"not {method}"
                )

    def of_behaviours(self, fields: Sequence[str]) -> dict[str, Any]:
        """The arguments of a model whose discriminators watch these fields of the trace."""
        made = {
            f"{field}_discriminator": SequenceDiscriminator(
                self.discriminator_units,
                pooling=self.pooling,
                spectral_normalization=self.spectral_normalization,
                layer_normalization=self.layer_normalization,
            )
            for field in fields
        }
        return {**self.gate(), **made, "discriminator_steps": self.discriminator_steps}


@dataclasses.dataclass(kw_only=True)
class SequenceGANOptions(Options):
    """Options of `SequenceGAN`."""

    title = f"{SEQUENCE_GAN} (it learns from samples; --warm-up-steps or --nll-weight keep the NLL)"
    warm_up_steps: int = option(
        0, "first steps, by the NLL only; the discriminator learns", positive_int, role=Role.VARIANT
    )
    nll_weight: float = option(
        0.0, "of the NLL, after these steps", positive_float, role=Role.VARIANT
    )
    reward: str = option(
        "per_step",
        "final: the discriminator's answer to the whole; per_step: its answers at every step, "
        "discounted by 0.9 a step, with a critic",
        role=Role.VARIANT,
        choices=("per_step", "final"),
    )
    rollouts: int = option(
        0, "of --reward final: completions of each beginning", positive_int, role=Role.VARIANT
    )

    def check(self) -> None:
        """Refuse these options of other methods, and what this one lacks."""
        super().check()
        method = getattr(self, "method", None)
        if method == SEQUENCE_GAN:
            if getattr(self, "no_gate", False):
                raise ValueError(f"argument --no-gate: --method {method} has no gate")
            if self.rollouts and self.reward != "final":
                raise ValueError("argument --rollouts: goes with --reward final")
            return
        for name in inspect.get_annotations(SequenceGANOptions):
            if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                raise ValueError(
                    f"argument {flag(name)}: goes with --method {SEQUENCE_GAN}, not {method}"
                )

    def sequence_gan(self) -> dict[str, Any]:
        """The arguments of the model."""
        dense = {"baseline": "critic", "discount": 0.9} if self.reward == "per_step" else {}
        names = inspect.get_annotations(SequenceGANOptions)
        return {**dense, **{name: getattr(self, name) for name in names}}


def make_optimizer(
    learning_rate: float, cosine_steps: int | None = None
) -> keras.optimizers.Optimizer:
    """The paper's Adam: beta 0.9 and 0.98, epsilon 1e-9.

    Args:
        learning_rate: at the first step.
        cosine_steps: None for the same at all steps; a number of steps over which it falls to 0
            along half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    if cosine_steps is not None:
        learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, cosine_steps)
    return keras.optimizers.Adam(learning_rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9)
