"""Static binarized MNIST: the prepared data, the text files, and the errors without either."""

import itertools
import pathlib
import socket
import tempfile
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums
from tensorflow_datasets.core.utils import gcs_utils

from mf_keras.data import BINARIZED_MNIST_SHAPE, binarized_mnist

PREPARED = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "tfds"
FILES = [f"binarized_mnist_{split}.amat" for split in ("train", "valid", "test")]

needs_data = pytest.mark.skipif(
    not (PREPARED / "binarized_mnist").is_dir(), reason="needs the prepared binarized_mnist"
)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args):
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(gcs_utils, "is_dataset_on_gcs", refuse)


@pytest.fixture(autouse=True)
def _temporary_folders(monkeypatch, tmp_path_factory):
    """TFDS leaves an empty temporary folder behind for every builder that is not prepared."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("left_by_tfds")))


@pytest.fixture
def text_files(tmp_path, monkeypatch):
    """Three tiny files in the published format, and their sums in place of the published ones."""
    folder = tmp_path / "text"
    folder.mkdir()
    rng = np.random.default_rng(0)
    images = {}
    for name, count in zip(FILES, (5, 4, 3), strict=True):
        images[name] = rng.integers(0, 2, (count, 784))
        np.savetxt(folder / name, images[name], fmt="%d")
    builder_class = tfds.builder_cls("binarized_mnist")
    sums = {
        url: checksums.compute_url_info(folder / pathlib.PurePosixPath(url).name)
        for url in builder_class.url_infos
    }
    monkeypatch.setattr(builder_class, "url_infos", sums)
    return folder, images


@needs_data
@pytest.mark.parametrize(("split", "size"), [("train", 50_000), ("validation", 10_000)])
def test_sizes_and_values(split, size):
    data = binarized_mnist(split, data_dir=PREPARED)
    assert int(data.cardinality()) == size
    x = np.stack(list(data.take(100).as_numpy_iterator()))
    assert x.shape == (100, 784, 1)
    assert x.dtype == np.float32
    assert set(np.unique(x)) == {0.0, 1.0}


@needs_data
def test_the_whole_test_split():
    data = binarized_mnist("test", data_dir=str(PREPARED))
    assert int(data.cardinality()) == 10_000
    x = np.concatenate(list(data.batch(1000).as_numpy_iterator()))
    assert ((x == 0) | (x == 1)).all()
    assert x.mean() == pytest.approx(0.13251, abs=1e-5)
    images = x.reshape(-1, *BINARIZED_MNIST_SHAPE)
    assert images[:, [0, -1]].mean() < 1e-3  # a digit is in the middle of its image
    assert images[:, 12:16, 12:16].mean() > 0.3


@needs_data
def test_every_call_gives_the_same_order():
    first, second = (
        np.stack(list(binarized_mnist("test", PREPARED).take(50).as_numpy_iterator()))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


@needs_data
def test_text_files_are_not_needed_once_prepared(tmp_path):
    binarized_mnist("test", data_dir=PREPARED, manual_dir=tmp_path / "gone")


def test_prepares_from_text_files(tmp_path, text_files):
    folder, images = text_files
    prepared = tmp_path / "prepared"
    prepared.mkdir()
    for split, name in zip(("train", "validation", "test"), FILES, strict=True):
        data = binarized_mnist(split, data_dir=prepared, manual_dir=folder)
        assert int(data.cardinality()) == len(images[name])
        x = np.stack(list(data.as_numpy_iterator()))[..., 0]
        assert sorted(map(tuple, x)) == sorted(map(tuple, images[name]))
    # What is prepared needs the text files no longer.
    for file in folder.iterdir():
        file.unlink()
    assert int(binarized_mnist("train", data_dir=prepared).cardinality()) == 5


def test_nothing_prepared_says_what_to_do_at_once(tmp_path):
    start = time.monotonic()
    with pytest.raises(FileNotFoundError) as caught:
        binarized_mnist("train", data_dir=tmp_path)
    assert time.monotonic() - start < 5
    message = str(caught.value)
    for part in (str(tmp_path), "data_dir=", "TFDS_DATA_DIR", "manual_dir=", *FILES):
        assert part in message
    addresses = [word for word in message.split() if word.startswith("http")]
    assert sorted(address.rsplit("/", 1)[1] for address in addresses) == sorted(FILES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "present", [combo for size in range(3) for combo in itertools.combinations(FILES, size)]
)
def test_missing_text_files_are_named(tmp_path, present):
    folder = tmp_path / "text"
    folder.mkdir()
    for name in present:
        (folder / name).write_text("0 1\n")
    with pytest.raises(FileNotFoundError, match="manual_dir") as caught:
        binarized_mnist("train", data_dir=tmp_path, manual_dir=folder)
    message = str(caught.value)
    for name in FILES:
        assert (f"{name} (http" in message) == (name not in present)
    assert list(tmp_path.iterdir()) == [folder]


def test_a_forged_text_file_is_refused(tmp_path, text_files):
    folder, _ = text_files
    (folder / FILES[1]).write_text("0 1\n")
    with pytest.raises(ValueError, match=r"manual_dir .* not the published one"):
        binarized_mnist("train", data_dir=tmp_path, manual_dir=folder)
    with pytest.raises(FileNotFoundError, match="is not prepared"):
        binarized_mnist("train", data_dir=tmp_path)


def test_data_dir_that_does_not_exist(tmp_path, text_files):
    wrong = tmp_path / "wrong"
    for manual_dir in (None, text_files[0]):
        with pytest.raises(FileNotFoundError, match="data_dir must be an existing folder"):
            binarized_mnist("train", data_dir=wrong, manual_dir=manual_dir)
    assert not wrong.exists()


def test_data_dir_that_is_a_file(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(FileNotFoundError, match="data_dir must be an existing folder"):
        binarized_mnist("train", data_dir=file)


@pytest.mark.parametrize("split", ["valid", "train[:10]", None, 1])
def test_unknown_split(split):
    with pytest.raises(ValueError, match="split must be one of"):
        binarized_mnist(split)


@pytest.mark.parametrize("name", ["data_dir", "manual_dir"])
@pytest.mark.parametrize("value", [1, True, b"folder", ["folder"]])
def test_wrong_kind_of_path(name, value):
    with pytest.raises(TypeError, match=f"{name} must be a path"):
        binarized_mnist("train", **{name: value})
