import pathlib
import types

import keras
import tensorflow as tf

from mf_keras.export import card
from tests.small import small_generator


def test_a_card_s_table_holds_bars_and_lines():
    folder = types.SimpleNamespace(name="x", path=pathlib.Path("1"))
    entries = {"command": "cat a | python b\nsecond"}
    written = card.text(folder, small_generator(), 4, False, 256, False, entries)
    assert r"| command | cat a \| python b<br>second |" in written.splitlines()


def test_the_card_says_what_is_known(exported):
    card = (exported[1] / "model_card.md").read_text()
    assert "# small, version 1" in card
    assert "| data | none |" in card
    assert "| method | not stated |" in card
    assert f"TensorFlow {tf.__version__}, Keras {keras.__version__}" in card
    assert "float32 (B, 6, 1)" in card
