import fractions

import keras
import numpy as np
import pytest

from mf_keras import (
    DNCCell,
    MemoryForcing,
    ProfessorForcing,
    SequenceDiscriminator,
    SequenceGenerator,
    TeacherForcing,
)
from tests.backends import tf
from tests.forcing.small import (
    WATCHED,
    adam,
    assert_close,
    assert_same,
    discriminators,
    gate_open,
    make,
    weights_of,
)
from tests.small import LouderInTraining, binary, small_generator, small_transducer


def plain_step(model, x, weights, reverse):
    """A step of eq. 7, 8 and 9 written plainly, with a tape and a pass for every loss."""
    generator, players = model.generator, model.adversaries
    noise = keras.random.SeedGenerator(0)
    with tf.GradientTape(persistent=True) as tape:
        logits, real = generator.teacher_force(x)
        p = tf.sigmoid(logits)
        nll = -tf.reduce_sum(tf.math.log(tf.where(x == 1.0, p, 1.0 - p)), axis=(1, 2))
        loss = tf.reduce_mean(nll)
        _, _, free = generator.free_run(len(x), x.shape[1], noise)
        of_discriminators = {}
        for part, player in players.items():
            judge = player.discriminator
            seen_real, seen_free = getattr(real, part), getattr(free, part)
            d_real = tf.sigmoid(judge(tf.stop_gradient(seen_real)))
            d_free = tf.sigmoid(judge(tf.stop_gradient(seen_free)))
            of_discriminators[part] = -tf.reduce_mean(tf.math.log(d_real)) - tf.reduce_mean(
                tf.math.log(1.0 - d_free)
            )
            c = -tf.reduce_mean(tf.math.log(tf.sigmoid(judge(seen_free))))
            c += -reverse * tf.reduce_mean(tf.math.log(1.0 - tf.sigmoid(judge(seen_real))))
            loss += weights[part] * c
    groups = [(loss, generator.trainable_variables, 0.1)]
    for part, of_discriminator in of_discriminators.items():
        groups.append((of_discriminator, players[part].discriminator.trainable_variables, 0.5))
    updates = [(v, rate, tape.gradient(total, v.value)) for total, vs, rate in groups for v in vs]
    for variable, rate, gradient in updates:
        variable.assign_sub(rate * (gradient if gradient is not None else 0.0))
    return float(loss)


def test_a_step_equals_the_plainly_written_one():
    weights = {"hidden": 2.0, "memory": 3.0}
    options = {f"{part}_weight": weight for part, weight in weights.items()}
    options |= {"gate": None, "reverse_weight": 0.5, "cell": {"kind": DNCCell}}
    x = binary(4, 3, 1)
    expected = make(**options)
    loss = plain_step(expected, tf.constant(x), weights, reverse=0.5)
    model = make(**options)
    logs = model.train_on_batch(x, return_dict=True)
    assert_close(weights_of(model), weights_of(expected))
    assert logs["loss"] == pytest.approx(loss, rel=1e-5)


def test_with_weights_of_zero_a_step_moves_the_generator_as_teacher_forcing_does():
    x = binary(4, 2, 1)
    models = [
        make(TeacherForcing),
        make(gate=None, hidden_weight=0.0, memory_weight=0.0),
    ]
    for model in models:
        model.fit(x, epochs=2, shuffle=False, verbose=0)
    assert_same(*(weights_of(model.generator) for model in models))


def test_closed_gates_leave_teacher_forcing_and_still_discriminators():
    x = binary(4, 2, 1)
    teacher, model = make(TeacherForcing), make(gate=(1.0, 0.0))
    before = weights_of(model.memory_discriminator)
    for each in (teacher, model):
        logs = each.fit(x, epochs=2, shuffle=False, verbose=0).history
    assert_same(weights_of(model.generator), weights_of(teacher.generator))
    assert_same(weights_of(model.memory_discriminator), before)
    assert gate_open(logs) == [[0.0, 0.0]] * 2


def test_bits_as_booleans_are_those_bits():
    x, found = binary(4, 2, 1), []
    for dtype in ("float32", "bool"):
        model = make(TeacherForcing)
        model.fit(tf.data.Dataset.from_tensors(x.astype(dtype)), verbose=0)
        found.append(weights_of(model))
    assert_same(*found)


def test_logs_and_evaluation():
    x = binary(6, 2, 1)
    model = make()
    history = model.fit(x, validation_data=x, verbose=0).history
    adversarial = {"c_h", "c_m"} | {
        f"{part}_discriminator_{log}"
        for part in ("hidden", "memory")
        for log in ("loss", "accuracy", "gate_open")
    }
    shared = {"loss", "nll", "nll_per_step", "bits_per_step"}
    own = adversarial | {"skipped_updates"}
    assert set(history) == own | shared | {f"val_{name}" for name in shared}
    assert history["loss"][0] == pytest.approx(
        history["nll"][0] + history["c_h"][0] + history["c_m"][0], rel=1e-5
    )
    logs = model.evaluate(x, verbose=0, return_dict=True)
    assert set(logs) == shared
    assert logs["loss"] == pytest.approx(model.generator.nll(x).numpy().mean(), rel=1e-5)
    assert model.predict(x, verbose=0).shape == (6, 2, 1)


