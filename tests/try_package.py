"""What an installed package can do, without the repository: a program for `make test-package`.

It runs outside of the repository, in an environment of the package and Keras' smallest backend.
"""

import importlib.util
import pathlib
import subprocess
import sys

import numpy as np

import mf_keras


def main():
    """Use everything that must be in the package."""
    folder = pathlib.Path(mf_keras.__file__).parent
    assert folder.is_relative_to(sys.prefix), f"{folder} is not what was installed"
    assert importlib.util.find_spec("tensorflow") is None
    for file in ("py.typed", "page/static", "viewer/static"):
        assert (folder / file).exists(), file
    for name in mf_keras.__all__:
        if name != "plots":  # which needs the extra of that name
            getattr(mf_keras, name)
    command = pathlib.Path(sys.executable).with_name("mf-keras")
    shown = subprocess.run([command, "--help"], check=True, capture_output=True, text=True).stdout
    assert "page" in shown, shown
    serving = subprocess.Popen(
        [command, "page", "digits", "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert "64 steps" in serving.stdout.readline()
    finally:
        serving.kill()

    generator = mf_keras.SequenceGenerator.from_preset("digits")
    images = np.array(generator.sample(2, length=64, seed=0))
    assert images.shape == (2, 64, 1)
    model = mf_keras.MemoryForcing(generator)
    model.compile("adam")
    logs = model.fit(images, batch_size=2, verbose=0).history
    assert np.isfinite(logs["loss"]).all(), logs
    model.save("model.keras")
    assert mf_keras.checkpoints.load("model.keras").trained_steps == 1
    print(f"mf_keras {mf_keras.__version__} from {folder}: 1 passed, 0 failed")


if __name__ == "__main__":
    main()
