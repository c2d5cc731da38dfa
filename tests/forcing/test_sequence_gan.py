import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from mf_keras import (
    NTMCell,
    SequenceDiscriminator,
    SequenceGAN,
    SequenceGenerator,
    TeacherForcing,
    TokenDiscriminator,
)
from mf_keras.outputs import Categorical
from tests.small import binary, small_generator, small_transducer

CLASSES = 2


def small_tokens(dtype=None, classes=CLASSES):
    cell = NTMCell(keras.layers.Dense(3, "tanh", dtype=dtype), classes, 3, 2, 1, dtype=dtype)
    generator = SequenceGenerator(cell, Categorical(classes))
    random = np.random.default_rng(1)
    for variable in generator.trainable_variables:
        variable.assign(random.normal(scale=0.7, size=variable.shape))
    return generator


def tokens(*shape, classes=CLASSES):
    return np.random.default_rng(0).integers(classes, size=shape).astype("int32")


def small(reward="final", learns=True, compiling=(), generator=None, **options):
    generator = generator or small_tokens()
    pooling = "none" if reward == "per_step" else "mean"
    keras.utils.set_random_seed(3)
    judge = TokenDiscriminator(generator.output.size, 2, 3, (2,), pooling)
    options = {"rollouts": 0, "discriminator": judge, **options}
    model = SequenceGAN(generator, reward=reward, **options)
    compiling = dict(compiling) or {"run_eagerly": True}
    rate = keras.optimizers.SGD(0.5 if learns else 0.0)
    model.compile(keras.optimizers.SGD(1.0), rate, **compiling)
    return model


def weights_of(model):
    return [np.array(variable) for variable in model.trainable_variables]


# Exactness.


def all_sequences(steps):
    return np.array(list(itertools.product(range(CLASSES), repeat=steps)), "int32")


def reward_of(model, sequences, discount=1.0):
    """(n, T), the rewards that follow every step."""
    logits = np.asarray(model.discriminator(sequences)).reshape(len(sequences), -1)
    if model.reward == "final":
        return np.repeat(1.0 / (1.0 + np.exp(-logits)), sequences.shape[1], axis=1)
    rewards = -np.log1p(np.exp(-logits))
    return np.cumsum(rewards[:, ::-1], axis=1)[:, ::-1]


@pytest.mark.parametrize(("reward", "baseline"), [("final", None), ("per_step", "critic")])
def test_over_all_samples_the_gradient_is_that_of_the_expected_reward(reward, baseline):
    keras.config.set_dtype_policy("float64")
    keras.config.set_floatx("float64")
    steps = 3
    model = small(reward, False, generator=small_tokens("float64"), baseline=baseline)
    generator, sequences = model.generator, all_sequences(steps)
    variables = generator.trainable_variables
    before = [np.array(variable) for variable in variables]

    def probabilities():
        return np.exp(-np.asarray(generator.nll(sequences)))

    def objective():
        return float(probabilities() @ reward_of(model, sequences)[:, 0])

    total, p = [np.zeros(v.shape) for v in variables], probabilities()
    for probability, chosen in zip(p, sequences[:, None], strict=True):
        noise = np.eye(CLASSES, dtype="float32")[chosen]  # high noise draws a class
        model._noise = lambda x, copies=1, noise=noise: noise
        model.train_on_batch(tokens(1, steps))
        for sum_, variable, start in zip(total, variables, before, strict=True):
            sum_ += probability * (np.array(variable) - start)
            variable.assign(start)
    random = np.random.default_rng(2)
    directions = [random.normal(size=start.shape) for start in before]
    values = []
    for sign in (1.0, -1.0):
        for variable, start, direction in zip(variables, before, directions, strict=True):
            variable.assign(start + sign * 1e-5 * direction)
        values.append(objective())
    own = sum(np.sum(g * d) for g, d in zip(total, directions, strict=True))
    assert own == pytest.approx((values[0] - values[1]) / 2e-5, abs=1e-6)
    assert abs(own) > 1e-3


