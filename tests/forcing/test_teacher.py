import keras
import numpy as np
import pytest

from mf_keras import DNCCell, SequenceGenerator, SequenceTransducer, TeacherForcing
from tests.backends import tf
from tests.small import binary, small_cell, small_generator, small_transducer

GRAPH = {"run_eagerly": False, "jit_compile": False}  # a graph, but without XLA


def compiled(generator=None, **kwargs):
    """A compiled model; it runs eagerly unless asked for more, since tracing takes longest."""
    model = TeacherForcing(generator or small_generator())
    defaults = {"optimizer": keras.optimizers.Adam(1e-2), "run_eagerly": True}
    model.compile(**{**defaults, **kwargs})
    return model


def weights_of(model):
    return [np.array(v) for v in model.trainable_variables]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def triples(batch=4, time=3):
    weights = np.zeros((batch, time), "float32")
    weights[:, 1:] = 1.0
    return binary(batch, time, 3), binary(batch, time, 2, seed=1), weights


def test_a_step_is_gradient_descent_on_the_mean_nll():
    generator, x = small_generator(kind=DNCCell), binary(4, 3, 1)
    variables = [v.value for v in generator.trainable_variables]
    before = [np.array(v) for v in variables]
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(generator.nll(x))
    gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
    compiled(generator, optimizer=keras.optimizers.SGD(0.1), run_eagerly=True).fit(x, verbose=0)
    for old, new, gradient in zip(before, variables, gradients, strict=True):
        np.testing.assert_allclose(new, old - 0.1 * gradient, rtol=1e-5, atol=1e-5)


def test_regularizers_are_gate_open():
    x, moved = binary(4, 2, 1), {}
    for strength in (0.0, 0.5):
        keras.utils.set_random_seed(0)
        generator = small_generator()
        kernel = generator.cell.controller.kernel
        kernel.regularizer = keras.regularizers.L2(strength) if strength else None
        before = np.array(kernel)
        compiled(generator, optimizer=keras.optimizers.SGD(0.1), run_eagerly=True).fit(x, verbose=0)
        moved[strength] = np.array(kernel) - before
    np.testing.assert_allclose(moved[0.5] - moved[0.0], -0.1 * 2.0 * 0.5 * before, atol=1e-5)


@pytest.mark.long
def test_fit_learns_and_logs():
    x = np.repeat(binary(1, 8, 1), 32, axis=0)
    model = compiled(**GRAPH)
    history = model.fit(x, batch_size=16, epochs=25, validation_data=x, verbose=0).history
    assert history["val_nll"][-1] < 0.3 * history["val_nll"][0]
    assert history["val_loss"] == history["val_nll"]
    assert {"loss", "nll", "bits_per_step", "val_bits_per_step"} <= set(history)


def test_evaluate_weighs_every_sequence_alike():
    model, x = compiled(), binary(7, 6, 1)
    expected = model.generator.nll(x).numpy().mean()
    logs = model.evaluate(x, batch_size=3, verbose=0, return_dict=True)
    assert logs["nll"] == pytest.approx(expected, rel=1e-5)
    assert logs["bits_per_step"] == pytest.approx(expected / 6 / np.log(2), rel=1e-5)


def test_predict_gives_the_logits():
    model, x = compiled(), binary(5, 3, 1)
    np.testing.assert_allclose(model.predict(x, verbose=0), model.generator(x), atol=1e-5)


def unbuilt():
    return SequenceTransducer.from_config(small_transducer().get_config())


@pytest.mark.parametrize("paired", [False, True])
def test_predict_builds_by_a_dataset(paired):
    data = binary(4, 6, 3)
    dataset = tf.data.Dataset.from_tensors((data, data[..., :2]) if paired else data)
    model = compiled(unbuilt())
    found = model.predict(dataset, verbose=0)
    np.testing.assert_allclose(found, model.generator(data), atol=1e-5)


def test_steps_whose_gradients_are_accumulated_are_counted_one_by_one(tmp_path):
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=3)
    model = compiled(optimizer=optimizer, run_eagerly=True)
    model.fit(binary(5, 2, 1), batch_size=1, verbose=0)
    assert int(model.optimizer.iterations) == 1
    assert model.trained_steps == 5
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").trained_steps == 5


