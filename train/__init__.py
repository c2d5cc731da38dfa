"""The paper's experiments, one runnable module each: `python -m train.NAME --help`."""
