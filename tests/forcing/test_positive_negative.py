"""Positive/negative Memory Forcing: exactness, the buffers' part, saving, data."""

import keras
import numpy as np
import pytest

from mf_keras import (
    MemoryReplay,
    PositiveNegativeMemoryForcing,
    SequenceDiscriminator,
    SequenceTransducer,
    TeacherForcing,
)
from mf_keras.forcing.adversary import Adversary, Outcome
from mf_keras.forcing.metrics import SkippedUpdates
from mf_keras.forcing.updates import Updates
from tests.backends import tf
from tests.small import binary, small_generator, small_transducer

TIME, UNITS = 3, 1


def make(method=PositiveNegativeMemoryForcing, optimizer=None, compiling=None, **options):
    """A small model that is ready as soon as its buffers hold two of each kind."""
    keras.utils.set_random_seed(1)
    transducer = small_transducer(UNITS)
    random = np.random.default_rng(0)
    for variable in transducer.trainable_variables:
        variable.assign(3.0 * variable + random.normal(scale=0.3, size=variable.shape))
    if method is PositiveNegativeMemoryForcing:
        keras.utils.set_random_seed(2)
        options = {
            "discriminator": SequenceDiscriminator(gru_units=4, dense_units=(3,)),
            "replay": MemoryReplay(4),
            "discriminator_batch": 1,
            "gate": None,
        } | options
    model = method(transducer, **options)
    compiling = {"run_eagerly": True} if compiling is None else compiling
    if method is PositiveNegativeMemoryForcing:
        compiling = {"discriminator_optimizer": keras.optimizers.SGD(0.5), **compiling}
    model.compile(optimizer or keras.optimizers.SGD(0.1), **compiling)
    return model


def batch(size=8, seed=0, counted=2):
    """Inputs, targets and weights; only the last `counted` steps count."""
    weights = np.zeros((size, TIME), "float32")
    weights[:, -counted:] = 1.0
    x = binary(size, TIME, UNITS + 1, seed=seed)
    return x, binary(size, TIME, UNITS, seed=seed + 100), weights


def stream(batches, size=8):
    """A dataset of so many batches."""
    parts = [batch(size, seed=index) for index in range(batches)]
    joined = tuple(np.concatenate(part) for part in zip(*parts, strict=True))
    return tf.data.Dataset.from_tensor_slices(joined).batch(size)


def weights_of(model):
    return [np.array(v) for v in model.trainable_variables]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def differ(first, second):
    return any((a != b).any() for a, b in zip(first, second, strict=True))


def fill(model, count=3):
    """So many positive and negative dynamics that differ, in both buffers."""
    if not model.built:
        model.build((None, TIME, UNITS + 1))
    shape = model.replay.dynamics.shape[1:]
    for index in range(2 * count):
        dynamics = np.random.default_rng(index).normal(size=(1, *shape)).astype("float32")
        steps = np.array([1 + index % shape[0]])
        model.replay.push(dynamics, np.array([index % 2 == 0]), steps)


def test_nothing_adversarial_before_both_buffers_are_full_enough_everything_after():
    x, y, w = batch(1)
    teacher, model = make(TeacherForcing), make(discriminator_batch=1, weight=3.0)
    model.build((None, TIME, UNITS + 1))
    before = weights_of(model.discriminator)
    # One of each kind is not more than the discriminator's batch.
    zeros = np.zeros((1, TIME, 5, 4), "float32")
    model.replay.push(zeros, np.array([True]))
    history = [each.fit(x, y, sample_weight=w, verbose=0) for each in (teacher, model)]
    assert_same(weights_of(model.transducer), weights_of(teacher.generator))
    assert_same(weights_of(model.discriminator), before)
    logs = history[1].history
    assert logs["c_p"] == logs["discriminator_loss"] == logs["discriminator_accuracy"] == [0.0]
    assert logs["loss"] == pytest.approx(logs["nll"])
    fill(model)
    for each in (teacher, model):
        logs = each.fit(x, y, sample_weight=w, verbose=0).history
    assert differ(weights_of(model.transducer), weights_of(teacher.generator))
    assert differ(weights_of(model.discriminator), before)
    assert logs["c_p"][0] > 0.0
    assert logs["loss"][0] == pytest.approx(logs["nll"][0] + 3.0 * logs["c_p"][0], rel=1e-5)


