"""Where a run trains: on one device, or on several of this machine."""

import tensorflow as tf

from train import options as shared

STRATEGIES = ("none", "mirrored")


def add_options(parser):
    """The options that say on how many devices to train."""
    group = parser.add_argument_group("devices")
    group.add_argument(
        "--strategy",
        choices=STRATEGIES,
        default="none",
        help="mirrored: every batch is shared by several devices, to the same weights but for "
        "rounding, and without XLA; default: none",
    )
    group.add_argument(
        "--devices",
        metavar="N",
        type=shared.positive_int,
        help="with mirrored: how many; without GPUs the CPU is divided into so many; default: all",
    )


def make(options):
    """The strategy in whose scope the model is made; to be asked for before TensorFlow starts.

    Raises:
        ValueError: there are not so many devices, the batch is too small for them, or there is
            only one strategy that they go with.
    """
    # Runs from before there were strategies do not name one.
    name, count = getattr(options, "strategy", "none"), getattr(options, "devices", None)
    if name == "none":
        if count is not None:
            raise ValueError("--devices goes with --strategy mirrored, got --strategy none.")
        return tf.distribute.get_strategy()
    strategy = tf.distribute.MirroredStrategy(_devices(count))
    if options.batch_size < strategy.num_replicas_in_sync:
        raise ValueError(
            f"--batch-size must be at least the {strategy.num_replicas_in_sync} devices, "
            f"got {options.batch_size}."
        )
    return strategy


def _devices(count):
    """The names of the first `count` devices; None for TensorFlow's choice, all of them."""
    if count is None:
        return None
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
        tf.config.set_logical_device_configuration(cpu, parts)
        return [f"CPU:{index}" for index in range(count)]
    if count > len(gpus):
        raise ValueError(f"--devices must be at most the {len(gpus)} GPUs, got {count}.")
    return [f"GPU:{index}" for index in range(count)]
