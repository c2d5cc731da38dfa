import keras
import numpy as np
import pytest

from mf_keras import MemoryReplay, MemoryReward, NTMCell, Policy, SequenceDiscriminator
from mf_keras.environments import CopyEnvironment


def small(learning_rate=0.05, **options):
    keras.utils.set_random_seed(0)
    policy = Policy(NTMCell(keras.layers.Dense(3, "tanh"), 1, 3, 2, 1), CopyEnvironment(1))
    pooling = "none" if options.get("form") == "potential" else "mean"
    judge = SequenceDiscriminator(3, (2,), pooling)
    options = {
        "discriminator_batch": 2,
        "replay": MemoryReplay(8),
        "discriminator": judge,
        **options,
    }
    model = MemoryReward(policy, **options)
    rates = keras.optimizers.SGD(learning_rate), keras.optimizers.SGD(0.5)
    model.compile(*rates, run_eagerly=True)
    return model


def weights_of(model):
    return [np.array(variable) for variable in model.trainable_variables]


def tasks(count=16):
    return CopyEnvironment(1).tasks(count, seed=0)


@pytest.mark.parametrize("watch", ["memory", "behaviour"])
def test_the_discriminator_learns_once_both_buffers_are_filled(watch):
    model = small(watch=watch)
    before = weights_of(model.discriminator)
    logs = model.train_on_batch(tasks(2), return_dict=True)
    assert logs["bonus"] == logs["discriminator_loss"] == 0.0
    for a, b in zip(before, weights_of(model.discriminator), strict=True):
        np.testing.assert_array_equal(a, b)
    history = model.fit(tasks(), batch_size=16, epochs=2, verbose=0).history
    assert (np.asarray(model.replay.counts) > 2).all()
    assert history["discriminator_loss"][0] > 0.0
    assert history["bonus"][1] != 0.0
    pairs = zip(before, weights_of(model.discriminator), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_positive_episodes_are_those_with_the_reward():
    model = small(learning_rate=0.0, learns=False)
    before = weights_of(model.discriminator)
    logs = model.train_on_batch(tasks(8), return_dict=True)
    positive = round(8 * float(logs["return"]))
    np.testing.assert_array_equal(model.replay.counts, [positive, 8 - positive])
    for a, b in zip(before, weights_of(model.discriminator), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("form", ["final", "potential"])
def test_the_bonus_is_what_the_formula_says(form):
    model = small(form=form, weight=0.5, discount=0.9)
    model.replay.pushed.assign([3, 3])
    episodes = model.policy.run(tasks(4), seed=0)
    logits = np.asarray(model.discriminator(episodes.trace.memory))[..., 0]
    if form == "final":
        expected = np.stack([np.zeros(4), 0.5 * logits], axis=1)
    else:
        expected = 0.5 * np.stack([0.9 * logits[:, 1] - logits[:, 0], -logits[:, 1]], axis=1)
    np.testing.assert_allclose(model._bonus(episodes), expected, atol=1e-6)
    gains = np.asarray(model._gains(episodes)) - np.asarray(
        super(MemoryReward, model)._gains(episodes)
    )
    first = expected[:, 0] + 0.9 * expected[:, 1]
    np.testing.assert_allclose(gains, np.stack([first, expected[:, 1]], axis=1), atol=1e-6)


def test_a_potential_of_behaviour_is_that_from_before_the_action():
    """So that it is a baseline, and no punishment of what D likes."""
    model = small(watch="behaviour", form="potential", weight=0.5, discount=0.9)
    model.replay.pushed.assign([3, 3])
    episodes = model.policy.run(tasks(4), seed=0)
    logits = np.asarray(model.discriminator(model._seen(episodes)))[..., 0]
    added = np.asarray(model._gains(episodes)) - np.asarray(
        super(MemoryReward, model)._gains(episodes)
    )
    expected = np.stack([np.zeros(4), -0.5 * logits[:, 0]], axis=1)
    np.testing.assert_allclose(added, expected, atol=1e-6)


@pytest.mark.long
def test_a_saved_run_resumes_to_the_bit(tmp_path):
    model = small(watch="behaviour", form="potential", success=0.5, weight=0.3, baseline="critic")
    model.fit(tasks(), verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for name in ("watch", "form", "success", "weight", "learns", "discriminator_batch"):
        assert getattr(again, name) == getattr(model, name)
    for each in (model, again):
        each.fit(tasks(), verbose=0)
    for a, b in zip(model.variables, again.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    logs = model.evaluate(tasks(), verbose=0, return_dict=True)
    assert set(logs) == {"loss", "return", "right_bits"}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"watch": "hidden"}, ValueError, "watch must be one of"),
        ({"form": "last"}, ValueError, "form must be one of"),
        ({"weight": -1.0}, ValueError, "weight"),
        ({"success": "a"}, TypeError, "success"),
        ({"learns": 1}, TypeError, "learns"),
        ({"replay": "a"}, TypeError, "replay"),
        ({"discriminator_batch": 0}, ValueError, "discriminator_batch"),
        ({"discriminator": keras.layers.Dense(2)}, ValueError, "output of discriminator"),
    ],
)
def test_refuses_bad_options(options, error, words):
    with pytest.raises(error, match=words):
        small(**options)
