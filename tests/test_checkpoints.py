import ast
import io
import pathlib
import resource
import zipfile

import h5py
import keras
import numpy as np
import pytest

from mf_keras import TeacherForcing, checkpoints
from mf_keras.files import NotWrittenError
from tests.small import binary, small_generator


def test_a_failing_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "model.keras"
    path.write_text("good")

    class Failing(keras.Model):
        def save(self, path):
            path.write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        checkpoints.save_model(Failing(), path)
    assert path.read_text() == "good"
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A file of a generator, and the generator."""
    generator = small_generator()
    path = tmp_path_factory.mktemp("good") / "model.keras"
    checkpoints.save_model(generator, path)
    return path, generator


def lambda_model(path):
    """A file that holds code, which Keras would run if it were told to."""
    layer = keras.layers.Lambda(lambda x: x + 1.0)
    keras.Sequential([keras.Input((2,)), layer]).save(path)


def test_a_damaged_file_is_named(tmp_path, good):
    whole, path = good[0].read_bytes(), tmp_path / "last.keras"
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"last\.keras cannot be loaded: it is cut short"):
            checkpoints.load(path)
    inside = whole.index(b"HDF") + 4000
    path.write_bytes(whole[:inside] + bytes(4 * [255]) + whole[inside + 4 :])
    with pytest.raises(ValueError, match=r"last\.keras cannot .* model\.weights\.h5 is damaged"):
        checkpoints.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("holiday.jpg", "a picture")
    with pytest.raises(ValueError, match=r"last\.keras cannot be loaded: .*config\.json"):
        checkpoints.load(path)
    path.unlink()
    for _ in range(2):
        with pytest.raises(ValueError, match=r"last\.keras cannot .* no such file"):
            checkpoints.load(path)
        path.mkdir(exist_ok=True)


def repacked(path, source, arrays, compression=zipfile.ZIP_STORED):
    """The file `source`, with other weights: a function writes them to an open HDF5 file."""
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        arrays(file)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", compression) as new:
        for name in old.namelist():
            whole = weights.getvalue() if name.endswith(".h5") else old.read(name)
            new.writestr(name, whole)


BOMBS = {
    "zeros of HDF5": lambda file: file.create_dataset(
        "x", shape=(2**28,), dtype="f4", chunks=(2**20,), compression="gzip"
    ),
    "one value": lambda file: file.create_dataset("a/b", shape=(2**40,), dtype="f4"),
    "many": lambda file: [file.create_dataset(f"{i}", shape=(2**20,)) for i in range(20)],
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_arrays_that_unpack_to_too_much_are_refused(tmp_path, good, bomb, monkeypatch):
    path = tmp_path / "last.keras"
    repacked(path, good[0], BOMBS[bomb])
    assert path.stat().st_size < 1_000_000
    monkeypatch.setattr(keras.models, "load_model", None)  # nothing is read
    with pytest.raises(ValueError, match=r"last\.keras cannot .* unpack to \d+ bytes, more than"):
        checkpoints.load(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, good, monkeypatch):
    path = tmp_path / "last.keras"

    def zeros(file):
        file["x"] = np.zeros(2**24, "uint8")

    for count in range(2):  # one large part, and several small ones
        repacked(path, good[0], zeros, zipfile.ZIP_DEFLATED)
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            for index in range(4):
                archive.writestr(f"assets/{count}{index}", bytes(2**24 if count else 2**23))
            archive.writestr("assets/x", bytes(0 if count else 2**26))
        assert path.stat().st_size < 1_000_000
        with monkeypatch.context() as patched:
            patched.setattr(zipfile.ZipFile, "open", None)
            with pytest.raises(ValueError, match=r"last\.keras cannot .* it would unpack to"):
                checkpoints.load(path)


def test_what_was_packed_again_loads_within_the_bound(tmp_path, good):
    path = tmp_path / "last.keras"
    with zipfile.ZipFile(good[0]) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert checkpoints.load(path) is not None
    with pytest.raises(ValueError, match=r"would unpack to .* more than max_bytes=1000\."):
        checkpoints.load(path, max_bytes=1000)
    with pytest.raises(TypeError, match="max_bytes must be an integer"):
        checkpoints.load(path, max_bytes=1e9)


def test_other_kinds_of_archives_and_arrays_are_refused(tmp_path, good):
    path = tmp_path / "last.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("config.json", bytes(100))
    with pytest.raises(ValueError, match=r"its config\.json is compressed in a way"):
        checkpoints.load(path)
    kinds = {
        "holds no numbers": lambda file: file.create_dataset("x", data=["text"]),
        "is in another file": lambda file: file.create_dataset(
            "x", shape=(8,), dtype="u1", external=[("/etc/hostname", 0, 8)]
        ),
    }
    links = {"soft": h5py.SoftLink("/y"), "external": h5py.ExternalLink("other.h5", "/x")}
    for link in links.values():
        repacked(path, good[0], lambda file, link=link: file.__setitem__("x", link))
        with pytest.raises(ValueError, match=r"last\.keras cannot .* is in another place"):
            checkpoints.load(path)
    for words, arrays in kinds.items():
        repacked(path, good[0], arrays)
        with pytest.raises(ValueError, match=rf"last\.keras cannot .*x in model.* {words}"):
            checkpoints.load(path)


def test_another_model_is_named(good):
    path, generator = good
    assert type(checkpoints.load(path, like=generator)) is type(generator)
    with pytest.raises(ValueError, match="holds a SequenceGenerator, not a TeacherForcing"):
        checkpoints.load(path, like=TeacherForcing(generator))
    with pytest.raises(ValueError, match="holds a SequenceGenerator of other sizes"):
        checkpoints.load(path, like=small_generator(units=2))


def test_code_in_a_file_is_refused(tmp_path):
    lambda_model(tmp_path / "last.keras")
    with pytest.raises(ValueError, match=r"last\.keras cannot be loaded: .*Lambda.*unsafe"):
        checkpoints.load(tmp_path / "last.keras")


def test_nobody_turns_the_safe_mode_off():
    root = pathlib.Path(__file__).parent.parent
    for folder in ("mf_keras", "train", "benchmarks", "serving"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "safe_mode":
                    assert isinstance(node.value, ast.Constant), path
                    assert node.value.value is True, path
                name = getattr(node, "attr", getattr(node, "id", ""))
                assert name != "enable_unsafe_deserialization", path
                assert name != "load_model" or path.name == "checkpoints.py", path


def test_the_newest_that_can_be_used(tmp_path, good):
    path, generator = tmp_path / "last.keras", good[1]
    assert checkpoints.load_latest(path, like=generator) is None
    checkpoints.previous(path).write_bytes(good[0].read_bytes())
    assert checkpoints.load_latest(path, like=generator) is not None
    for number in (1, 2):
        path.write_bytes(b"half")
        with pytest.warns(UserWarning, match=r"last\.keras cannot .* resuming from .*previous"):
            loaded = checkpoints.load_latest(path, like=generator)
        np.testing.assert_array_equal(loaded(binary(2, 4, 1)), generator(binary(2, 4, 1)))
        assert (tmp_path / f"last.unusable-{number}.keras").read_bytes() == b"half"
        assert not path.exists()


def test_none_that_can_be_used_is_an_error_that_names_all(tmp_path, good):
    path = tmp_path / "last.keras"
    path.write_bytes(b"half")
    lambda_model(checkpoints.previous(path))
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"last\.keras cannot .*last\.previous\.keras cannot"):
        checkpoints.load_latest(path, like=good[1])
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("size", [0, 3000, 20_000])
def test_a_full_disk(tmp_path, good, size):
    """A limit on the size of files stands for it: writing fails at whatever byte it is."""
    path = tmp_path / "last.keras"
    path.write_bytes(b"old")
    checkpoints.previous(path).write_bytes(b"older")
    assert good[0].stat().st_size > size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        with pytest.raises(NotWrittenError, match=r"last\.keras could not be written: File too"):
            checkpoints.save_model(good[1], path, keep_previous=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    found = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert found == {"last.keras": b"old", "last.previous.keras": b"older"}