@pytest.mark.long
def test_datasets_callbacks_schedules_and_several_steps_per_execution():
    schedule = keras.optimizers.schedules.ExponentialDecay(1e-2, 4, 0.5)
    optimizer = keras.optimizers.Adam(schedule, clipnorm=1.0)
    model = compiled(optimizer=optimizer, steps_per_execution=2, **GRAPH)
    dataset = tf.data.Dataset.from_tensor_slices(binary(16, 2, 1)).batch(4)
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs))
    model.fit(dataset, epochs=2, callbacks=[callback], validation_data=dataset, verbose=0)
    assert len(seen) == 2
    assert int(model.optimizer.iterations) == 8


@pytest.mark.long
def test_eager_and_compiled_steps_agree():
    x, start = binary(4, 3, 1), small_generator().get_weights()
    results = []
    for options in ({}, GRAPH, {"run_eagerly": False, "jit_compile": True}):
        model = compiled(**options)
        model.generator.set_weights(start)
        model.fit(x, batch_size=4, verbose=0)
        results.append(model.generator.get_weights())
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-4)


@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_saved_model_goes_on_as_if_never_stopped(tmp_path):
    x = binary(4, 3, 1)
    model = compiled()
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.fit(x, verbose=0)
    assert_same(weights_of(loaded.generator), weights_of(model.generator))
    assert_same(map(np.array, loaded.optimizer.variables), map(np.array, model.optimizer.variables))


def test_the_dtype_of_the_cell_decides_on_loss_scaling():
    generator = SequenceGenerator(small_cell(dtype="mixed_float16"))
    model = compiled(generator, run_eagerly=True)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    with pytest.raises(ValueError, match="dtype must be the cell's"):
        TeacherForcing(generator, dtype="float32")


