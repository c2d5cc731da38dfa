import keras
import numpy as np
import pytest

from mf_keras import SequenceDiscriminator
from mf_keras.forcing.adversary import Adversary
from mf_keras.forcing.metrics import SkippedUpdates
from mf_keras.forcing.updates import Updates
from tests.backends import tf


def sequences(*shape, seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape).astype("float32"))


def updates():
    return Updates(SkippedUpdates({"discriminator": ("loss",)}), "discriminator")


def adversary(gate=None, rate=0.1, scale=1.0, **kwargs):
    keras.utils.set_random_seed(2)
    discriminator = SequenceDiscriminator(gru_units=4, dense_units=(3,))
    discriminator.build((None, None, 2))
    for variable in discriminator.trainable_variables:
        variable.assign(scale * variable)
    made = Adversary(discriminator, gate, updates(), **kwargs)
    made.set_optimizer(keras.optimizers.SGD(rate, momentum=0.9))
    return made


REAL, FAKE = sequences(4, 3, 2), sequences(4, 3, 2, seed=1)


def probability(discriminator, x):
    return 1.0 / (1.0 + tf.exp(-discriminator(x)[:, 0]))


def test_the_discriminator_descends_eq_7():
    game, expected = adversary(), adversary().discriminator
    with tf.GradientTape() as tape:
        loss = -tf.reduce_mean(tf.math.log(probability(expected, REAL)))
        loss -= tf.reduce_mean(tf.math.log(1.0 - probability(expected, FAKE)))
    variables = expected.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    keras.optimizers.SGD(0.1, momentum=0.9).apply(gradients, variables)
    result = game.play(REAL, FAKE)
    np.testing.assert_allclose(result.discriminator_loss, loss, rtol=1e-5)
    for a, b in zip(game.discriminator.trainable_variables, variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_fake_behaviour_gets_the_gradient_of_eq_8_from_before_the_update():
    expected, fake = adversary().discriminator, tf.identity(FAKE)
    with tf.GradientTape() as tape:
        tape.watch(fake)
        cost = -tf.reduce_mean(tf.math.log(probability(expected, fake)))
    result = adversary().play(REAL, FAKE, scale=3.0)
    np.testing.assert_allclose(result.cost, cost, rtol=1e-5)
    np.testing.assert_allclose(result.gradients["fake"], 3.0 * tape.gradient(cost, fake), rtol=1e-4)


def test_the_reverse_cost_is_that_of_the_model_side():
    expected, real = adversary().discriminator, tf.identity(REAL)
    with tf.GradientTape() as tape:
        tape.watch(real)
        cost = -tf.reduce_mean(tf.math.log(1.0 - probability(expected, real)))
    result = adversary().play(REAL, FAKE, reverse_scale=1.0)
    np.testing.assert_allclose(result.reverse_cost, cost, rtol=1e-5)
    np.testing.assert_allclose(result.gradients["real"], tape.gradient(cost, real), rtol=1e-4)


def test_the_reverse_cost_compiles():
    expected = adversary().play(REAL, FAKE, reverse_scale=1.0)
    game = adversary()
    compiled = tf.function(lambda: game.play(REAL, FAKE, reverse_scale=1.0), jit_compile=True)
    pairs = zip(keras.tree.flatten(compiled()), keras.tree.flatten(expected), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_no_gradient_of_eq_7_reaches_the_behaviours():
    game = adversary()
    with tf.GradientTape() as tape:
        tape.watch([REAL, FAKE])
        result = game.play(REAL, FAKE)
    assert tape.gradient(result.discriminator_loss, [REAL, FAKE]) == [None, None]


def test_eq_8_moves_no_weight_of_the_discriminator():
    """The update is that of eq. 7 alone, whatever the scale of the cost."""
    quiet, loud = adversary(), adversary()
    quiet.play(REAL, FAKE, scale=0.0)
    loud.play(REAL, FAKE, scale=1e6)
    for a, b in zip(quiet.variables, loud.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_label_smoothing_is_cross_entropy_with_soft_targets():
    game = adversary(label_smoothing=0.1)
    logits = game.discriminator(tf.concat([REAL, FAKE], 0))
    targets = np.array([0.9] * 4 + [0.0] * 4, "float32")[:, None]
    expected = keras.ops.binary_crossentropy(targets, logits, from_logits=True)
    result = game.play(REAL, FAKE)
    np.testing.assert_allclose(result.discriminator_loss, 2.0 * np.mean(expected), rtol=1e-5)
    plain = adversary().discriminator
    with tf.GradientTape() as tape:
        logits = plain(tf.concat([REAL, FAKE], 0))
        loss = keras.ops.binary_crossentropy(targets, logits, from_logits=True)
        loss = 2.0 * tf.reduce_mean(loss)
    variables = plain.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    keras.optimizers.SGD(0.1, momentum=0.9).apply(gradients, variables)
    for a, b in zip(game.discriminator.trainable_variables, variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_any_keras_model_may_judge():
    judge, game = adversary().discriminator, adversary()
    plain = Adversary(keras.Sequential([keras.Input((None, 2)), judge]), None, updates())
    plain.set_optimizer(keras.optimizers.SGD(0.1, momentum=0.9))
    for a, b in zip(plain.play(REAL, FAKE)[:4], game.play(REAL, FAKE)[:4], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for a, b in zip(judge.trainable_variables, game.discriminator.trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16", "float64"])
@pytest.mark.parametrize("scale", [60.0, -60.0])
def test_a_certain_discriminator_gives_finite_gradients(scale, policy):
    keras.config.set_dtype_policy(policy)
    game = adversary(rate=0.0)
    game.discriminator.logit.kernel.assign(scale * np.ones((3, 1)))
    game.discriminator.logit.bias.assign([-scale])
    dtype = keras.config.dtype_policy().compute_dtype
    result = game.play(tf.cast(REAL, dtype), tf.cast(FAKE, dtype))
    for part in (result.discriminator_loss, result.cost, result.gradients["fake"]):
        assert np.isfinite(part).all()


def moved(game):
    before = [np.array(v) for v in game.discriminator.trainable_variables]
    momentum = [np.array(v) for v in game.optimizer.variables]
    result = game.play(REAL, FAKE)
    weights = any(
        (a != np.array(b)).any()
        for a, b in zip(before, game.discriminator.trainable_variables, strict=True)
    )
    slots = any(
        (a != np.array(b)).any() for a, b in zip(momentum, game.optimizer.variables, strict=True)
    )
    assert weights == slots
    assert float(result.gate_open) == np.any(result.gradients["fake"])
    return weights, bool(np.any(result.gradients["fake"]))


def test_gate_edges():
    """The average after the step decides: open only above lower, learning only below upper."""
    average = float(adversary(decay=0.5).play(REAL, FAKE).accuracy) * 0.5 + 0.25
    step = 1e-6
    for lower, gate_open in ((average - step, True), (average, False), (average + step, False)):
        assert moved(adversary(gate=(lower, 1.1), decay=0.5)) == (True, gate_open)
    for upper, learns in ((average - step, False), (average, False), (average + step, True)):
        assert moved(adversary(gate=(0.0, upper), decay=0.5)) == (learns, True)


def test_without_a_gate_the_model_and_the_discriminator_always_learn():
    assert moved(adversary(gate=None)) == (True, True)


def test_compiled_steps_equal_eager_ones():
    eager, compiled = adversary(gate=(0.4, 0.9)), adversary(gate=(0.4, 0.9))
    play = tf.function(lambda a, b: compiled.play(a, b)[:4], jit_compile=True)
    for _ in range(3):
        for a, b in zip(eager.play(REAL, FAKE)[:4], play(REAL, FAKE), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)
    for a, b in zip(eager.variables, compiled.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