def assert_same_run(first, second):
    assert_same(weights_of(first), weights_of(second))
    for part in ("hidden", "memory"):
        a, b = first.adversaries[part], second.adversaries[part]
        np.testing.assert_array_equal(a.average, b.average)
        assert_same(map(np.array, a.optimizer.variables), map(np.array, b.optimizer.variables))
    np.testing.assert_array_equal(first.seed_generator.state, second.seed_generator.state)


@pytest.mark.long
@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_a_run_resumed_by_backup_and_restore_is_the_same_run_to_the_bit(tmp_path):
    data = tf.data.Dataset.from_tensor_slices(binary(6, 2, 1)).batch(2)
    options = {"gate": (0.5, 0.9), "discriminator_optimizer": adam()}
    whole, model = make(optimizer=adam(), **options), make(optimizer=adam(), **options)
    whole.fit(data, verbose=0)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
    model.fit(data.take(2), callbacks=[backup], verbose=0)
    resumed = make(optimizer=adam(), **options)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    resumed.fit(data.skip(2), epochs=2, callbacks=[backup], verbose=0)
    assert_same_run(resumed, whole)


@pytest.mark.long
def test_clipping_schedules_and_several_steps_per_execution():
    schedule = keras.optimizers.schedules.CosineDecay(1e-2, 10)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    model = make(
        optimizer=optimizer,
        discriminator_optimizer=adam(),
        compiling={"steps_per_execution": 2, "jit_compile": False},
    )
    data = tf.data.Dataset.from_tensor_slices(binary(16, 2, 1)).batch(4)
    history = model.fit(data, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert int(model.optimizer.iterations) == 4


@pytest.mark.long
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_trains_under_other_policies(policy):
    keras.config.set_dtype_policy(policy)
    optimizers = [adam(), adam()]
    if policy == "mixed_float16":  # Keras' scale begins too high, and would halve for many steps
        optimizers = [keras.optimizers.LossScaleOptimizer(each, 64.0) for each in optimizers]
    model = make(MemoryForcing, *optimizers, gate=(0.0, 1.0), warm_up_steps=1)
    before = weights_of(model)
    history = model.fit(binary(4, 2, 1), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["skipped_updates"] == [0.0, 0.0]
    moved = [bool((a != b).any()) for a, b in zip(before, weights_of(model), strict=True)]
    generator = len(model.generator.trainable_variables)
    assert any(moved[:generator])
    assert any(moved[generator:])


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"gate": 0.5}, ValueError, "gate must be"),
        ({"gate": (0.5, 2.0)}, ValueError, "gate must be"),
        ({"gate": ("a", 1.0)}, TypeError, "gate must be"),
        ({"hidden_weight": -1.0}, ValueError, "hidden_weight"),
        ({"memory_weight": float("nan")}, ValueError, "memory_weight"),
        ({"warm_up_steps": -1}, ValueError, "warm_up_steps"),
        ({"label_smoothing": 0.9}, ValueError, "label_smoothing"),
        ({"reverse_weight": "a"}, TypeError, "reverse_weight"),
        ({"seed": -1}, ValueError, "seed"),
        ({"memory_discriminator": "a"}, TypeError, "memory_discriminator"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        MemoryForcing(small_generator(), **options)


def test_saves_uncompiled(tmp_path):
    MemoryForcing(small_generator(), **discriminators(MemoryForcing)).save(tmp_path / "m.keras")
    assert not keras.models.load_model(tmp_path / "m.keras").compiled


def test_a_config_keeps_every_option():
    options = {"gate": (0.5, 0.9), "hidden_weight": 2.0, "memory_weight": 3.0}
    options |= {"reverse_weight": 0.5, "warm_up_steps": 7, "label_smoothing": 0.1, "seed": 4}
    model = MemoryForcing(small_generator(), **discriminators(MemoryForcing), **options)
    again = MemoryForcing.from_config(model.get_config())
    config = again.get_config()
    assert {name: config[name] for name in options} == options
    for player in again.adversaries.values():
        assert (player.gate, player.label_smoothing) == ((0.5, 0.9), 0.1)


@pytest.mark.parametrize("method", [TeacherForcing, ProfessorForcing])
def test_fit_is_training_and_evaluate_is_not(method):
    generator = SequenceGenerator(DNCCell(LouderInTraining(8), 1, memory_size=5, word_size=4))
    for variable in generator.trainable_variables:
        variable.assign(3.0 * variable)
    given = {} if method is TeacherForcing else discriminators(method)
    model, x, found = method(generator, **given), binary(8, 3, 1), []
    model.compile(keras.optimizers.SGD(0.0), run_eagerly=True)
    for run, training in ((model.train_on_batch, True), (model.test_on_batch, False)):
        model.reset_metrics()
        found.append(float(run(x, return_dict=True)["nll"]))
        assert found[-1] == pytest.approx(np.mean(generator.nll(x, training=training)), rel=1e-5)
    assert abs(found[0] - found[1]) > 1e-3


def test_files_keep_the_random_state_of_layers(tmp_path):
    """Else a run that is resumed would drop out other units."""
    layers = [keras.layers.Dropout(0.5, seed=7), keras.layers.GRU(3), keras.layers.Dense(1)]
    model = ProfessorForcing(small_generator(), keras.Sequential(layers), gate=None)
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    x = binary(4, 2, 1)
    model.train_on_batch(x)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.compile(keras.optimizers.SGD(0.1), keras.optimizers.SGD(0.5), run_eagerly=True)
        each.train_on_batch(x)
    assert_same(map(np.array, loaded.variables), map(np.array, model.variables))


def test_weights_of_costs_are_kept_as_numbers():
    model = make(hidden_weight=fractions.Fraction(1, 2))
    assert model.get_config()["hidden_weight"] == 0.5
    assert isinstance(model.get_config()["hidden_weight"], float)


def test_refuses_bad_data_and_fit_before_compile():
    model = make()
    with pytest.raises(ValueError, match="x must have at least 2 steps"):
        model.fit(binary(4, 1, 1), verbose=0)
    with pytest.raises(ValueError, match="compile"):
        MemoryForcing(small_generator(), **discriminators(MemoryForcing)).fit(binary(4, 2, 1))
    with pytest.raises(TypeError, match="generator must be a SequenceGenerator"):
        MemoryForcing(small_transducer())


def test_any_field_of_the_trace_may_be_watched():
    watched = {"read_weights": SequenceDiscriminator(3, (2,))}
    model = MemoryForcing(
        small_generator(), watch=["read_weights"], discriminators=watched, weights=None, gate=None
    )
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    history = model.fit(binary(4, 2, 1), verbose=0).history
    assert history["loss"][0] == pytest.approx(
        history["nll"][0] + history["c_read_weights"][0], rel=1e-5
    )
    config = MemoryForcing.from_config(model.get_config()).get_config()
    assert config["watch"] == ["read_weights"]
    assert config["weights"] == {"read_weights": 1.0}
    with pytest.raises(KeyError):
        _ = model.hidden_discriminator


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"watch": ("nonsense",)}, ValueError, "watch must name fields of the trace"),
        ({"watch": ("controller",)}, ValueError, "watch must name fields of the trace"),
        ({"watch": ()}, ValueError, "watch must name fields of the trace"),
        ({"watch": ("memory", "memory")}, ValueError, "watch must name fields of the trace"),
        ({"watch": "memory"}, TypeError, "watch must be names"),
        ({"discriminators": {"usage": None}}, ValueError, "discriminators must be of watched"),
        ({"weights": {"hidden": 1.0}}, ValueError, "weights must be of watched fields other"),
        ({"watch": ("usage",), "weights": {"usage": -1.0}}, ValueError, "usage_weight must be"),
    ],
)
def test_wrong_fields_to_watch_are_refused(options, error, words):
    with pytest.raises(error, match=words):
        MemoryForcing(small_generator(), **options)