def test_rollouts_are_the_mean_answer_to_all_completions():
    model = small(rollouts=3000)
    model.discriminator.logit.kernel.assign(5.0 * model.discriminator.logit.kernel)
    samples = tokens(2, 3)
    rewards, gains = model._rewards(model._batch(samples), ops.convert_to_tensor(samples))
    sequences = all_sequences(3)
    p = np.exp(-np.asarray(model.generator.nll(sequences)))
    answers = reward_of(model, sequences)[:, 0]
    for row, sample in enumerate(samples):
        for t in range(1, 4):
            same = (sequences[:, :t] == sample[:t]).all(axis=1)
            expected = np.sum(p[same] * answers[same]) / np.sum(p[same])
            tolerance = 1e-5 if t == 3 else 4 * answers.std() / np.sqrt(3000)
            assert float(gains[row, t - 1]) == pytest.approx(expected, abs=tolerance)
    np.testing.assert_allclose(rewards, gains[:, -1])


# What the reward does.


class Constant(keras.layers.Layer):
    """A discriminator that knows nothing."""

    def build(self, input_shape):
        self.logit = self.add_weight(shape=(1, 1), initializer="zeros")

    def call(self, x):
        return ops.zeros((ops.shape(x)[0], 1)) + self.logit


@pytest.mark.parametrize(("baseline", "moves"), [("leave_one_out", False), (None, True)])
def test_a_constant_reward_sharpens_the_generator_only_without_a_baseline(baseline, moves):
    model = small(discriminator=Constant(), baseline=baseline)
    before = weights_of(model.generator)
    model.train_on_batch(tokens(8, 3))
    pairs = zip(before, weights_of(model.generator), strict=True)
    largest = max(np.abs(a - b).max() for a, b in pairs)
    assert (largest > 1e-4) == moves
    assert largest < 1e-6 or moves


@pytest.mark.long
def test_learns_what_its_discriminator_likes_compiled():
    """Data of ones only: the samples become ones."""
    options = {"generator": small_tokens(), "rollouts": 2, "baseline": "critic"}
    model = small("final", compiling={"jit_compile": "auto"}, **options)
    history = model.fit(np.ones((64 * 30, 2), "int32"), batch_size=64, verbose=0).history
    names = {"loss", "nll", "nll_per_step", "bits_per_step", "c_s", "reward", "critic_loss"}
    names |= {f"discriminator_{log}" for log in ("loss", "accuracy", "gate_open")}
    assert set(history) == names | {"skipped_updates"}
    assert np.mean(model.generator.free_run(100, 2, seed=0, keep=())[0]) > 0.9


# The parts of a step.


