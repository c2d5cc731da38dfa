import tensorflow as tf

from mf_keras.backend.tensorflow.events import EventFile
from tests.backend.tensorflow.event_files import event_values


def test_numbers_pictures_and_text_are_read_back(tmp_path):
    png = tf.io.encode_png(tf.zeros((2, 3, 1), tf.uint8)).numpy()
    events = EventFile(tmp_path / "logs" / "own")
    events.scalars({"nll": 2.5, "loss": 3}, step=4)
    events.picture("samples", png, step=5)
    events.text("note", "**bold**", step=6)
    found = event_values(tmp_path / "logs" / "own")
    numbers = [(tag, step, float(x)) for tag, step, plugin, x in found if plugin == "scalars"]
    assert numbers == [("nll", 4, 2.5), ("loss", 4, 3.0)]
    ((tag, step, picture),) = [(t, s, x) for t, s, plugin, x in found if plugin == "images"]
    assert (tag, step, picture.tolist()) == ("samples", 5, [b"3", b"2", png])  # width, height
    ((tag, step, text),) = [(t, s, x) for t, s, plugin, x in found if plugin == "text"]
    assert (tag, step, text.item()) == ("note", 6, b"**bold**")
