"""The paper's experiments, one runnable module each: `python -m train.NAME --help`."""

import glob
import os

if not glob.glob("/dev/nvidia*"):
    # TensorFlow, which is imported after this, logs at the level of errors that it found no GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