def plain_step(model, x, y, w, weight, final_memory):
    """A step of eq. 7 and 10 written plainly: a tape and a pass for every loss, no masks."""
    transducer, judge, replay = model.transducer, model.discriminator, model.replay
    with tf.GradientTape() as own, tf.GradientTape() as other:
        logits, trace = transducer.trace(x)
        p = tf.sigmoid(logits)
        bits = -tf.math.log(tf.where(y == 1.0, p, 1.0 - p))[..., 0]
        loss = tf.reduce_mean(tf.reduce_sum(bits * w, axis=1))
        # Pushing comes before drawing: this step's memory may be drawn at once.
        wrong = ((np.array(logits)[..., 0] > 0) != (y[..., 0] == 1)) & (w > 0)
        for index in range(len(x)):
            steps = np.flatnonzero(w[index])[-1] + 1
            seen = trace.memory[index : index + 1, :steps]
            seen = seen[:, -1:] if final_memory else seen
            replay.push(seen.numpy(), np.array([not wrong[index].any()]))
        draws = zip(*replay.sample(2, keras.random.SeedGenerator(0)), strict=True)
        real, fake = [], []
        for index, (dynamics, steps) in enumerate(draws):
            d = tf.sigmoid(judge(dynamics[None, : int(steps)]))[0, 0]
            (real if index < 2 else fake).append(-tf.math.log(d if index < 2 else 1.0 - d))
        of_discriminator = tf.reduce_mean(real) + tf.reduce_mean(fake)
        costs = []
        for index in range(len(x)):
            steps = np.flatnonzero(w[index])[-1] + 1
            seen = trace.memory[index : index + 1, :steps]
            seen = seen[:, -1:] if final_memory else seen
            costs.append(-tf.math.log(tf.sigmoid(judge(seen))))
        loss += weight * tf.reduce_mean(costs)
    moves = [
        (v, 0.1 * g)
        for v, g in zip(
            transducer.trainable_variables,
            own.gradient(loss, [v.value for v in transducer.trainable_variables]),
            strict=True,
        )
    ] + [
        (v, 0.5 * g)
        for v, g in zip(
            judge.trainable_variables,
            other.gradient(of_discriminator, [v.value for v in judge.trainable_variables]),
            strict=True,
        )
    ]
    for variable, move in moves:
        variable.assign_sub(move)
    return float(loss)


