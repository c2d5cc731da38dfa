import keras
import numpy as np
import pytest

from mf_keras import SequenceDiscriminator, backend
from mf_keras.forcing.discriminator import PooledGRU
from tests.backends import execution as cores
from tests.backends import tf

SMALL = {"gru_units": 6, "dense_units": (5, 4)}


def sequences(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def small(shape, **kwargs):
    discriminator = SequenceDiscriminator(**SMALL, **kwargs)
    discriminator.build(shape)
    return discriminator


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_gru_equals_the_pooled_states_of_that_of_keras_with_all_gradients(pooling, masked):
    x, weights = tf.constant(sequences(3, 5, 4)), sequences(3, 6, seed=1)
    mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], bool) if masked else None

    def pooled(states):
        if pooling == "last":
            return states[:, -1]
        counted = np.ones((3, 5, 1)) if mask is None else mask[..., None]
        return tf.reduce_sum(states * counted, axis=1) / counted.sum(axis=1)

    states = keras.layers.GRU(6, return_sequences=True)
    results = []
    for layer, reduce in ((states, pooled), (PooledGRU(6, pooling), lambda x: x)):
        layer.build((3, 5, 4))
        layer.set_weights([sequences(*w.shape, seed=i) for i, w in enumerate(layer.weights[:3])])
        variables = [v.value for v in layer.trainable_variables]
        with tf.GradientTape() as tape:
            tape.watch(x)
            given = x
            if masked and isinstance(layer, PooledGRU):  # whatever padding holds
                given = tf.where(mask[..., None], x, np.nan)
            summary = reduce(layer(given, mask=mask))
            loss = tf.reduce_sum(summary * weights)
        results.append([summary, *tape.gradient(loss, [x, *variables])])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_mean_of_half_floats_is_summed_up_in_float32():
    layer = PooledGRU(2, dtype="mixed_bfloat16")
    layer.build((1, 1000, 3))
    x = np.ones((1, 1000, 3), "float32")
    states = keras.layers.GRU(2, return_sequences=True, dtype="mixed_bfloat16")
    states.build(x.shape)
    states.set_weights(layer.get_weights())
    expected = np.asarray(states(x), "float32").mean(axis=1)
    found = tf.function(layer)(x)
    np.testing.assert_allclose(np.asarray(found, "float32"), expected, rtol=2**-7)


def test_gradients_of_a_long_sequence_in_half_floats_are_summed_up_in_float32():
    x, gradients = sequences(4, 600, 3), []
    for dtype in ("float32", "mixed_bfloat16"):
        discriminator = SequenceDiscriminator(gru_units=5, dense_units=(4,), dtype=dtype)
        discriminator.build(x.shape)
        random = [sequences(*w.shape, seed=i) for i, w in enumerate(discriminator.weights)]
        discriminator.set_weights(random)
        weights = [v.value for v in discriminator.gru.weights]

        @tf.function
        def found(discriminator=discriminator, weights=weights):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.cast(discriminator(x), "float32"))
            return tape.gradient(loss, weights)

        gradients.append(found())
    for exact, rounded in zip(*gradients, strict=True):
        assert tf.norm(rounded - exact) < 0.02 * tf.norm(exact)


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 3)])
def test_takes_vectors_and_matrices_of_any_length(shape):
    discriminator = small((None, None, *shape[1:]))
    for time in (1, 7):
        assert discriminator(sequences(shape[0], time, *shape[1:])).shape == (4, 1)


@pytest.mark.parametrize("option", [None, "spectral_normalization", "layer_normalization"])
@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_padding_cannot_change_the_logit(pooling, option):
    options = {} if option is None else {option: True}
    discriminator = small((None, None, 3), pooling=pooling, **options)
    x = sequences(2, 6, 3)
    mask = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0]], bool)
    expected = np.concatenate([discriminator(x[:1, :4]), discriminator(x[1:, :2])])
    np.testing.assert_allclose(discriminator(x, mask=mask), expected, atol=1e-6)
    other = np.where(mask[..., None], x, 100.0).astype("float32")
    np.testing.assert_array_equal(discriminator(other, mask=mask), discriminator(x, mask=mask))


@pytest.mark.long
@pytest.mark.parametrize(
    ("masked", "count"), [((), 2), ((0, 1), 2), ((0,), 1), ((1,), 1), ((1,), 2)]
)
def test_a_list_gives_what_its_batches_joined_give(masked, count, monkeypatch):
    monkeypatch.setattr(cores, "count", lambda: count)
    discriminator = small((None, None, 3))
    parts = [tf.constant(sequences(2, 4, 3, seed=seed)) for seed in (0, 1)]
    masks = np.array([[[1, 1, 0, 0], [1, 1, 1, 0]], [[1, 0, 0, 0], [1, 1, 1, 1]]], bool)
    some = [mask if i in masked else None for i, mask in enumerate(masks)] if masked else None
    variables = [v.value for v in discriminator.trainable_variables]

    def gradients(inputs, mask):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            logits = discriminator(inputs, mask=mask)
            loss = tf.sin(logits)
        return logits, tape.gradient(loss, [*variables, inputs])

    logits, actual = backend.compiled(lambda x: gradients(x, some))(parts)
    counted = [mask if i in masked else np.ones((2, 4), bool) for i, mask in enumerate(masks)]
    expected, wanted = gradients(tf.concat(parts, axis=0), np.concatenate(counted))
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    actual[-1] = tf.concat(actual[-1], axis=0)
    for a, b in zip(actual, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_list_builds_it():
    data = [sequences(2, 4, 2, 3), sequences(3, 4, 2, 3, seed=1)]
    keras.utils.set_random_seed(0)
    built_by_list = SequenceDiscriminator(**SMALL)
    logits = built_by_list(data)
    keras.utils.set_random_seed(0)
    np.testing.assert_array_equal(logits, small((None, None, 2, 3))(data))


def test_learns_behind_a_layer_that_masks():
    inputs = keras.Input((None, 3))
    masked = keras.layers.Masking(100.0)(inputs)
    model = keras.Model(inputs, SequenceDiscriminator(**SMALL)(masked))
    model.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    x = sequences(2, 4, 3)
    x[0, 2:] = 100.0
    before = model.get_weights()
    history = model.fit(x, np.array([[0.0], [1.0]]), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))
    np.testing.assert_allclose(model(x)[:1], model(x[:1, :2]), atol=1e-6)


