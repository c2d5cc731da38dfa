"""The paper's experiments, one runnable module each: `python -m train.NAME --help`."""

import os

# TensorFlow, which is imported after this, logs its errors only, not its notes and warnings.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
