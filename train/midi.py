"""Piano rolls as MIDI files, for any player."""

import pathlib

import numpy as np

from mf_keras import files
from train.drawings import LOWEST_KEY

FRAME_TICKS = 240  # half a beat of mido's 480 ticks: a quarter of a second, at 120 beats a minute
VELOCITY = 80  # how hard a key is struck, of 127


def write_midi(path: pathlib.Path, roll: np.ndarray) -> None:
    """Write a piano roll as a MIDI file, atomically.

    A key that sounds in several frames one after the other is one note: the rolls do not say
    whether it is struck again. Every frame lasts 0.25 seconds, whatever it is in the piece.

    Args:
        path: of the file.
        roll: (T, 88) of 0 and 1.

    Raises:
        ImportError: mido is not installed.
        mf_keras.files.NotWrittenError: it cannot be written; an old file is untouched.
    """
    try:
        import mido
    except ImportError as error:
        raise ImportError("MIDI files need mido: pip install mido") from error
    silence = np.zeros((1, roll.shape[1]), "int8")
    changes = np.diff(np.concatenate([silence, roll.astype("int8"), silence]), axis=0)
    track, before = mido.MidiTrack(), 0
    for frame, keys in enumerate(changes):
        # What ends, then what begins, so that no note ends the next one of its key.
        for sign, kind in ((-1, "note_off"), (1, "note_on")):
            for key in np.flatnonzero(keys == sign):
                note, time = LOWEST_KEY + int(key), FRAME_TICKS * (frame - before)
                track.append(mido.Message(kind, note=note, velocity=VELOCITY, time=time))
                before = frame
    track.append(mido.MetaMessage("end_of_track", time=FRAME_TICKS * (len(roll) - before)))
    with files.atomic_write(path) as temporary:
        mido.MidiFile(type=0, tracks=[track]).save(temporary)
