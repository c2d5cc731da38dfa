import keras
import numpy as np

from train.runs.autoencoder import VariationalAutoencoder


def test_the_bound_of_the_vae_is_its_two_terms():
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    vae = VariationalAutoencoder(encoder, decoder, 2)
    x = np.random.default_rng(0).integers(0, 2, (1, 2, 3)).astype("float32")
    found = vae(np.tile(x, (2000, 1, 1)))
    codes, log_sigma = np.split(np.asarray(encoder(x[0])), 2, axis=-1)
    sigma = np.exp(log_sigma)
    divergence = 0.5 * (codes**2 + sigma**2 - 1 - 2 * log_sigma).sum(-1).mean()
    np.testing.assert_allclose(found["code_divergence"][0], divergence, rtol=1e-5)
    z = codes + sigma * np.random.default_rng(1).normal(size=(20_000, 2, 2))
    logits = z @ np.asarray(decoder.layers[-1].kernel)
    nll = (np.logaddexp(0.0, logits) - x[0] * logits).sum(-1).mean()
    np.testing.assert_allclose(np.mean(found["nll"]), nll, rtol=0.02)
    np.testing.assert_allclose(found["bound"], found["nll"] + found["code_divergence"], rtol=1e-5)
    assert vae.recall(x, x, 3).shape == (1, 3, 2, 3)
    np.testing.assert_array_equal(vae.generate(x, 2, seed=1), vae.generate(x, 2, seed=1))


def test_cleaning_up_is_encoding_and_decoding_again():
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])
    vae = VariationalAutoencoder(encoder, decoder, 2)
    x = np.random.default_rng(0).random((1, 2, 3)).astype("float32")
    found = np.array(vae.recall(np.zeros((1, 1, 3)), x, 2))
    for step in range(2):
        code = np.asarray(encoder(x[0]))[:, :2]  # its mean
        x = 1.0 / (1.0 + np.exp(-np.asarray(decoder(code))))[None]
        np.testing.assert_allclose(found[:, step], x, rtol=1e-5)
