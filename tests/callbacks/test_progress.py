"""The progress line is short, and callbacks of Keras know which way a log is better."""

import re

import keras
import pytest

from mf_keras import MemoryForcing, SequenceDiscriminator, TeacherForcing
from tests.small import binary, small_generator, small_transducer


def compiled(model, **kwargs):
    forcing = model if isinstance(model, MemoryForcing) else TeacherForcing(model)
    forcing.compile(keras.optimizers.SGD(0.0), run_eagerly=True, **kwargs)
    return forcing


@pytest.fixture(scope="module")
def playing():
    players = [SequenceDiscriminator(gru_units=2, dense_units=(2,)) for _ in range(2)]
    return compiled(MemoryForcing(small_generator(), *players))


def lines(printed):
    """The lines on a terminal, without the codes of colours and what was overwritten."""
    text = re.sub(r"\x1b\[[0-9;]*m|\x08", "", printed)
    return [line.rsplit("\r", 1)[-1] for line in text.splitlines() if line]


def names(line):
    return re.findall(r"(\w+):", line)


def test_the_line_is_short_and_the_history_has_everything(playing, capsys):
    x = binary(4, 2, 1)
    history = playing.fit(x, validation_data=x, batch_size=2, epochs=2).history
    printed = lines(capsys.readouterr().out)
    ends = [names(line) for line in printed if "val_" in line]
    assert ends == 2 * [["loss", "nll", "gate", "val_nll"]]
    assert max(map(len, printed)) <= 100
    assert {"c_m", "hidden_discriminator_gate_open", "val_bits_per_step"} <= set(history)
    assert len(history) >= 15


def test_the_longest_line_fits(playing, capsys):
    line = playing.fit(binary(2, 2, 1), verbose=0).history
    logs = dict.fromkeys((*line, "val_nll", "val_loss"), 543.21) | {"skipped_updates": 0.0}
    gates = {name: 0.5 for name in logs if name.endswith("_gate_open")}
    bar = keras.utils.Progbar(938, width=5)
    bar.update(938, list(playing.logs.line({**logs, **gates}).items()))
    (line,) = lines(capsys.readouterr().out)
    assert len(line.replace("0s 0us/step", "75s 800ms/step")) <= 100


def test_verbose_means_what_it_means_to_keras(playing, capsys):
    x = binary(4, 2, 1)
    playing.fit(x, verbose=0)
    assert capsys.readouterr().out == ""
    playing.fit(x, verbose=2, epochs=2)
    assert [names(line) for line in lines(capsys.readouterr().out)[1::2]] == 2 * [
        ["loss", "nll", "gate"]
    ]
    playing.evaluate(x, verbose=2)
    assert names(lines(capsys.readouterr().out)[-1]) == ["nll", "nll_per_step"]
    playing.fit(x, callbacks=[keras.callbacks.ProgbarLogger()])
    assert "hidden_discriminator_loss" in capsys.readouterr().out


def test_updates_that_were_skipped_are_shown(playing):
    logs = dict.fromkeys(("loss", "nll", "skipped_updates"), 1.0)
    assert playing.logs.line(logs) == {"nll": 1.0, "skipped_updates": 1.0}


@pytest.mark.parametrize(
    ("log", "mode"),
    [("val_nll", "min"), ("val_correct_predictions", "max"), ("bit_errors", "min")],
)
def test_callbacks_of_keras_know_the_direction(tmp_path, log, mode):
    watching = [
        keras.callbacks.EarlyStopping(log),
        keras.callbacks.ModelCheckpoint(tmp_path / "a.keras", monitor=log, save_best_only=True),
        keras.callbacks.ReduceLROnPlateau(log),
    ]
    x, y = binary(4, 2, 3), binary(4, 2, 2)
    forcing = compiled(small_transducer())
    forcing.fit(x, y, validation_data=(x, y), callbacks=watching, epochs=2, verbose=0)
    assert [callback.mode for callback in watching] == 3 * [mode]
    assert (tmp_path / "a.keras").exists()


def test_the_user_has_the_last_word_and_gates_no_direction(playing):
    x, own = binary(2, 2, 1), keras.callbacks.EarlyStopping("loss", mode="max")
    accuracy = keras.callbacks.EarlyStopping("memory_discriminator_accuracy")
    playing.fit(x, callbacks=[own, accuracy], verbose=0)
    assert (own.mode, accuracy.mode) == ("max", "max")
    with pytest.raises(ValueError, match="monitor=hidden_discriminator_gate_open"):
        playing.fit(
            x, callbacks=keras.callbacks.EarlyStopping("hidden_discriminator_gate_open"), verbose=0
        )