def test_exports_what_was_trained(tmp_path):
    x, y, weights = triples()
    model = compiled(small_transducer(), run_eagerly=True)
    model.fit(x, y, sample_weight=weights, verbose=0)
    model.export(tmp_path / "model", "tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.serve(x), model.generator(x), atol=1e-5)


def test_an_optimizer_is_built_with_the_model():
    model = compiled(unbuilt())
    model.build((None, 3, 3))
    assert model.optimizer.built


def test_takes_verbose_where_keras_does():
    x, model = binary(4, 4, 1), compiled(run_eagerly=True)
    model.fit(x, None, 4, 1, 0, [])
    model.evaluate(x, None, 4, 0)
    model.predict(x, 4, 0)


class Parts(keras.utils.PyDataset):
    """One batch of these parts."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.parts


@pytest.mark.parametrize(
    ("cut", "of_a_batch", "of_a_dataset"),
    [
        (lambda x, y, w: (x, y[:, :1], w), "y must have shape", "targets of a batch"),
        (
            lambda x, y, w: (x, y, w[:, :1]),
            "sample_weight must have shape",
            "sample_weight of a batch",
        ),
        (lambda x, y, w: (x[..., :1], y, w), "x must have shape", "inputs of a batch"),
    ],
)
def test_streams_of_a_transducer_must_fit_too(cut, of_a_batch, of_a_dataset):
    """Else one step would be broadcast to all of them in silence."""
    parts = cut(*triples())
    with pytest.raises(ValueError, match=of_a_dataset):
        compiled(small_transducer(), **GRAPH).fit(tf.data.Dataset.from_tensors(parts), verbose=0)
    with pytest.raises(ValueError, match=of_a_batch):
        compiled(small_transducer(), run_eagerly=True).fit(Parts(parts), verbose=0)


def test_streams_of_unknown_shapes_must_fit_when_they_come():
    x, y, _ = triples()
    unknown = tuple(tf.TensorSpec((None, None, part.shape[-1])) for part in (x, y))
    data = tf.data.Dataset.from_generator(lambda: iter([(x, y[:, :1])]), output_signature=unknown)
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many sequences and steps"):
        compiled(small_transducer(), run_eagerly=True).fit(data, verbose=0)
    nothing_known = data.map(lambda x, y: tf.py_function(lambda *z: z, (x, y), (x.dtype, y.dtype)))
    with pytest.raises(ValueError, match="x must give tensors of a known rank"):
        compiled(small_transducer(), **GRAPH).fit(nothing_known, verbose=0)
    with pytest.raises(ValueError, match="y must be given, a transducer learns targets"):
        compiled(small_transducer(), run_eagerly=True).fit(Parts((x,)), verbose=0)


def test_predict_checks_the_inputs_of_a_dataset():
    x = triples()[0]
    model = TeacherForcing(small_transducer())
    with pytest.raises(ValueError, match="a batch of x must have shape"):
        model.predict(tf.data.Dataset.from_tensors(x[..., :1]), verbose=0)
    bad = tf.data.Dataset.from_tensors(np.full_like(x, np.nan))
    with pytest.raises(tf.errors.InvalidArgumentError, match="x must be finite"):
        model.predict(bad, verbose=0)
    for parts in (triples(), (x, None, triples()[2])):
        data = tf.data.Dataset.from_tensors(parts)
        np.testing.assert_allclose(model.predict(data, verbose=0), model.generator(x), atol=1e-5)


def test_predict_leaves_targets_of_a_dataset_alone():
    model, x = compiled(), binary(5, 6, 1)
    paired = tf.data.Dataset.from_tensors((x, x))
    np.testing.assert_allclose(model.predict(paired, verbose=0), model.generator(x), atol=1e-5)


def test_saves_uncompiled(tmp_path):
    model = TeacherForcing(small_generator())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not loaded.compiled
    assert_same(weights_of(loaded), weights_of(model))


@keras.saving.register_keras_serializable(package="tests")
class WithOwnWeight(TeacherForcing):
    def __init__(self, generator, **kwargs):
        super().__init__(generator, **kwargs)
        self.own = self.add_weight(shape=(), initializer="zeros", name="own")


def test_saves_the_weights_of_a_subclass(tmp_path):
    model = WithOwnWeight(small_generator())
    model.own.assign(5.0)
    model.save(tmp_path / "model.keras")
    assert float(keras.models.load_model(tmp_path / "model.keras").own) == 5.0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float64"])
def test_trains_under_other_policies(policy):
    keras.config.set_dtype_policy(policy)
    model = compiled(**(GRAPH if policy == "mixed_float16" else {}))  # where a branch is a graph
    before = weights_of(model.generator)
    # The loss scale of float16 begins too high, and halves until the gradients are finite.
    epochs = 12 if policy == "mixed_float16" else 1
    history = model.fit(binary(4, 3, 1), epochs=epochs, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert any((a != b).any() for a, b in zip(before, weights_of(model.generator), strict=True))


@pytest.mark.long
def test_trains_a_transducer_and_counts_correct_predictions():
    x, y, weights = triples()
    model = compiled(small_transducer(), optimizer=keras.optimizers.Adam(3e-2), **GRAPH)
    history = model.fit(x, y, sample_weight=weights, epochs=80, verbose=0).history
    assert history["correct_predictions"][0] < 4
    assert history["correct_predictions"][-1] == 4
    assert history["nll"][-1] < history["nll"][0]


class Batches(keras.utils.PyDataset):
    """One batch."""

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return triples()


@pytest.mark.filterwarnings("error:Skipping variable loading")
@pytest.mark.parametrize("source", ["arrays", "tf.data", "PyDataset"])
def test_a_transducer_built_by_fit_is_saved_whole(source, tmp_path):
    model = compiled(unbuilt())
    data = triples()
    if source == "arrays":
        model.fit(data[0], data[1], sample_weight=data[2], verbose=0)
    else:
        streams = {"tf.data": tf.data.Dataset.from_tensors(data), "PyDataset": Batches()}
        model.fit(streams[source], verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_same(weights_of(loaded), weights_of(model))
    assert_same(map(np.array, loaded.optimizer.variables), map(np.array, model.optimizer.variables))


def test_a_python_generator_cannot_tell_what_to_build():
    model = compiled(unbuilt(), **GRAPH)
    with pytest.raises(ValueError, match=r"x must tell the shape .* build\(\(None, T, D\)\)"):
        model.fit((triples() for _ in range(2)), verbose=0)
    model.build((None, *triples()[0].shape[1:]))
    model.fit((triples() for _ in range(9)), steps_per_epoch=2, verbose=0)
    assert model.trained_steps == 2


def test_predicts_uncompiled():
    x = triples()[0]
    model = TeacherForcing(unbuilt())
    np.testing.assert_allclose(model.predict(x, verbose=0), model.generator(x), atol=1e-5)
    with pytest.raises(ValueError, match="compile"):
        TeacherForcing(unbuilt()).evaluate(*triples()[:2], verbose=0)


def test_batches_of_different_lengths_and_bits_as_booleans():
    data = [binary(2, 4, 1), binary(2, 6, 1)]
    spec = tf.TensorSpec((None, None, 1), tf.bool)
    dataset = tf.data.Dataset.from_generator(lambda: (x > 0 for x in data), output_signature=spec)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(2))
    model = compiled(optimizer=keras.optimizers.SGD(0.0), **GRAPH)
    expected = [model.generator.nll(x).numpy() for x in data]
    logs = model.fit(dataset, verbose=0).history
    assert logs["nll"][0] == pytest.approx(np.mean(expected), rel=1e-5)
    bits = np.mean([nll / (steps * np.log(2)) for nll, steps in zip(expected, (4, 6), strict=True)])
    assert logs["bits_per_step"][0] == pytest.approx(bits, rel=1e-5)


def test_a_frozen_controller_stays_as_it_is():
    model = compiled(run_eagerly=True)
    controller = model.generator.cell.controller
    controller.trainable = False
    model.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
    before = [np.array(v) for v in controller.variables]
    model.fit(binary(4, 4, 1), verbose=0)
    assert_same(before, [np.array(v) for v in controller.variables])


BAD_DATA = [
    (np.full((4, 6, 1), 0.5, "float32"), "hold only 0 and 1"),
    (np.full((4, 6, 1), np.nan, "float32"), "hold only 0 and 1"),
    (np.zeros((4, 6), "float32"), r"must have shape \(B, T, 1\)"),
    (np.zeros((4, 6, 2), "float32"), r"must have shape \(B, T, 1\)"),
    (np.zeros((4, 0, 1), "float32"), r"must have shape \(B, T, 1\)"),
]


@pytest.mark.parametrize(("x", "words"), BAD_DATA)
def test_refuses_bad_arrays(x, words):
    model, good = compiled(), binary(4, 6, 1)
    before = weights_of(model.generator)
    with pytest.raises(ValueError, match=f"x .*{words}|x {words}"):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match=words):
        model.evaluate(x, verbose=0)
    with pytest.raises(ValueError, match=f"validation_data .*{words}|validation_data {words}"):
        model.fit(good, validation_data=x, verbose=0)
    assert_same(weights_of(model.generator), before)


def test_refuses_bad_values_in_a_dataset():
    dataset = tf.data.Dataset.from_tensor_slices(np.full((4, 6, 1), 2.0, "float32")).batch(2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="x must hold only 0 and 1"):
        compiled(**GRAPH).fit(dataset, verbose=0)
    with pytest.raises(ValueError, match="a batch of x must have shape"):
        compiled().fit(dataset.unbatch(), verbose=0)


def test_refuses_other_models_losses_and_fit_before_compile():
    with pytest.raises(TypeError, match="generator must be a SequenceGenerator"):
        TeacherForcing(keras.Sequential())
    with pytest.raises(TypeError, match="loss must not be given"):
        compiled(loss="mse")
    with pytest.raises(ValueError, match="compile"):
        TeacherForcing(small_generator()).fit(binary(4, 6, 1), verbose=0)
    with pytest.raises(ValueError, match="optimizer must be a Keras optimizer"):
        compiled(optimizer=None)
    with pytest.raises(ValueError, match="steps_per_execution"):
        compiled(steps_per_execution=0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "x must be given"),
        ({"x": binary(4, 4, 1), "y": binary(4, 4, 1)}, "x must come without targets"),
        ({"x": binary(4, 4, 1), "sample_weight": np.ones(4)}, "sample_weight must have shape"),
    ],
)
def test_a_generator_takes_no_targets(data, words):
    with pytest.raises(ValueError, match=words):
        compiled().fit(**data, verbose=0)
    with pytest.raises(ValueError, match=words):
        compiled().evaluate(**data, verbose=0)


def test_a_generator_takes_no_targets_of_datasets_and_streams_either():
    x = binary(4, 4, 1)
    data = tf.data.Dataset.from_tensors((x, x, np.ones((4, 4))))
    with pytest.raises(ValueError, match="a batch of x must come without targets"):
        compiled().fit(data, verbose=0)
    with pytest.raises(ValueError, match="a batch of validation_data must come without targets"):
        compiled().fit(x, validation_data=data, verbose=0)
    with pytest.raises(ValueError, match="x must come without targets"):
        compiled().fit(((x, x) for _ in range(1)), verbose=0)


def test_refuses_weights_of_classes():
    for call in (compiled().fit, compiled().train_on_batch):
        with pytest.raises(TypeError, match="class_weight must not be given"):
            call(binary(4, 4, 1), class_weight={0: 1.0, 1: 2.0})


def test_a_transducer_takes_triples_that_fit():
    x, y, weights = triples()
    model = compiled(small_transducer())
    for data, words in (
        ((x, None, weights), "y must be given"),
        ((x, y[:, :-1], weights), "y must have shape"),
        ((x, y, weights[:, 0]), "sample_weight must have shape"),
        ((np.full_like(x, np.nan), y, weights), "x must be finite"),
    ):
        with pytest.raises(ValueError, match=words):
            model.fit(data[0], data[1], sample_weight=data[2], verbose=0)
