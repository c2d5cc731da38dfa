"""Episodes of Omniglot: of synthetic characters, and of the prepared data where there is some."""

import pathlib
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from mf_keras.data import algorithmic, binarized_omniglot, omniglot, omniglot_episodes

PREPARED = pathlib.Path(__file__).parents[2] / ".." / "shared" / "data" / "tfds"
CHARACTERS, DRAWERS, SIZE = 7, 20, 8

needs_data = pytest.mark.skipif(
    not (PREPARED / "omniglot").is_dir(), reason="needs the prepared omniglot"
)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(algorithmic, "_LARGEST_BLOCK", 100)


def characters():
    """Image (c, d) has c + 1 bright pixels in its first row and d more in its last rows."""
    images = np.zeros((CHARACTERS, DRAWERS, SIZE // 2, SIZE // 2), "uint8")
    for c in range(CHARACTERS):
        for d in range(DRAWERS):
            images[c, d].flat[: c + 1] = 255
            images[c, d].flat[-2:] = [100 + d, 50]
    return images.repeat(2, axis=2).repeat(2, axis=3)  # each pixel is a block of 2 x 2


def episodes(count, classes=3, shots=4, strings=False, augment=False, seed=0):
    stream = omniglot._episodes(characters(), classes, shots, strings, augment, seed)
    return [x.numpy() for x in next(iter(stream.batch(count)))]


def who(inputs):
    """The character and the drawer of every image, from its pixels."""
    small = inputs[..., : SIZE * SIZE // 4]
    character = (small[..., :8] == 1.0).sum(-1) - 1
    return character, np.rint(255 * small[..., -2]).astype(int) - 100


def test_an_episode_has_each_class_as_often_as_asked_and_no_drawing_twice():
    inputs, targets, weight = episodes(50)
    assert inputs.shape == (50, 12, 16 + 3)
    assert (targets.shape, targets.dtype, weight.shape) == ((50, 12), np.int32, (50, 12))
    np.testing.assert_array_equal(weight, 1.0)
    character, drawer = who(inputs)
    for labels, classes, people in zip(targets, character, drawer, strict=True):
        np.testing.assert_array_equal(np.bincount(labels), [4, 4, 4])
        named = {label: set(classes[labels == label]) for label in range(3)}
        assert all(len(each) == 1 for each in named.values())  # a label is one character
        assert len(set.union(*named.values())) == 3
        assert len(set(zip(classes, people, strict=True))) == 12


def test_labels_come_one_step_late():
    inputs, targets, _ = episodes(20)
    late = inputs[..., 16:]
    np.testing.assert_array_equal(late[:, 0], 0.0)
    np.testing.assert_array_equal(late[:, 1:], np.eye(3)[targets[:, :-1]])


def test_classes_labels_drawers_and_order_are_random():
    inputs, targets, _ = episodes(800)
    character, drawer = who(inputs)
    for values, kinds in ((character, CHARACTERS), (drawer, DRAWERS)):
        shares = np.bincount(values.ravel(), minlength=kinds) / values.size
        np.testing.assert_allclose(shares, 1 / kinds, rtol=0.2)
    for label in range(3):  # any character has any label
        shares = np.bincount(character[targets == label], minlength=CHARACTERS)
        np.testing.assert_allclose(shares / shares.sum(), 1 / CHARACTERS, rtol=0.4)
    for t in (0, 5, 11):
        np.testing.assert_allclose(np.bincount(targets[:, t]) / 800, 1 / 3, atol=0.06)


def test_a_seed_is_a_stream():
    first, again, other = episodes(3, augment=True), episodes(3, augment=True), episodes(3, seed=1)
    for x, y in zip(first, again, strict=True):
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(first[1], other[1])


def test_string_labels_are_five_letters_of_five_and_of_one_class():
    inputs, targets, _ = episodes(60, strings=True)
    assert inputs.shape == (60, 12, 16 + 25)
    assert targets.shape == (60, 12, 25)
    letters = targets.reshape(60, 12, 5, 5)
    np.testing.assert_array_equal(letters.sum(-1), 1.0)
    np.testing.assert_array_equal(inputs[:, 1:, 16:], targets[:, :-1])
    np.testing.assert_array_equal(inputs[:, 0, 16:], 0.0)
    character, _ = who(inputs)
    for classes, names in zip(character, letters.argmax(-1), strict=True):
        assert len({(c, *name) for c, name in zip(classes, names, strict=True)}) == 3
    np.testing.assert_allclose(letters.mean((0, 1, 2)), 0.2, atol=0.04)


def test_images_are_turned_by_a_quarter_counterclockwise_and_moved_down_and_right():
    rng = np.random.default_rng(0)
    images = tf.constant(rng.uniform(size=(4, 6, 6)), "float32")
    quarters = tf.constant([0.0, 1.0, 2.0, 3.0]) * np.pi / 2
    turned = omniglot._moved(images, quarters, tf.zeros((4, 2)))
    for k, (before, after) in enumerate(zip(images, turned, strict=True)):
        # Pixels at the border may come from just outside, by rounding.
        np.testing.assert_allclose(after[1:-1, 1:-1], np.rot90(before, k)[1:-1, 1:-1], atol=1e-4)
    moved = omniglot._moved(images[:1], tf.zeros((1,)), tf.constant([[2.0, 1.0]]))[0]
    np.testing.assert_allclose(moved[2:, 1:], images[0, :-2, :-1], atol=1e-5)
    np.testing.assert_array_equal(moved[:2], 0.0)
    turned = omniglot._moved(images[:1], quarters[1:2], tf.constant([[2.0, 1.0]]))[0]  # then moved
    np.testing.assert_allclose(turned[3:-1, 2:-1], np.rot90(images[0])[1:-3, 1:-2], atol=1e-4)


def test_a_class_is_turned_as_a_whole_and_its_images_a_little(monkeypatch):
    seen = {}

    def record(images, angles, shifts):
        seen.update(angles=angles, shifts=shifts)
        return images

    monkeypatch.setattr(omniglot, "_moved", record)
    monkeypatch.setattr(omniglot, "_endless", lambda examples, seed, example_size: examples)
    examples = omniglot._episodes(characters(), 3, 4, False, True, 0)
    _, targets, _ = examples(tf.constant([0, 0], tf.int64), 100)
    angles = seen["angles"].numpy().reshape(100, 12)
    quarters = np.rint(angles / (np.pi / 2))
    jitter = angles - quarters * np.pi / 2
    assert 0.95 * np.pi / 16 < np.abs(jitter).max() <= np.pi / 16
    counts = np.bincount(quarters.astype(int).ravel(), minlength=4)
    assert counts.min() > 0.15 * 1200
    for labels, each in zip(targets.numpy(), quarters, strict=True):
        assert all(len(set(each[labels == label])) == 1 for label in range(3))
    largest = np.abs(seen["shifts"]).max(0)
    np.testing.assert_allclose(largest, SIZE * 10 / 105, rtol=0.05)


def test_images_are_halved_by_means_and_have_the_maximum_1():
    images = np.zeros((2, 4, 4), "float32")
    images[0, :2, 0] = 200.0
    small = omniglot._halved(tf.constant(images)).numpy()
    np.testing.assert_array_equal(small, [[[1, 0], [0, 0]], [[0, 0], [0, 0]]])


def test_binary_images_are_1_where_strokes_cover_half_of_a_pixel(monkeypatch):
    shades = np.arange(1623 * 20 * 4, dtype="uint32").reshape(1623, 20, 2, 2) % 256
    monkeypatch.setattr(omniglot, "_characters", lambda folder, size: shades.astype("uint8"))
    found = {}
    for split, characters in (("train", 1200), ("test", 423)):
        stream = binarized_omniglot(split, image_size=2)
        assert stream.element_spec.shape == (4, 1)
        assert stream.cardinality() == 20 * characters
        found[split] = next(stream.batch(20 * characters).as_numpy_iterator())
        assert found[split].dtype == np.float32
    order = np.random.default_rng(0).permutation(1623)
    expected = (shades[order] >= 128).reshape(-1, 4, 1)
    np.testing.assert_array_equal(np.concatenate([found["train"], found["test"]]), expected)


# The data.


@pytest.mark.long
@needs_data
def test_the_published_images_are_dark_strokes_on_bright_paper():
    streams = {
        split: omniglot_episodes(split, image_size=14, data_dir=PREPARED)
        for split in ("train", "test")
    }
    inputs, targets, weight = (x.numpy() for x in next(iter(streams["test"].batch(4))))
    assert (inputs.shape, targets.shape, weight.shape) == ((4, 50, 201), (4, 50), (4, 50))
    pixels = inputs[..., :196]
    np.testing.assert_allclose(pixels.max(-1), 1.0)
    assert pixels.min() == 0.0
    assert 0.05 < pixels.mean() < 0.25
    images = omniglot._characters(PREPARED, 28)
    assert (images.reshape(1623, 20, -1).max(-1) > 100).all()  # there are 20 of each character


@needs_data
def test_training_and_testing_share_no_class(monkeypatch):
    def labels(split):
        monkeypatch.setattr(omniglot, "_characters", lambda *_: np.arange(1623))
        monkeypatch.setattr(omniglot, "_episodes", lambda chosen, *_: chosen)
        return set(omniglot_episodes(split, data_dir=PREPARED).tolist())

    train, test = labels("train"), labels("test")
    assert (len(train), len(test), len(train & test)) == (1200, 423, 0)


def test_says_where_the_data_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="omniglot is not prepared"):
        omniglot_episodes(data_dir=tmp_path)
    with pytest.raises(FileNotFoundError, match="data_dir must be an existing folder"):
        omniglot_episodes(data_dir=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("split", "validation"),
        ("classes", 1),
        ("classes", 1201),
        ("shots", 21),
        ("shots", 0),
        ("image_size", 53),
        ("labels", "names"),
        ("seed", -1),
    ],
)
def test_refuses_what_does_not_exist(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        omniglot_episodes(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("split", "validation"), ("image_size", 106)])
def test_refuses_binary_images_that_do_not_exist(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        binarized_omniglot(**{name: value})


def test_there_are_fewer_classes_to_test_than_to_train_on():
    with pytest.raises(ValueError, match="classes must be an integer <= 423"):
        omniglot_episodes("test", classes=424)
