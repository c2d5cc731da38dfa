"""The model that the repository holds gives the answers that it gave when it was made.

After `make saved-model`, which makes it anew, `python -m tests.export.test_digits` writes them.
"""

import json
import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from mf_keras import SequenceGenerator, data
from mf_keras.export.saved_model import length_of
from mf_keras.export.signatures import endpoints
from mf_keras.models import presets

ROOT = pathlib.Path(__file__).parent.parent.parent
FOLDER = ROOT / "saved_models" / "digits" / "1"
FROZEN = pathlib.Path(__file__).with_name("digits.json")
MOST_BYTES = 3_000_000


@pytest.fixture(scope="module")
def signatures():
    return load()


def load():
    return tf.saved_model.load(str(FOLDER)).signatures


def ask(signatures, seeds, temperatures):
    answer = signatures["sample"](
        seed=tf.constant(seeds, tf.int64), temperature=tf.constant(temperatures, tf.float32)
    )
    samples = answer["samples"].numpy()[..., 0].astype(int)
    return ["".join(map(str, row)) for row in samples], answer["nll"].numpy()


def test_the_answers_are_the_frozen_ones(signatures):
    frozen = json.loads(FROZEN.read_text(encoding="utf-8"))
    samples, nll = ask(signatures, frozen["seeds"], frozen["temperatures"])
    # A DNC sorts slots by usage, and another processor's rounding may sort equal ones otherwise:
    # a number may differ a little, and a draw that was close may fall to the other side.
    same = np.array([a == b for a, b in zip(samples, frozen["samples"], strict=True)])
    assert same.sum() >= 6
    np.testing.assert_allclose(nll[same], np.array(frozen["nll"])[same], atol=0.1)


def test_the_card_s_nll_is_that_of_the_whole_test_split(signatures):
    card = (FOLDER / "model_card.md").read_text(encoding="utf-8")
    stated = float(re.search(r"\| NLL \| ([0-9.]+) nats per image", card)[1])
    images = np.stack(list(data.digits("test").as_numpy_iterator()))
    nll = signatures["score"](sequences=tf.constant(images))["nll"].numpy()
    assert nll.shape == (200,)
    assert nll.mean() == pytest.approx(stated, abs=0.02)


def test_keras_reads_the_same_generator(signatures):
    generator = SequenceGenerator.from_preset("digits")
    prefix = str(FOLDER / "variables" / "variables")
    for i, weight in enumerate(generator.cell.variables):
        if weight.dtype != "float32":  # the state of a random generator
            continue
        saved = tf.train.load_variable(prefix, f"weights/{i}/.ATTRIBUTES/VARIABLE_VALUE")
        np.testing.assert_array_equal(weight, saved)
    x = tf.constant(np.stack(list(data.digits("test").take(16).as_numpy_iterator())))
    nll = signatures["score"](sequences=x)["nll"]
    found = endpoints(generator, 64)["score"](x)["nll"]
    np.testing.assert_allclose(found, nll, rtol=1e-6, atol=1e-6)
    # Compiled by XLA, sums are rounded otherwise, by which a DNC may sort its slots otherwise.
    np.testing.assert_allclose(generator.nll(x), nll, atol=0.1)


def test_it_is_small_and_served_as_configured():
    folder = ROOT / "saved_models"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= MOST_BYTES
    compose = (ROOT / "serving" / "compose.yaml").read_text(encoding="utf-8")
    assert f"../{folder.name}:/models:ro" in compose
    configs = re.findall(r"=/models/\$\{MODEL:-(\w+)\}/(\S+)", compose)
    assert len(configs) == 2
    for model, name in configs:
        assert (folder / model / name).is_file()
    assert re.search(r"image: tensorflow/serving:\$\{TF_SERVING_TAG:-\d+\.\d+\.\d+\}", compose)
    for needed in ("healthcheck:", "memory: 2G", "--monitoring_config_file=/monitoring.config"):
        assert needed in compose
    assert "enable: true" in (ROOT / "serving" / "monitoring.config").read_text(encoding="utf-8")


def freeze():
    """Write the answers of today."""
    seeds = [0, 1, 2, 3, 4, 5, 2**40, -7]
    temperatures = [1.0, 1.0, 1.0, 1.0, 0.5, 0.7, 1.5, 1e-6]
    samples, nll = ask(load(), seeds, temperatures)
    frozen = {"seeds": seeds, "temperatures": temperatures, "samples": samples}
    frozen["nll"] = [round(float(x), 4) for x in nll]
    FROZEN.write_text(json.dumps(frozen, indent=1) + "\n", encoding="utf-8")


def test_an_installed_preset_has_the_length_of_its_export():
    """The page asks for it where the export is not installed."""
    assert length_of(FOLDER) == presets.LENGTHS["digits"]


if __name__ == "__main__":
    freeze()
