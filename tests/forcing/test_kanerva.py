"""Memory Forcing on a Kanerva Machine."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mf_keras import KanervaMachine, KanervaMemoryForcing, checkpoints

PIXELS, CODE, SLOTS = 6, 3, 4


class Linear(keras.layers.Layer):
    """A discriminator whose gradient is its kernel."""

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(SLOTS * CODE, 1))

    def call(self, x, training=False):
        return keras.ops.matmul(keras.ops.reshape(x, (-1, SLOTS * CODE)), self.kernel)


def make_machine(**options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((PIXELS,)), keras.layers.Dense(CODE)])
    decoder = keras.Sequential([keras.Input((CODE,)), keras.layers.Dense(PIXELS)])
    return KanervaMachine(encoder, decoder, SLOTS, CODE, **options)


def make_model(**options):
    model = KanervaMemoryForcing(make_machine(), Linear(), **{"gate": None, **options})
    model.compile("sgd", run_eagerly=True)
    return model


def images(b=2, t=2, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (b, t, PIXELS)).astype("float32")


def test_a_step_is_that_of_both_players_by_hand():
    """Eq. 7 moves the discriminator, the machine's loss and eq. 8 move the machine."""
    model, x = make_model(weight=0.7), images()
    again = make_model(weight=0.7)
    machine, kernel = again.machine, again.adversary.discriminator.kernel
    with tf.GradientTape(persistent=True) as tape:
        losses = machine(x, training=True)
        real = machine.write(machine.encode(x))
        codes = machine.draw(real, 2)
        probabilities = tf.sigmoid(machine.decode(codes, x))
        uniform = keras.random.uniform(x.shape, seed=again.seed_generator)
        pixels = tf.cast(uniform < probabilities, "float32")
        own = probabilities + tf.stop_gradient(pixels - probabilities)
        np.testing.assert_allclose(np.unique(own.numpy().round(5)), [0.0, 1.0])
        free = machine.write(machine.encode(own))
        judge = again.adversary.discriminator
        to_real, to_free = judge(real.memory), judge(free.memory)
        cost = tf.reduce_mean(tf.nn.softplus(-to_free))
        of_judge = tf.reduce_mean(tf.nn.softplus(-to_real) + tf.nn.softplus(to_free))
        loss = tf.reduce_mean(machine.objective(losses)) + 0.7 * cost
    variables = machine.trainable_variables
    expected = [
        v - 0.01 * g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)
    ]
    expected_kernel = kernel - 1e-3 * np.sign(tape.gradient(of_judge, kernel))  # Adam's first step

    logs = model.train_on_batch(x, return_dict=True)
    assert float(logs["loss"]) == pytest.approx(float(loss), rel=1e-4)
    assert float(logs["c_m"]) == pytest.approx(float(cost), rel=1e-4)
    for found, wanted in zip(model.machine.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=found.path)
    np.testing.assert_allclose(model.adversary.discriminator.kernel, expected_kernel, atol=1e-5)
    decoder = model.machine.decoder.layers[-1].kernel
    without = make_model(weight=0.0)
    without.train_on_batch(x)
    assert not np.allclose(decoder, without.machine.decoder.layers[-1].kernel, atol=1e-6)


