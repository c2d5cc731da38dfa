import sys

import numpy as np
import pytest

from train import midi, sequence_data


def played(path):
    """The notes of a file: `(key, first frame, frame after the last)`."""
    mido = pytest.importorskip("mido")
    now, sounding, notes = 0, {}, []
    for message in mido.MidiFile(path).tracks[0]:
        now += message.time
        frame, rest = divmod(now, midi.FRAME_TICKS)
        assert rest == 0
        if message.type == "note_on":
            sounding[message.note] = frame
        elif message.type == "note_off":
            notes.append((message.note - 21, sounding.pop(message.note), frame))
    assert not sounding
    return sorted(notes), frame


def test_a_file_plays_what_the_roll_shows(tmp_path):
    pytest.importorskip("mido")
    roll = np.random.default_rng(0).integers(0, 2, (20, 88)).astype("float32")
    roll[-2:] = 0  # silence at the end is part of the piece
    midi.write_midi(tmp_path / "piece.mid", roll)
    notes, length = played(tmp_path / "piece.mid")
    assert length == len(roll)
    again = np.zeros_like(roll)
    for key, start, end in notes:
        assert not again[start:end, key].any()
        again[start:end, key] = 1
    np.testing.assert_array_equal(again, roll)
    runs = (np.diff(np.pad(roll, ((1, 0), (0, 0))), axis=0) > 0).sum()
    assert len(notes) == runs  # a held key is one note


def test_samples_of_music_are_saved(tmp_path):
    pytest.importorskip("mido")
    pieces = np.random.default_rng(0).integers(0, 2, (6, 5, 88))
    sequence_data.DATASETS["music"].save(pieces, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"sample_{i}.mid" for i in range(1, 5)
    ]
    assert played(tmp_path / "sample_2.mid")[1] == 5


def test_music_without_mido_says_what_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "mido", None)
    sequence_data.DATASETS["music"].save(np.ones((2, 3, 88)), tmp_path)
    assert "pip install mido" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
