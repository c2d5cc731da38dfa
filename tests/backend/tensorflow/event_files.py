"""What event files hold."""

from tests.backends import tf


def event_values(folder):
    """(tag, step, plugin, tensor) of every summary in the event files."""
    from tensorflow.core.util import event_pb2

    found = []
    for path in folder.iterdir():
        for record in tf.data.TFRecordDataset(str(path)):
            event = event_pb2.Event.FromString(record.numpy())
            for value in event.summary.value:
                plugin = value.metadata.plugin_data.plugin_name
                found.append((value.tag, event.step, plugin, tf.make_ndarray(value.tensor)))
    return found
