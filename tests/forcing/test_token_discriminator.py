import keras
import numpy as np
import pytest

from mf_keras import TokenDiscriminator


def made(**options):
    judge = TokenDiscriminator(5, 3, 4, (3,), **options)
    judge.build((None, None))
    judge.built = True
    return judge


X = np.random.default_rng(0).integers(5, size=(3, 6)).astype("int32")


def test_a_logit_of_a_sequence_or_of_every_step():
    assert made()(X).shape == (3, 1)
    judge = made(pooling="none")
    logits = np.asarray(judge(X))
    assert logits.shape == (3, 6, 1)
    other = X.copy()
    other[:, 3] = (other[:, 3] + 1) % 5
    changed = np.asarray(judge(other))
    np.testing.assert_array_equal(changed[:, :3], logits[:, :3])
    assert (changed[:, 3:] != logits[:, 3:]).all()


def test_padding_changes_nothing():
    mask = np.array([[True] * 6, [True] * 2 + [False] * 4, [True] * 5 + [False]])
    other = np.where(mask, X, (X + 1) % 5)
    for pooling in ("mean", "none"):
        judge = made(pooling=pooling)
        first, second = np.asarray(judge(X, mask=mask)), np.asarray(judge(other, mask=mask))
        np.testing.assert_array_equal(first, second)


def test_a_file_keeps_it(tmp_path):
    judge = made(pooling="last")
    judge.save(tmp_path / "judge.keras")
    again = keras.models.load_model(tmp_path / "judge.keras")
    np.testing.assert_array_equal(again(X), judge(X))


def test_refuses_what_are_no_tokens():
    with pytest.raises(ValueError, match="inputs must have shape"):
        made()(np.zeros((3, 6, 2)))
    with pytest.raises(ValueError, match="classes"):
        TokenDiscriminator(1)