@pytest.mark.parametrize("final_memory", [False, True])
def test_a_step_equals_the_plainly_written_one(final_memory):
    x, y, w = batch(3)
    w[0, -1] = 0.0  # this sequence is one step shorter
    models = [
        make(weight=2.0, discriminator_batch=2, final_memory=final_memory, replay=MemoryReplay(9))
        for _ in range(2)
    ]
    for model in models:
        fill(model)
    expected, model = models
    loss = plain_step(expected, x, y, w, 2.0, final_memory)
    logs = model.fit(x, y, sample_weight=w, shuffle=False, verbose=0).history
    for a, b in zip(weights_of(model), weights_of(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4)
    np.testing.assert_array_equal(model.replay.steps, expected.replay.steps)
    length = model.replay.dynamics.shape[1]
    kept = np.arange(length) < np.array(model.replay.steps)[:, np.newaxis]  # the rest is padding
    stored = (np.array(each.replay.dynamics)[kept] for each in models)
    np.testing.assert_allclose(*stored, atol=1e-5)
    assert logs["loss"][0] == pytest.approx(loss, rel=1e-5)


def test_replayed_samples_carry_no_gradient_into_the_transducer():
    """With no step of its own in what D_p judges, the transducer moves as by teacher forcing."""
    x, y, w = batch(4)
    teacher, model = make(TeacherForcing), make(gate=(1.0, 1.0))  # D_p learns, nobody hears it
    fill(model)
    before = weights_of(model.discriminator)
    for each in (teacher, model):
        each.fit(x, y, sample_weight=w, shuffle=False, verbose=0)
    assert differ(weights_of(model.discriminator), before)
    assert_same(weights_of(model.transducer), weights_of(teacher.generator))


def test_with_weight_0_the_run_is_teacher_forcing_to_the_bit():
    teacher, model = make(TeacherForcing), make(weight=0.0)
    fill(model)
    before = weights_of(model.discriminator)
    for each in (teacher, model):
        each.fit(stream(2), verbose=0)
    assert_same(weights_of(model.transducer), weights_of(teacher.generator))
    assert differ(weights_of(model.discriminator), before)


def test_closed_gates_still_the_discriminator():
    model = make(gate=(1.0, 0.0))
    fill(model)
    before = weights_of(model.discriminator)
    x, y, w = batch()
    model.fit(x, y, sample_weight=w, verbose=0)
    assert_same(weights_of(model.discriminator), before)


@pytest.mark.long
def test_warm_up_is_teacher_forcing_with_a_learning_discriminator():
    teacher, model = make(TeacherForcing), make(warm_up_steps=2)
    fill(model)
    before = weights_of(model.discriminator)
    for each in (teacher, model):
        each.fit(stream(2), verbose=0)
    assert_same(weights_of(model.transducer), weights_of(teacher.generator))
    assert differ(weights_of(model.discriminator), before)
    assert model.get_metrics_result()["discriminator_gate_open"] == 0.0
    for each in (teacher, model):
        each.fit(stream(1), verbose=0)
    assert differ(weights_of(model.transducer), weights_of(teacher.generator))
    assert model.get_metrics_result()["discriminator_gate_open"] == 1.0


def test_predictions_go_to_the_buffer_of_their_kind():
    model = make(replay=MemoryReplay(50))
    logs = model.fit(stream(4), verbose=0).history
    positive, negative = np.array(model.replay.counts)
    assert positive == logs["correct_predictions"][0]
    assert positive + negative == 32
    assert positive > 0
    assert negative > 0
    assert set(np.array(model.replay.steps)) == {0, TIME}


@keras.saving.register_keras_serializable(package="tests")
def last_step_is_right(y, logits, sample_weight):
    """Whatever the steps before are."""
    assert sample_weight is None or sample_weight.shape == y.shape[:2]
    right = keras.ops.equal(logits[:, -1] > 0.0, y[:, -1] > 0.5)
    return keras.ops.all(right, axis=-1)


def test_correct_says_which_predictions_are_positive():
    x, y, w = batch(16)
    model = make(correct=last_step_is_right, replay=MemoryReplay(50))
    right = np.mean((model.predict(x, verbose=0)[:, -1] > 0.0) == y[:, -1])
    logs = model.fit(x, y, sample_weight=w, batch_size=16, verbose=0).history
    positive, negative = np.array(model.replay.counts)
    assert positive == 16 * right
    assert positive + negative == 16
    assert logs["correct_predictions"][0] < positive
    copy = PositiveNegativeMemoryForcing.from_config(model.get_config())
    assert copy.correct is last_step_is_right


def test_correct_must_return_a_bool_a_sequence():
    x, y, w = batch()
    for wrong in (lambda y, logits, w: y, lambda y, logits, w: y[:, 0, 0]):
        with pytest.raises(ValueError, match=r"correct must return one bool for each sequence"):
            make(correct=wrong).fit(x, y, sample_weight=w, verbose=0)


def test_logs_and_evaluation():
    model = make()
    fill(model)
    history = model.fit(stream(2), validation_data=stream(1), verbose=0).history
    shared = {"loss", "nll", "correct_predictions", "bit_errors"}
    judged = {f"discriminator_{log}" for log in ("loss", "accuracy", "gate_open")}
    own = {"c_p", "skipped_updates", *judged}
    assert set(history) == shared | own | {f"val_{name}" for name in shared}
    buffers = [np.array(v) for v in model.replay.variables]
    logs = model.evaluate(stream(1), verbose=0, return_dict=True)
    assert set(logs) == shared
    x, y, w = batch()
    assert logs["loss"] == pytest.approx(np.mean(model.transducer.nll(x, y, w)), rel=1e-5)
    assert_same([np.array(v) for v in model.replay.variables], buffers)


@pytest.mark.long
@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_a_resumed_run_is_the_same_run_to_the_bit_with_its_buffers(tmp_path):
    """Batch 1, compiled by XLA as a whole, two steps an execution."""
    optimizers = [keras.optimizers.Adam(1e-2) for _ in range(2)]
    compiling = {"jit_compile": True, "steps_per_execution": 2}
    compiling["discriminator_optimizer"] = optimizers[1]
    whole = make(gate=(0.5, 0.9), optimizer=optimizers[0], compiling=compiling)
    data = stream(12, size=1)
    history = whole.fit(data.take(8), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["c_p"][0] > 0.0
    whole.save(tmp_path / "model.keras")
    resumed = keras.models.load_model(tmp_path / "model.keras")
    for each in (whole, resumed):
        each.fit(data.skip(8), verbose=0)
    assert int(resumed.optimizer.iterations) == 12
    assert_same(weights_of(resumed), weights_of(whole))
    for a, b in zip(resumed.replay.variables, whole.replay.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    players = resumed.adversaries["memory"], whole.adversaries["memory"]
    assert_same(*([np.array(v) for v in p.optimizer.variables] for p in players))
    np.testing.assert_array_equal(resumed.seed_generator.state, whole.seed_generator.state)


@pytest.mark.long
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_trains_under_other_policies(policy):
    keras.config.set_dtype_policy(policy)
    optimizer = keras.optimizers.Adam(1e-2)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
    model = make(optimizer=optimizer, gate=(0.0, 1.0), warm_up_steps=1)
    fill(model)
    before = weights_of(model)
    x, y, w = batch(4)
    history = model.fit(x, y, sample_weight=w, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["c_p"][-1] > 0.0
    assert history["skipped_updates"] == [0.0, 0.0]
    moved = [bool((a != b).any()) for a, b in zip(before, weights_of(model), strict=True)]
    transducer = len(model.transducer.trainable_variables)
    assert any(moved[:transducer])
    assert any(moved[transducer:])


@pytest.mark.parametrize("ready", [False, True])
def test_trains_where_keras_floats_are_float64(ready):
    keras.config.set_floatx("float64")
    model = make(gate=(0.0, 1.0))
    if ready:
        fill(model)
    x, y, w = batch(4)
    history = model.fit(x, y, sample_weight=w, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert (history["c_p"][0] > 0.0) == ready


def test_the_discriminator_does_not_learn_from_the_model_s_own_behaviour():
    """C and its gradient are those of its own behaviour, the discriminator moves as without it."""

    def adversary():
        keras.utils.set_random_seed(2)
        discriminator = SequenceDiscriminator(gru_units=4, dense_units=(3,))
        discriminator.build((None, None, 2))
        updates = Updates(SkippedUpdates({"discriminator": ("loss",)}), "discriminator")
        made = Adversary(discriminator, None, updates)
        made.set_optimizer(keras.optimizers.SGD(0.1))
        return made

    real, fake, own = (tf.random.stateless_normal((4, 3, 2), [seed, 0]) for seed in range(3))
    expected, judge = adversary(), adversary().discriminator
    expected.play(real, fake)
    game = adversary()
    result = game.play_on_samples(real, fake, own, None, None, scale=3.0)
    assert_same(weights_of(game), weights_of(expected))
    with tf.GradientTape() as tape:
        tape.watch(own)
        cost = tf.reduce_mean(-tf.math.log(tf.sigmoid(judge(own))))
    np.testing.assert_allclose(result.cost, cost, rtol=1e-5)
    np.testing.assert_allclose(result.gradients["own"], 3.0 * tape.gradient(cost, own), rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"replay": MemoryReplay(4), "discriminator_batch": 4}, ValueError, "capacity above"),
        ({"replay": "full"}, TypeError, "replay must be a MemoryReplay"),
        ({"discriminator_batch": 0}, ValueError, "discriminator_batch"),
        ({"weight": -1.0}, ValueError, "weight"),
        ({"gate": 0.5}, ValueError, "gate must be"),
        ({"final_memory": 1}, TypeError, "final_memory"),
        ({"correct": "all"}, TypeError, "correct must be a function or None"),
        ({"discriminator": "a"}, TypeError, "discriminator must be a Keras model"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        PositiveNegativeMemoryForcing(small_transducer(UNITS), **options)


class Blind(keras.layers.Layer):
    """Sees no padding."""

    def call(self, x):
        return keras.ops.mean(x, axis=(1, 2))[:, :1]


def test_a_discriminator_must_take_a_mask():
    with pytest.raises(TypeError, match=r"discriminator must take a mask \(B, T\)"):
        PositiveNegativeMemoryForcing(small_transducer(UNITS), discriminator=Blind())


def test_refuses_a_generator_and_weights_that_count_no_step():
    with pytest.raises(TypeError, match="transducer must be a SequenceTransducer"):
        PositiveNegativeMemoryForcing(small_generator())
    x, y, w = batch()
    w[3] = 0.0
    model = make()
    with pytest.raises(ValueError, match=r"at least one step of every sequence.*sequence 3"):
        model.fit(x, y, sample_weight=w, verbose=0)
    data = tf.data.Dataset.from_tensor_slices((x, y, w)).batch(8)
    with pytest.raises(tf.errors.InvalidArgumentError, match="at least one step"):
        model.fit(data, verbose=0)


def test_needs_a_known_number_of_steps():
    shapes = [(None, None, UNITS + 1), (None, None, UNITS), (None, None)]
    data = tf.data.Dataset.from_generator(
        lambda: iter([batch()]), output_signature=tuple(tf.TensorSpec(s) for s in shapes)
    ).apply(tf.data.experimental.assert_cardinality(1))
    with pytest.raises(ValueError, match="length must be given to MemoryReplay"):
        make().fit(data, verbose=0)
    model = make(replay=MemoryReplay(4, length=TIME))
    model.fit(data, verbose=0)
    assert int(np.sum(model.replay.counts)) > 0


def test_the_buffers_are_built_by_the_data_of_training():
    model = PositiveNegativeMemoryForcing(
        SequenceTransducer.from_config(small_transducer(UNITS).get_config()),
        SequenceDiscriminator(gru_units=4, dense_units=(3,)),
        MemoryReplay(4),
        discriminator_batch=1,
    )
    model.compile(run_eagerly=True)
    x, y, weights = batch()
    model.evaluate(x[:, -2:], y[:, -2:], sample_weight=weights[:, -2:], verbose=0)
    model.predict(x[:, -2:], verbose=0)
    assert not model.replay.built
    model.fit(x, y, sample_weight=weights, verbose=0)
    assert model.replay.dynamics.shape[1] == TIME


@pytest.mark.parametrize("eagerly", [False, True])
def test_refuses_sequences_that_the_buffers_have_no_room_for(eagerly):
    model = make(replay=MemoryReplay(4, length=TIME - 1), compiling={"run_eagerly": eagerly})
    model.build((None, TIME - 1, UNITS + 1))
    x, y, weights = batch()
    with pytest.raises(ValueError, match=f"x must have at most {TIME - 1} steps.*got {TIME}"):
        model.fit(x, y, sample_weight=weights, verbose=0)


@pytest.mark.long
def test_draws_are_new_at_every_step_and_are_the_seed_s():
    def losses(seed):
        model = make(optimizer=keras.optimizers.SGD(0.0), discriminator_batch=3, seed=seed)
        model.adversaries["memory"].optimizer.learning_rate = 0.0
        fill(model, 4)
        kept, found = [np.array(v) for v in model.replay.variables], []
        for _ in range(2):
            for variable, value in zip(model.replay.variables, kept, strict=True):
                variable.assign(value)
            model.reset_metrics()
            logs = model.train_on_batch(*batch(2), return_dict=True)
            found.append(float(logs["discriminator_loss"]))
        return found

    first = losses(0)
    assert losses(0) == first
    assert len({*first, *losses(1)}) == 4


def test_a_config_keeps_every_option():
    options = {"gate": (0.5, 0.9), "weight": 2.0, "final_memory": True, "discriminator_batch": 3}
    options |= {"warm_up_steps": 7, "label_smoothing": 0.1, "seed": 4}
    config = PositiveNegativeMemoryForcing.from_config(make(**options).get_config()).get_config()
    assert {name: config[name] for name in options} == options


def test_logs_of_the_game_are_means_over_the_steps_that_played():
    model, no, yes = make(), np.float32(0.0), np.float32(1.0)
    nothing = Outcome(0.0, 0.0, 0.0, 0.0, no, {})
    model._track_game("memory", Outcome(3.0, 0.75, 2.0, 0.0, yes, {}), played=1.0)
    model._track_game("memory", nothing, played=0.0)
    logs = model.get_metrics_result()
    expected = {"c_p": 2.0, "discriminator_loss": 3.0, "discriminator_accuracy": 0.75}
    expected["discriminator_gate_open"] = 1.0
    assert {name: float(logs[name]) for name in expected} == expected
