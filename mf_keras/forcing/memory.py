"""Memory Forcing: two discriminators, of hidden states and of the memory matrix."""

import keras

from mf_keras.forcing.adversarial import DEFAULT_GATE
from mf_keras.forcing.behaviour import HIDDEN, MEMORY, BehaviourForcing


@keras.saving.register_keras_serializable(package="mf_keras")
class MemoryForcing(BehaviourForcing):
    """Memory Forcing (Asadulaev et al. 2018, eq. 9): the generator minimises NLL + C_h + C_m.

        model = MemoryForcing(SequenceGenerator(DNCCell(keras.layers.GRUCell(64), units=1)))
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(x, batch_size=64, epochs=10)

    Logs beside those of `TeacherForcing`, for both discriminators: `c_h`, `c_m` (eq. 8, nats),
    `hidden_discriminator_loss`, `memory_discriminator_loss` (eq. 7, nats),
    `..._discriminator_accuracy`, and `..._discriminator_heard`, the share of steps in which the
    generator heard it; `loss` is NLL plus the weighted costs, whether the gates are open or not.
    `evaluate` is free of adversarial terms.

    Args:
        generator: a `SequenceGenerator`.
        hidden_discriminator: sees the hidden states (B, T, H); None for a `SequenceDiscriminator()`
            of the paper's sizes. It is built at once.
        memory_discriminator: sees the memory matrices (B, T, N, W); None as above.
        gate: (lower, upper) accuracy, on a moving average of each discriminator's: the generator
            hears it only above `lower`, it learns only below `upper` (Professor Forcing: 0.75,
            0.99); None for eq. 9 to the letter.
        hidden_weight: weight of C_h.
        memory_weight: weight of C_m.
        reverse_weight: weight of the reverse costs, which draw teacher-forced behaviour towards
            free-running one (Professor Forcing's C_t), in proportion to their forward ones.
        warm_up_steps: so many first steps of plain NLL; the discriminators learn meanwhile.
        label_smoothing: how far the target of teacher-forced behaviour lies below 1.
        seed: of the free-running noise.
        **kwargs: `name`, as for every Keras model.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: a discriminator does not fit its part of the trace, or a number is out of range.
    """

    watched = {"hidden": HIDDEN, "memory": MEMORY}

    def __init__(
        self,
        generator,
        hidden_discriminator=None,
        memory_discriminator=None,
        gate=DEFAULT_GATE,
        hidden_weight=1.0,
        memory_weight=1.0,
        reverse_weight=0.0,
        warm_up_steps=0,
        label_smoothing=0.0,
        seed=0,
        **kwargs,
    ):
        super().__init__(
            generator,
            discriminators=(hidden_discriminator, memory_discriminator),
            weights=(hidden_weight, memory_weight),
            gate=gate,
            warm_up_steps=warm_up_steps,
            reverse_weight=reverse_weight,
            label_smoothing=label_smoothing,
            seed=seed,
            **kwargs,
        )

    @property
    def memory_discriminator(self):
        """The discriminator of memory matrices, D_m."""
        return self.adversaries["memory"].discriminator