@pytest.mark.parametrize("method", WATCHED)
def test_discriminator_steps_learn_from_further_free_runs(method, monkeypatch):
    """They are the steps of a game whose generator stands still, in another order of the noise."""
    x = binary(4, 6, 1)
    noise = [np.random.default_rng(seed).random((4, 6, 1), "float32") for seed in range(3)]
    found = []
    for steps, order in ((3, (0, 1, 2)), (1, (1, 2, 0))):
        model = make(method, optimizer=keras.optimizers.SGD(0.0), discriminator_steps=steps)
        left = [noise[i] for i in order]
        monkeypatch.setattr(model, "_noise", lambda _, left=left: left.pop(0))
        for _ in range(3 // steps):
            model.train_on_batch(x)
        assert not left
        found.append(weights_of(model))
    assert_close(*found)


def test_the_generator_learns_from_the_discriminators_of_the_last_update():
    x, found = binary(4, 6, 1), []
    for rate in (0.0, 0.5):
        optimizer = keras.optimizers.SGD(rate)
        model = make(discriminator_optimizer=optimizer, gate=None, discriminator_steps=2)
        before = weights_of(model.generator)
        model.train_on_batch(x)
        found.append([a - b for a, b in zip(weights_of(model.generator), before, strict=True)])
    assert max(np.abs(a - b).max() for a, b in zip(*found, strict=True)) > 1e-6


def test_discriminator_steps_are_kept_in_a_file():
    model = ProfessorForcing(small_generator(), discriminator_steps=4)
    assert ProfessorForcing.from_config(model.get_config()).discriminator_steps == 4
    with pytest.raises(ValueError, match="discriminator_steps"):
        MemoryForcing(small_generator(), discriminator_steps=0)