@pytest.mark.parametrize("reward", ["final", "per_step"])
def test_the_discriminator_takes_a_plain_step_on_the_steps_that_count(reward):
    counts = np.float32([[1, 1, 1], [1, 1, 0]])
    real, fake = tokens(2, 3), 1 - tokens(2, 3)
    models = [small(reward, label_smoothing=0.1) for _ in range(2)]
    outcome = (
        models[0]
        .adversaries["samples"]
        .learn(real, ops.convert_to_tensor(fake), np.concatenate([counts] * 2))
    )
    judge = models[1].discriminator
    with tf.GradientTape() as tape:
        losses = []
        for x, sign, target in ((real, -1.0, 0.9), (fake, 1.0, 1.0)):
            logits = judge(x, mask=counts > 0)[..., 0]
            each = target * ops.softplus(sign * logits) + (1.0 - target) * ops.softplus(
                -sign * logits
            )
            weight = counts / counts.sum() if reward == "per_step" else 0.5
            losses.append(tf.reduce_sum(weight * each))
        loss = losses[0] + losses[1]
    gradients = tape.gradient(loss, [v.value for v in judge.trainable_variables])
    for variable, gradient in zip(judge.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.5 * tf.convert_to_tensor(gradient))
    assert float(outcome.discriminator_loss) == pytest.approx(float(loss), rel=1e-5)
    for a, b in zip(models[0].discriminator.variables, judge.variables, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.long
def test_warm_up_is_teacher_forcing_with_a_learning_discriminator():
    x = tokens(4, 3)
    model, teacher = small(warm_up_steps=2, rollouts=2), TeacherForcing(small_tokens())
    teacher.compile(keras.optimizers.SGD(1.0), run_eagerly=True)
    judge = weights_of(model.discriminator)
    for each in (model, teacher):
        each.fit(x, epochs=2, shuffle=False, verbose=0)
    for a, b in zip(weights_of(model.generator), weights_of(teacher.generator), strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(judge, weights_of(model.discriminator), strict=True))
    history = model.fit(x, verbose=0).history
    assert history["loss"][0] == pytest.approx(history["c_s"][0], rel=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("reward", ["final", "per_step"])
def test_what_padding_holds_makes_no_difference(reward):
    weights, found = np.float32([[1, 1, 1, 1], [1, 1, 0, 0]]), []
    for filler in (0, 1):
        x = tokens(2, 4)
        x[1, 2:] = filler
        model = small(reward, baseline="critic", rollouts=2 if reward == "final" else 0)
        model.fit(x, sample_weight=weights, epochs=2, shuffle=False, verbose=0)
        found.append(weights_of(model))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_rollouts_of_sequences_whose_number_of_steps_is_not_known():
    """As of `padded_batch`; each batch is as that of an array."""
    x, weights = tokens(4, 3), np.ones((4, 3), "float32")
    spec = tf.TensorSpec((None, None), "int32"), tf.TensorSpec((None, None), "float32")
    stream = tf.data.Dataset.from_generator(
        lambda: iter([(x, weights)]), output_signature=spec
    ).map(lambda x, w: (x, None, w))
    stream = stream.apply(tf.data.experimental.assert_cardinality(1))
    found = []
    for given in ((stream,), (x,)):
        model = small(rollouts=2)
        model.compile("sgd")
        history = model.fit(*given, epochs=2, shuffle=False, verbose=0).history
        found.append(history["loss"])
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_several_steps_of_the_discriminator_are_on_new_samples():
    model = small(discriminator_steps=3)
    model.train_on_batch(tokens(4, 3))
    assert int(model.adversaries["samples"].optimizer.iterations) == 3
    assert int(model.optimizer.iterations) == 1


@pytest.mark.long
def test_a_saved_run_resumes_to_the_bit(tmp_path):
    options = {"baseline": "critic", "discount": 0.9, "normalize": True, "clip": 1.0}
    options |= {"nll_weight": 0.5, "discriminator_steps": 2, "seed": 4, "gate": (0.0, 1.0)}
    model, x = small("per_step", **options), tokens(8, 3)
    model.fit(x, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    config = again.get_config()
    for name, value in options.items():
        assert config[name] == value
    for each in (model, again):
        each.fit(x, batch_size=4, shuffle=False, verbose=0)
    for a, b in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert set(logs) == {"loss", "nll", "nll_per_step", "bits_per_step"}
    assert logs["loss"] == logs["nll"]


def test_bits_have_a_discriminator_of_bits():
    model = SequenceGAN(small_generator(), rollouts=2)
    assert type(model.discriminator) is SequenceDiscriminator
    model.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.1), run_eagerly=True)
    assert np.isfinite(model.fit(binary(4, 3, 1), verbose=0).history["reward"][0])


def test_an_update_that_is_not_finite_is_skipped():
    model = small()
    before = weights_of(model.generator)
    before[0] = np.full(before[0].shape, np.nan)
    model.generator.trainable_variables[0].assign(before[0])
    assert model.train_on_batch(tokens(4, 3), return_dict=True)["skipped_updates"] == 1.0
    for a, b in zip(before, weights_of(model.generator), strict=True):
        np.testing.assert_array_equal(a, b)


built_for_three = SequenceDiscriminator(3, (2,))
built_for_three.build((None, None, 3))
built_for_three.built = True


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reward": "last"}, ValueError, "reward must be one of"),
        ({"rollouts": -1}, ValueError, "rollouts"),
        ({"baseline": "median"}, ValueError, "baseline must be one of"),
        ({"critic": keras.layers.Dense(1)}, ValueError, "critic must be None"),
        ({"discount": 0.5}, ValueError, "discount must be 1"),
        ({"nll_weight": -1.0}, ValueError, "nll_weight"),
        ({"discriminator_steps": 0}, ValueError, "discriminator_steps"),
        ({"discriminator": "a"}, TypeError, "discriminator must be a Keras model"),
        ({"discriminator": built_for_three}, ValueError, "discriminator does not fit samples"),
        ({"discriminator": TokenDiscriminator(2, pooling="none")}, ValueError, "output of disc"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        SequenceGAN(small_tokens(), **options)


def test_refuses_what_is_no_generator_and_a_mask_that_nobody_takes():
    with pytest.raises(TypeError, match="generator must be a SequenceGenerator"):
        SequenceGAN(small_transducer())
    with pytest.raises(TypeError, match="discriminators must take a mask"):
        small(discriminator=Constant()).fit(
            tokens(2, 3), sample_weight=np.ones((2, 3), "float32"), verbose=0
        )
