import pytest

from mf_keras import backend


def test_event_files_are_tensorflow_s(tmp_path):
    with pytest.raises(ImportError, match=r"Writing event files to .* needs Keras to run on Tenso"):
        backend.EventFile(tmp_path)
    assert not list(tmp_path.iterdir())