def test_a_closed_gate_leaves_the_machine_alone_and_evaluate_has_its_logs():
    x = images()
    closed, without = make_model(gate=(0.9, 0.99)), make_model(weight=0.0)
    logs = closed.train_on_batch(x, return_dict=True)
    without.train_on_batch(x)
    assert logs["memory_discriminator_gate_open"] == 0.0
    for a, b in zip(closed.machine.weights, without.machine.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    found = closed.evaluate(x, verbose=0, return_dict=True)
    assert {"bound", "conditional_bound", "nll"} < set(found)
    assert "c_m" not in found


def test_a_training_is_saved_and_resumed(tmp_path):
    whole, first = make_model(), make_model()
    for seed in range(2):
        whole.train_on_batch(images(seed=seed))
    for seed in range(1):
        first.train_on_batch(images(seed=seed))
    checkpoints.save_model(first, tmp_path / "last.keras")
    objects = {"Linear": Linear}
    with keras.saving.custom_object_scope(objects):
        loaded = checkpoints.load_latest(tmp_path / "last.keras", like=make_model())
    assert loaded.trained_steps == 1
    for seed in range(1, 2):
        loaded.train_on_batch(images(seed=seed))
    for a, b in zip(whole.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_file_has_what_methods_set_of_the_optimizers(tmp_path):
    model = KanervaMemoryForcing(make_machine())
    players = [keras.optimizers.AdamW(1e-3) for _ in range(2)]
    for player in players:
        player.exclude_from_weight_decay(var_names=["bias"])
    model.compile(*players)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for player in (loaded.optimizer, loaded.adversary.optimizer):
        found = [player._use_weight_decay(v) for v in loaded.machine.encoder.trainable_variables]
        assert found == [True, False]


def test_a_streak_of_skipped_updates_ends_the_training():
    model = make_model()
    model.adversary.discriminator.kernel.assign(np.full((SLOTS * CODE, 1), np.nan))
    with pytest.raises(FloatingPointError, match="not finite 10 times in a row"):
        model.fit(images(12), batch_size=1, verbose=0)


def test_sets_whose_size_is_not_known_and_logs_that_callbacks_compare():
    model = make_model()
    spec = tf.TensorSpec((None, None, PIXELS))
    stream = tf.data.Dataset.from_generator(lambda: iter([images()]), output_signature=spec)
    stream = stream.apply(tf.data.experimental.assert_cardinality(1))
    stop = keras.callbacks.EarlyStopping("val_bound")
    logs = model.fit(stream, validation_data=stream, callbacks=[stop], verbose=0).history
    other = make_model().fit(images(), shuffle=False, verbose=0).history
    np.testing.assert_allclose(logs["c_m"], other["c_m"], rtol=1e-5)


def test_the_default_discriminator_trains():
    model = KanervaMemoryForcing(make_machine())
    model.compile("adam", run_eagerly=True)
    logs = model.fit(images(), verbose=0).history
    assert np.isfinite(logs["memory_discriminator_loss"]).all()
    assert logs["skipped_updates"] == [0.0]


def test_refuses_by_name():
    machine = make_machine()
    with pytest.raises(TypeError, match="machine must be a KanervaMachine"):
        KanervaMemoryForcing("machine")
    with pytest.raises(TypeError, match="discriminator must be a Keras model"):
        KanervaMemoryForcing(machine, discriminator="d")
    with pytest.raises(ValueError, match="output of discriminator must have shape"):
        KanervaMemoryForcing(machine, keras.layers.Flatten())
    with pytest.raises(ValueError, match="discriminator does not fit memories"):
        KanervaMemoryForcing(machine, keras.layers.GRU(1))
    with pytest.raises(ValueError, match="weight must be"):
        KanervaMemoryForcing(machine, weight=-1.0)
    with pytest.raises(ValueError, match="gate must be"):
        KanervaMemoryForcing(machine, gate=0.5)
    unbuilt = KanervaMachine(keras.Sequential([keras.layers.Dense(CODE)]), machine.decoder, 2, CODE)
    with pytest.raises(ValueError, match="machine must be built"):
        KanervaMemoryForcing(unbuilt)
    model = make_model()
    with pytest.raises(ValueError, match="x must hold only pixels"):
        model.fit(2.0 * images())
    with pytest.raises(TypeError, match="loss must not be given"):
        model.compile("sgd", loss="mse")
    optimizer = keras.optimizers.SGD()
    with pytest.raises(ValueError, match="discriminator_optimizer must not be shared"):
        model.compile(optimizer, optimizer)