def test_rows_do_not_mix():
    discriminator = small((None, None, 3))
    x = sequences(3, 5, 3)
    expected = discriminator(x).numpy()
    x[0] += 1.0
    np.testing.assert_array_equal(discriminator(x).numpy()[1:], expected[1:])


def test_spectral_normalization_bounds_the_dense_kernels_under_xla():
    discriminator = small((None, None, 3), spectral_normalization=True)
    for layer in discriminator.dense:
        layer.layer.kernel.assign(10.0 * layer.layer.kernel)
    run = tf.function(lambda x: discriminator(x, training=True), jit_compile=True)
    for _ in range(30):
        run(sequences(2, 4, 3))
    for layer in discriminator.dense:
        norm = np.linalg.svd(layer.layer.kernel.numpy(), compute_uv=False)[0]
        assert norm == pytest.approx(1.0, abs=0.05)


def test_keras_file_brings_back_the_same_numbers(tmp_path):
    discriminator = small((None, None, 4, 3), pooling="last")
    x = sequences(2, 5, 4, 3)
    discriminator(x)
    discriminator.save(tmp_path / "discriminator.keras")
    loaded = keras.models.load_model(tmp_path / "discriminator.keras")
    np.testing.assert_array_equal(loaded(x), discriminator(x))


def test_default_sizes_are_the_paper_s():
    discriminator = SequenceDiscriminator()
    discriminator.build((None, None, 20, 16))
    shapes = [tuple(v.shape) for v in discriminator.trainable_variables]
    dense = [(128, 256), (256,), (256, 8), (8,), (8, 4), (4,), (4, 1), (1,)]
    assert shapes == [(320, 384), (128, 384), (2, 384), *dense]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"gru_units": 0}, ValueError, "gru_units"),
        ({"gru_units": 2.0}, TypeError, "gru_units"),
        ({"dense_units": (4, 0)}, ValueError, "dense_units"),
        ({"pooling": "max"}, ValueError, "pooling"),
    ],
)
def test_refuses_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        SequenceDiscriminator(**arguments)


def test_refuses_inputs_that_do_not_fit():
    discriminator = small((None, None, 3))
    with pytest.raises(ValueError, match="inputs must have 3 features"):
        discriminator(sequences(2, 4, 2, 2))
    with pytest.raises(ValueError, match="inputs must have shape"):
        discriminator(np.zeros((2, 0, 3), "float32"))
    with pytest.raises(ValueError, match="mask must have shape"):
        discriminator(sequences(2, 4, 3), mask=np.ones((2, 3), bool))
    with pytest.raises(ValueError, match="mask must be a list of 2 masks"):
        discriminator([sequences(2, 4, 3)] * 2, mask=[np.ones((2, 4), bool)])


def test_a_sequence_of_padding_alone_gives_a_finite_logit():
    mask = np.array([[True, True], [False, False]])
    assert np.isfinite(small((None, None, 3))(sequences(2, 2, 3), mask=mask)).all()


def test_spectral_norms_keep_the_dtype():
    discriminator = small((2, 4, 3), spectral_normalization=True, dtype="float64")
    x = sequences(2, 4, 3).astype("float64")
    logits, moved = discriminator(x), discriminator(x * (1.0 + 1e-10))
    assert logits.dtype == "float64"
    assert (np.array(logits) != np.array(moved)).all()  # float32 would not see it


def test_spectral_norms_do_not_round_the_weights():
    discriminator = small((2, 4, 3), spectral_normalization=True, dtype="mixed_bfloat16")
    kernel = discriminator.logit.layer.kernel
    discriminator(sequences(2, 4, 3), training=True)
    halves = tf.cast(tf.cast(kernel.value, "bfloat16"), "float32")
    assert (np.array(kernel) != np.array(halves)).any()


def test_layer_normalization_reads_the_normal_form_of_every_step():
    plain, normalized = (
        small((None, None, 2, 3)),
        small((None, None, 2, 3), layer_normalization=True),
    )
    normalized.set_weights([np.ones(6), np.zeros(6), *plain.get_weights()])
    x = sequences(4, 5, 2, 3)
    flat = x.reshape(4, 5, 6).astype("float64")
    flat = (flat - flat.mean(-1, keepdims=True)) / np.sqrt(flat.var(-1, keepdims=True) + 1e-5)
    wanted = plain(flat.reshape(x.shape).astype("float32"))
    np.testing.assert_allclose(normalized(x), wanted, atol=1e-5)
    np.testing.assert_allclose(normalized(1e3 * x), normalized(x), atol=1e-3)
    again = SequenceDiscriminator.from_config(normalized.get_config())
    assert again.layer_normalization


def test_padding_of_a_normalized_behaviour_may_be_nan():
    discriminator = small((None, None, 3), layer_normalization=True)
    x, mask = sequences(2, 4, 3), np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)
    wanted = discriminator(x, mask=mask)
    x[~mask] = np.nan
    with tf.GradientTape() as tape:
        logits = discriminator(x, mask=mask)
    np.testing.assert_array_equal(logits, wanted)
    gradients = tape.gradient(logits, discriminator.trainable_variables)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
