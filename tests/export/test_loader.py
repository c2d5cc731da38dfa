"""The export answers a program without Python, on the TensorFlow library of the wheel."""

import pathlib
import shutil
import subprocess

import numpy as np
import pytest
import tensorflow as tf

from tests.small import binary

SOURCE = pathlib.Path(__file__).with_name("loader.cc")
LIBRARIES = ("libtensorflow_cc.so.2", "libtensorflow_framework.so.2")
INVALID_ARGUMENT = "3"


@pytest.fixture(scope="module")
def loader(tmp_path_factory):
    """The compiled program."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler: neither g++ nor clang++ is installed")
    folder = pathlib.Path(tf.sysconfig.get_lib())
    if missing := [name for name in LIBRARIES if not (folder / name).exists()]:
        pytest.skip(f"this TensorFlow comes without {', '.join(missing)}")
    program = tmp_path_factory.mktemp("loader") / "loader"
    command = [compiler, "-std=c++17", "-Wall", "-Werror", f"-I{tf.sysconfig.get_include()}"]
    command += [str(SOURCE), "-o", str(program), "-Wl,--no-as-needed", f"-Wl,-rpath,{folder}"]
    command += [str(folder / name) for name in LIBRARIES]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return program


def ask(loader, folder, signature, inputs, outputs):
    """Arrays by name, or the words of an error."""
    arguments = [
        f"{name}:{'int64' if x.dtype == np.int64 else 'float'}:"
        f"{','.join(map(str, x.shape))}:{','.join(map(repr, x.ravel().tolist()))}"
        for name, x in inputs.items()
    ]
    command = [str(loader), str(folder), signature, *arguments, "--", *outputs]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    if run.stdout.startswith("error"):
        return run.stdout.split(maxsplit=2)
    answer = {}
    for line in run.stdout.splitlines():
        name, shape, *values = line.split()
        shape = [int(size) for size in shape.split(",")]
        answer[name] = np.array([float.fromhex(x) for x in values], "float32").reshape(shape)
    return answer


def test_the_same_samples_to_the_bit_and_the_same_scores(loader, exported, signatures):
    _, folder = exported
    request = {"seed": np.arange(5), "temperature": np.linspace(0.5, 2.0, 5).astype("float32")}
    expected = signatures["serving_default"](**{k: tf.constant(x) for k, x in request.items()})
    answer = ask(loader, folder, "serving_default", request, ["samples", "nll"])
    np.testing.assert_array_equal(answer["samples"], expected["samples"])
    np.testing.assert_allclose(answer["nll"], expected["nll"], rtol=1e-5)
    scores = ask(loader, folder, "score", {"sequences": answer["samples"]}, ["nll"])
    np.testing.assert_allclose(scores["nll"], expected["nll"], rtol=1e-5)
    request["prefix"] = answer["samples"][:, :2]
    completed = ask(loader, folder, "complete", request, ["samples"])
    np.testing.assert_array_equal(completed["samples"], expected["samples"])


@pytest.mark.parametrize(
    ("signature", "inputs", "words"),
    [
        ("score", {"sequences": binary(2, 5, 1)}, "not compatible with expected shape"),
        ("score", {"sequences": binary(2, 6)}, "not compatible with expected shape"),
        ("score", {"sequences": np.full((1, 6, 1), 0.5, "f")}, "must hold only 0 and 1"),
        (
            "sample",
            {"seed": np.arange(2), "temperature": np.zeros(2, "f")},
            "temperature must be finite and above 0",
        ),
    ],
)
def test_a_bad_request_is_an_invalid_argument(loader, exported, signature, inputs, words):
    """Here nothing stands before the graph: the session feeds tensors of any shape."""
    _, code, message = ask(loader, exported[1], signature, inputs, ["nll"])
    assert code == INVALID_ARGUMENT
    assert words in message
