"""Professor Forcing: one discriminator, of hidden states."""

from typing import Any

import keras

from mf_keras.forcing.adversary import DEFAULT_GATE
from mf_keras.forcing.memory import MemoryForcing
from mf_keras.models import SequenceGenerator
from mf_keras.types import Config


@keras.saving.register_keras_serializable(package="mf_keras")
class ProfessorForcing(MemoryForcing):
    """Professor Forcing (Lamb et al. 2016, arXiv:1610.09038): the generator minimises NLL + C_h.

        model = ProfessorForcing(generator)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=64, epochs=10)

    It is `MemoryForcing` that watches the hidden states only; logs and arguments are explained
    there.

    Args:
        generator: a `SequenceGenerator`.
        hidden_discriminator: sees the hidden states (B, T, H); None for a `SequenceDiscriminator()`
            of the paper's sizes. It is built at once.
        gate: (lower, upper) accuracy, on a moving average: the generator receives the gradient of
            C_h only above `lower`, the discriminator learns only below `upper` (Lamb et al.: 0.75,
            0.99); None for neither, as Memory Forcing's eq. 9 has it.
        hidden_weight: weight of C_h.
        reverse_weight: weight of the reverse cost, which draws teacher-forced behaviour towards
            free-running one (C_t of Lamb et al.).
        warm_up_steps: so many first steps of plain NLL; the discriminator learns meanwhile.
        label_smoothing: how far the target of teacher-forced behaviour lies below 1.
        seed: of the free-running noise.
        score_function: whether the generator's gradient has its second part, of the choice of
            samples.
        discriminator_steps: updates of the discriminator for one of the generator's.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the discriminator does not fit the hidden states, or a number is out of range.
    """

    def __init__(
        self,
        generator: SequenceGenerator,
        hidden_discriminator: Any = None,
        gate: Any = DEFAULT_GATE,
        hidden_weight: float = 1.0,
        reverse_weight: float = 0.0,
        warm_up_steps: int = 0,
        label_smoothing: float = 0.0,
        seed: int = 0,
        score_function: bool = False,
        discriminator_steps: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            generator,
            hidden_discriminator=hidden_discriminator,
            gate=gate,
            hidden_weight=hidden_weight,
            reverse_weight=reverse_weight,
            warm_up_steps=warm_up_steps,
            label_smoothing=label_smoothing,
            seed=seed,
            watch=("hidden",),
            score_function=score_function,
            discriminator_steps=discriminator_steps,
            **kwargs,
        )

    def get_config(self) -> Config:
        """The constructor's arguments, models serialized."""
        own = super().get_config()
        return {k: v for k, v in own.items() if k not in ("watch", "weights", "discriminators")}
