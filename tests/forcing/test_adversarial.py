"""What algorithms with discriminators share: warm-up, optimizers of several players, files."""

import keras
import numpy as np
import pytest

from mf_keras import MemoryForcing, ProfessorForcing, SequenceDiscriminator, TeacherForcing
from tests.forcing.small import adam, assert_same, discriminators, gate_open, make, weights_of
from tests.small import binary, small_generator


def test_warm_up_is_teacher_forcing_with_learning_discriminators_and_counts_steps():
    """Steps, and not updates, of which there is one for two steps here."""
    x = binary(4, 2, 1)
    optimizers = [keras.optimizers.SGD(0.1, gradient_accumulation_steps=2) for _ in range(2)]
    teacher = make(TeacherForcing, optimizers[0])
    model = make(optimizer=optimizers[1], gate=None, warm_up_steps=3)
    before = weights_of(model.hidden_discriminator)
    for each in (teacher, model):
        logs = each.fit(x[:2], batch_size=1, shuffle=False, verbose=0).history
    assert_same(weights_of(model.generator), weights_of(teacher.generator))
    after = weights_of(model.hidden_discriminator)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    assert gate_open(logs) == [[0.0]] * 2
    for each in (teacher, model):
        logs = each.fit(x[2:], batch_size=1, shuffle=False, verbose=0).history
    pairs = zip(weights_of(model.generator), weights_of(teacher.generator), strict=True)
    assert any((a != b).any() for a, b in pairs)
    assert gate_open(logs) == [[0.5]] * 2


def test_a_discriminator_in_float16_scales_its_own_loss():
    judge = SequenceDiscriminator(4, (3,), dtype="mixed_float16")
    model = ProfessorForcing(small_generator(), judge, gate=None)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    (player,) = model.adversaries.values()
    assert isinstance(player.optimizer, keras.optimizers.LossScaleOptimizer)
    assert not isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    before = weights_of(model.generator)
    model.train_on_batch(binary(4, 2, 1))
    after = weights_of(model.generator)
    assert all(np.isfinite(weight).all() for weight in after)
    assert any((a != b).any() for a, b in zip(after, before, strict=True))


def test_each_discriminator_may_have_its_own_optimizer():
    optimizers = {"hidden": keras.optimizers.SGD(0.0), "memory": keras.optimizers.SGD(1.0)}
    model = make(gate=None)
    model.compile(keras.optimizers.SGD(0.1), discriminator_optimizer=optimizers, run_eagerly=True)
    before = weights_of(model.hidden_discriminator), weights_of(model.memory_discriminator)
    model.fit(binary(4, 2, 1), verbose=0)
    assert_same(before[0], weights_of(model.hidden_discriminator))
    pairs = zip(before[1], weights_of(model.memory_discriminator), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_refuses_shared_optimizers():
    model, shared = make(), adam()
    with pytest.raises(ValueError, match="must not be shared between players"):
        model.compile(shared, discriminator_optimizer=shared)
    with pytest.raises(ValueError, match="must not be shared between players"):
        model.compile(adam(), discriminator_optimizer={"hidden": shared, "memory": shared})
    with pytest.raises(ValueError, match="must have the names"):
        model.compile(adam(), discriminator_optimizer={"hidden": shared})


def test_refuses_discriminators_that_do_not_fit():
    given = discriminators(MemoryForcing)
    with pytest.raises(ValueError, match="hidden_discriminator does not fit"):
        MemoryForcing(small_generator(), hidden_discriminator=given["memory_discriminator"])


@pytest.mark.long
def test_noise_is_new_at_every_step_and_is_the_seed_s():
    def costs(seed):
        still = [keras.optimizers.SGD(0.0) for _ in range(2)]
        model = make(ProfessorForcing, *still, gate=None, seed=seed)
        found = []
        for _ in range(2):
            model.reset_metrics()
            found.append(float(model.train_on_batch(binary(4, 4, 1), return_dict=True)["c_h"]))
        return found

    first = costs(0)
    assert costs(0) == first
    assert len({*first, *costs(1)}) == 4


def test_averages_of_a_discriminator_s_weights_become_its_weights():
    average = keras.optimizers.SGD(0.5, use_ema=True, ema_momentum=0.5)
    model = make(ProfessorForcing, discriminator_optimizer=average, gate=None)
    model.fit(binary(4, 2, 1), epochs=2, verbose=0)
    (player,) = model.adversaries.values()
    averages = [v for v in player.optimizer.variables if "average" in v.path]
    weights = player.discriminator.trainable_variables
    assert_same(map(np.array, weights), map(np.array, averages))


def test_averages_of_a_discriminator_that_never_learnt_are_no_weights():
    average = keras.optimizers.SGD(0.5, use_ema=True)
    model = make(ProfessorForcing, discriminator_optimizer=average, gate=(1.0, 0.0))
    before = weights_of(model.hidden_discriminator)
    model.fit(binary(4, 2, 1), verbose=0)
    assert_same(weights_of(model.hidden_discriminator), before)


def test_refuses_one_optimizer_for_each_group_of_weights():
    several = keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(), {".*": keras.optimizers.Adam()})
    )
    with pytest.raises(ValueError, match="optimizer must be one optimizer for the whole model"):
        make(ProfessorForcing, optimizer=several)


def test_an_optimizer_that_keras_deserializes_by_its_class_comes_back(tmp_path):
    players = (keras.optimizers.Lamb(0.1), keras.optimizers.Lamb(0.2))
    model = make(ProfessorForcing, *players)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.optimizer, keras.optimizers.Lamb)
    (player,) = loaded.adversaries.values()
    assert float(player.optimizer.learning_rate) == pytest.approx(0.2)


def test_regularizers_of_discriminators_are_gate_open():
    x, moved = binary(4, 2, 1), {}
    for strength in (0.0, 0.5):
        model = make(ProfessorForcing, gate=None)
        kernel = model.hidden_discriminator.logit.kernel
        kernel.regularizer = keras.regularizers.L2(strength) if strength else None
        before = np.array(kernel)
        model.train_on_batch(x)
        moved[strength] = np.array(kernel) - before
    np.testing.assert_allclose(moved[0.5] - moved[0.0], -0.5 * 2.0 * 0.5 * before, atol=1e-5)
