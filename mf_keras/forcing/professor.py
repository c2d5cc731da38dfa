"""Professor Forcing: one discriminator, of hidden states."""

import keras

from mf_keras.forcing.adversarial import DEFAULT_GATE
from mf_keras.forcing.behaviour import HIDDEN, BehaviourForcing


@keras.saving.register_keras_serializable(package="mf_keras")
class ProfessorForcing(BehaviourForcing):
    """Professor Forcing (Lamb et al. 2016, arXiv:1610.09038): the generator minimises NLL + C_h.

        model = ProfessorForcing(generator)
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=64, epochs=10)

    Logs beside those of `TeacherForcing`: `c_h`, `hidden_discriminator_loss` (eq. 7 of Memory
    Forcing, nats), `hidden_discriminator_accuracy` and `hidden_discriminator_heard`, the share of
    steps in which the generator heard it; `loss` is NLL plus the weighted costs, whether the gate
    is open or not. `evaluate` is free of adversarial terms.

    Args:
        generator: a `SequenceGenerator`.
        hidden_discriminator: sees the hidden states (B, T, H); None for a `SequenceDiscriminator()`
            of the paper's sizes. It is built at once.
        gate: (lower, upper) accuracy, on a moving average: the generator hears the discriminator
            only above `lower`, it learns only below `upper` (Lamb et al.: 0.75, 0.99);
            None for neither, as Memory Forcing's eq. 9 has it.
        hidden_weight: weight of C_h.
        reverse_weight: weight of the reverse costs, which draw teacher-forced behaviour towards
            free-running one (C_t of Lamb et al.), in proportion to their forward ones.
        warm_up_steps: so many first steps of plain NLL; the discriminators learn meanwhile.
        label_smoothing: how far the target of teacher-forced behaviour lies below 1 (Salimans et
            al. 2016, arXiv:1606.03498, one-sided label smoothing).
        seed: of the free-running noise.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the discriminator does not fit the hidden states, or a number is out of range.
    """

    watched = {"hidden": HIDDEN}

    def __init__(
        self,
        generator,
        hidden_discriminator=None,
        gate=DEFAULT_GATE,
        hidden_weight=1.0,
        reverse_weight=0.0,
        warm_up_steps=0,
        label_smoothing=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(
            generator,
            discriminators=(hidden_discriminator,),
            weights=(hidden_weight,),
            gate=gate,
            warm_up_steps=warm_up_steps,
            reverse_weight=reverse_weight,
            label_smoothing=label_smoothing,
            seed=seed,
            **kwargs,
        )
