"""Command-line options that the experiments share."""

import argparse

import keras

from mf_keras import DNCCell, NTMCell

CELLS = {"dnc": DNCCell, "ntm": NTMCell}


def positive_int(text):
    """An argparse type: an integer >= 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be an integer >= 1, got {text!r}")
    return value


def positive_float(text):
    """An argparse type: a finite number > 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number > 0, got {text!r}")
    return value


def seed(text):
    """An argparse type: an integer in [0, 2^32)."""
    if not text.isdecimal() or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(f"must be an integer in [0, 2^32), got {text!r}")
    return int(text)


def add_model_options(parser):
    """Options of the memory cell; the defaults are the paper's."""
    group = parser.add_argument_group("model (the paper's settings by default)")
    group.add_argument("--cell", choices=sorted(CELLS), default="dnc", help="default: dnc")
    sizes = {
        "controller-units": (64, "units of the GRU controller"),
        "memory-size": (20, "slots of the memory, N"),
        "word-size": (16, "length of a slot, W"),
        "num-reads": (4, "read heads, R"),
    }
    for name, (default, text) in sizes.items():
        group.add_argument(
            f"--{name}", type=positive_int, default=default, help=f"{text}; default: {default}"
        )


def check_forcing_options(parser, options, names):
    """End the program where options of forcing are given to teacher forcing.

    Args:
        parser: the command's, an `argparse.ArgumentParser`.
        options: what it parsed.
        names: of these options.
    """
    if options.method != "teacher_forcing":
        return
    for name in sorted(names):
        if getattr(options, name) != parser.get_default(name):
            option = "--" + name.replace("_", "-")
            parser.error(f"argument {option}: --method teacher_forcing has no discriminator")


def make_cell(options, units):
    """The memory cell that the options describe."""
    return CELLS[options.cell](
        keras.layers.GRUCell(options.controller_units),
        units,
        memory_size=options.memory_size,
        word_size=options.word_size,
        num_reads=options.num_reads,
    )


def make_optimizer(learning_rate, cosine_steps=None):
    """The paper's Adam: beta 0.9 and 0.98, epsilon 1e-9.

    Args:
        learning_rate: at the first step.
        cosine_steps: None for the same at all steps; a number of steps over which it falls to 0
            along half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983).
    """
    if cosine_steps is not None:
        learning_rate = keras.optimizers.schedules.CosineDecay(learning_rate, cosine_steps)
    return keras.optimizers.Adam(learning_rate, beta_1=0.9, beta_2=0.98, epsilon=1e-9)
