import numpy as np
import pytest

from mf_keras import SequenceGenerator, callbacks, viewer
from mf_keras.callbacks import pictures as pictures_module
from tests.backend.tensorflow.event_files import event_values
from tests.backends import ON_JAX, tf
from tests.small import binary, small_cell, small_generator

EVENTS = None if ON_JAX else True  # which TensorFlow writes


def test_pictures_of_a_second_training_are_its_own(tmp_path, monkeypatch):
    pictures = callbacks.Pictures(tmp_path, small_generator(), binary(4, 1), (2, 2), every=3)
    drawn = []
    monkeypatch.setattr(pictures, "_runs", dict)
    monkeypatch.setattr(pictures, "_figures", lambda epoch, runs: drawn.append(epoch) or {})
    monkeypatch.setattr(viewer, "write_page", lambda *arguments, **options: None)
    for epochs in (4, 2, 3):
        for epoch in range(epochs):
            pictures.on_epoch_end(epoch, {"nll": 10.0 * epochs + epoch})
        pictures.on_train_end()
    assert drawn == [3, 4, 2, 3]
    assert pictures.history == {"nll": [(1, 30.0), (2, 31.0), (3, 32.0)]}


def test_pictures_pass_over_logs_that_are_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(callbacks.Pictures, "_draw", lambda *arguments: None)
    pictures = callbacks.Pictures(
        tmp_path / "p", small_generator(), binary(4, 1), (2, 2), tensorboard=EVENTS and tmp_path
    )
    pictures.on_epoch_end(0, {"nll": 2.0, "f1_score": np.array([0.5, 0.25])})
    assert pictures.history == {"nll": [(1, 2.0)]}


def test_pictures_are_of_one_pixel_a_step(tmp_path):
    with pytest.raises(ValueError, match="a step of the generator must be a pixel"):
        callbacks.Pictures(tmp_path, small_generator(2), binary(4, 2), (2, 2))


def test_pictures_have_no_context(tmp_path):
    generator = SequenceGenerator(small_cell(), context_size=2)
    with pytest.raises(ValueError, match="generator must be one without a context"):
        callbacks.Pictures(tmp_path, generator, binary(4, 1), (2, 2))


def test_pictures_of_samples_memory_and_logs(tmp_path):
    generator = small_generator()
    pictures = callbacks.Pictures(
        tmp_path / "pictures",
        generator,
        example=binary(16, 1),
        image_shape=(4, 4),
        every=2,
        num_samples=4,
        tensorboard=EVENTS and tmp_path / "events",
    )
    pictures.on_train_begin()
    for epoch in range(3):
        logs = {"nll": 3.0 - epoch, "val_nll": 4.0, "hidden_discriminator_accuracy": 0.5}
        pictures.on_epoch_end(epoch, logs)
    pictures.on_train_end()
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    drawn = {f"{kind}_{epoch:04d}.png" for kind in ("samples", "memory") for epoch in (2, 3)}
    assert names == drawn | {"nll.png", "discriminators.png", "memory.html"}
    page = (tmp_path / "pictures" / "memory.html").read_text("utf-8")
    assert '"title":"Memory after epoch 3"' in page
    assert '"label":"free-running","steps":16,"every":1,"given":0,"nll":null' in page
    if not EVENTS:
        return
    values = event_values(tmp_path / "events")
    scalars = {(tag, step): float(x) for tag, step, plugin, x in values if plugin == "scalars"}
    assert scalars["nll", 2] == 2.0
    images = {(tag, step): x for tag, step, plugin, x in values if plugin == "images"}
    assert {("samples", 2), ("memory", 2), ("samples", 3), ("curves/nll", 3)} <= set(images)
    views = {f"memory_over_time/{label}" for label in ("teacher-forced", "free-running")}
    assert {(view, epoch) for view in views for epoch in (2, 3)} <= set(images)
    for tag in ("memory", *views):
        width, height, png = images[tag, 2]
        assert tf.io.decode_png(png).shape[:2] == (int(height), int(width))
    texts = {(tag, step): x for tag, step, plugin, x in values if plugin == "text"}
    assert b"`memory.html`" in texts["memory.html", 0].item()
    tags = {(tag, plugin) for tag, _, plugin, _ in values}
    assert len(tags) == len({tag for tag, _ in tags})


def test_pictures_of_weights_in_tensorboard_are_those_that_a_cell_has():
    memory, weights = np.zeros((4, 3, 2)), np.full((4, 1, 3), -0.5)
    runs = {
        "none": viewer.Run(binary(4, 1), memory),
        "signed": viewer.Run(binary(4, 1), memory, weights, weights),
        "no writes": viewer.Run(binary(4, 1), memory, read_weights=weights),
    }
    figures = pictures_module._over_time(runs, "epoch 1")
    panels = {label: len(figure.axes) - 2 for label, figure in figures.items()}
    assert panels == {"signed": 3, "no writes": 2}
