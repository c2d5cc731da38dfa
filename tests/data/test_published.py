"""Published files: from a folder, checked, or fetched; else one error that says what to do."""

import functools
import hashlib
import pathlib
import re

import keras
import pytest

from mf_keras.data.published import checked_path, existing_file, published_file

URL = "https://example.com/set.bin"
SHA256 = hashlib.sha256(b"contents").hexdigest()


def test_a_file_in_a_folder_is_checked(tmp_path):
    (tmp_path / "set.bin").write_bytes(b"contents")
    assert published_file("set.bin", URL, SHA256, tmp_path) == tmp_path / "set.bin"
    assert published_file("set.bin", URL, SHA256, str(tmp_path)) == tmp_path / "set.bin"
    (tmp_path / "set.bin").write_bytes(b"others")
    with pytest.raises(ValueError, match=f"folder .* must have the published set.bin.*{SHA256}"):
        published_file("set.bin", URL, SHA256, tmp_path)


def test_a_missing_file_is_named_with_its_source(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"has no file set.bin.*{re.escape(URL)}"):
        published_file("set.bin", URL, SHA256, tmp_path)


def test_without_a_network_one_error_says_what_to_do(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network.")

    monkeypatch.setattr(keras.utils, "get_file", refuse)
    with pytest.raises(FileNotFoundError, match="folder=") as caught:
        published_file("set.bin", URL, SHA256, None)
    assert all(words in str(caught.value) for words in ("set.bin", URL, SHA256, "no network."))


def test_a_fetched_file_is_checked_and_kept(tmp_path, monkeypatch):
    """From a file:// address, so that nothing leaves the machine."""
    (tmp_path / "source.bin").write_bytes(b"contents")
    url = (tmp_path / "source.bin").as_uri()
    get_file = functools.partial(keras.utils.get_file, cache_dir=str(tmp_path))
    monkeypatch.setattr(keras.utils, "get_file", get_file)
    path = published_file("set.bin", url, SHA256, None)
    assert path.read_bytes() == b"contents"
    assert path.is_relative_to(tmp_path / "mf_keras")
    with pytest.raises(FileNotFoundError, match="could not be fetched"):
        published_file("other.bin", url, "0" * 64, None)


@pytest.mark.parametrize("value", [1, None, b"x", ["x"]])
def test_wrong_kinds_of_paths(value):
    with pytest.raises(TypeError, match="folder must be a path"):
        checked_path("folder", value)


def test_a_path_of_no_file():
    with pytest.raises(FileNotFoundError, match="path must be an existing file, got 'nowhere'"):
        existing_file("path", "nowhere")
    assert checked_path("folder", "~/x") == pathlib.Path.home() / "x"
