import keras
import numpy as np
import pytest

from mf_keras import KanervaMachine, kanerva, unroll
from tests.backends import tf

PIXELS, CODE, SLOTS = 6, 3, 4


def make_machine(**options):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((PIXELS,)), keras.layers.Dense(CODE)])
    decoder = keras.Sequential([keras.Input((CODE,)), keras.layers.Dense(PIXELS)])
    return KanervaMachine(encoder, decoder, SLOTS, CODE, **options)


def images(b=2, t=5, seed=0):
    return np.random.default_rng(seed).integers(0, 2, (b, t, PIXELS)).astype("float32")


def written(machine, x):
    """Mean and covariance after the codes were written one by one, and the codes."""
    codes = tf.reshape(machine.encoder(x.reshape(-1, PIXELS)), (*x.shape[:2], CODE))
    memory = machine.memory.initial_state(len(x))
    for t in range(x.shape[1]):
        code = codes[:, t : t + 1]
        weights = kanerva.address(memory[0], code, machine.memory.noise)
        memory = kanerva.write(*memory, weights, code, machine.memory.noise)
    return *memory, codes


def test_unroll_runs_its_memory():
    machine, x = make_machine(noise=0.5), images()
    mean, covariance, codes = written(machine, x)
    _, trace, final = unroll(machine.memory, codes)
    assert trace.memory.shape == (2, 5, SLOTS, CODE)
    np.testing.assert_allclose(final.memory, mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(final.covariance, covariance, rtol=1e-4, atol=1e-5)


def test_the_bound_is_the_sum_of_its_parts_each_by_hand():
    """Averaged over many draws, the likelihood is that of codes of the known distribution."""
    machine, x = make_machine(noise=0.5), images(1)
    mean, covariance, codes = written(machine, x)
    weights = kanerva.address(mean, codes, 0.5)
    sigma = np.exp(-1.2)
    found = machine(np.tile(x, (500, 1, 1)))
    found = {name: np.mean(value) for name, value in found.items()}
    np.testing.assert_allclose(
        found["bound"],
        found["nll"] + found["weights_divergence"] + found["memory_divergence"],
        rtol=1e-5,
    )
    conditional = found["bound"] - found["memory_divergence"]
    np.testing.assert_allclose(found["conditional_bound"], conditional, rtol=1e-5)
    per_weight = 0.5 * (np.square(weights) + sigma**2 - 1.0 - 2.0 * np.log(sigma))
    np.testing.assert_allclose(found["weights_divergence"], per_weight.sum(-1).mean(), rtol=1e-4)
    start = machine.memory.initial_state(1)
    distance = kanerva.divergence(mean, covariance, *start)[0]
    np.testing.assert_allclose(found["memory_divergence"], distance / 5, rtol=1e-4)

    rng, losses = np.random.default_rng(1), []
    mean, weights, root = mean[0].numpy(), weights[0].numpy(), np.linalg.cholesky(covariance[0])
    kernel, bias = (np.array(w) for w in machine.decoder.weights)
    for _ in range(2000):
        memory = mean + root @ rng.normal(size=(SLOTS, CODE))
        w = weights + sigma * rng.normal(size=(5, SLOTS))
        z = w @ memory + np.sqrt(0.5) * rng.normal(size=(5, CODE))
        logits = z @ kernel + bias
        losses.append((np.logaddexp(0.0, logits) - x[0] * logits).sum(-1).mean())
    np.testing.assert_allclose(found["nll"], np.mean(losses), rtol=0.05)


@pytest.mark.long
def test_fit_lowers_the_bound_and_evaluate_logs_its_parts(tmp_path):
    machine, x = make_machine(), np.tile(images(1, 4), (4, 1, 1))
    machine.compile(keras.optimizers.Adam(3e-2))  # compiled by XLA, as by default
    history = machine.fit(x, batch_size=4, epochs=30, verbose=0).history
    terms = {"nll", "weights_divergence", "memory_divergence", "autoencoder_nll"}
    terms |= {"codes_divergence"}
    assert set(history) == {"loss", "bound", "conditional_bound", *terms}
    np.testing.assert_array_equal(history["codes_divergence"], 0.0)
    assert history["loss"][-1] < history["loss"][0] - 1.0
    np.testing.assert_allclose(
        history["loss"], np.add(history["bound"], history["autoencoder_nll"]), rtol=1e-5
    )
    machine.save(tmp_path / "machine.keras")
    loaded = keras.models.load_model(tmp_path / "machine.keras")
    np.testing.assert_allclose(loaded.reconstruct(x), machine.reconstruct(x), rtol=1e-6)


def test_a_posterior_of_the_codes_by_hand():
    """The mean divergence of two normal distributions, over memories, at weights that are known."""
    machine, x = make_machine(noise=0.5, code_posterior=True), images(1)
    machine.log_tau.assign([-1.0, 0.0, 0.5])
    machine.log_sigma.assign(-30.0)  # so that the weights are known
    mean, covariance, codes = written(machine, x)
    w = kanerva.address(mean, codes, 0.5)[0].numpy()
    found = machine(x)
    total = 0.0
    for t in range(5):
        of_the_mean = w[t] @ covariance[0].numpy() @ w[t]
        for c, tau in enumerate(np.exp([-1.0, 0.0, 0.5])):
            gap = codes[0, t, c] - w[t] @ mean[0].numpy()[:, c]
            total += np.log(np.sqrt(0.5) / tau) + (tau**2 + gap**2 + of_the_mean) - 0.5
    np.testing.assert_allclose(found["codes_divergence"], [total / 5], rtol=1e-4)
    parts = [found[f"{name}_divergence"] for name in ("weights", "codes", "memory")]
    np.testing.assert_allclose(found["bound"], found["nll"] + sum(parts), rtol=1e-5)
    machine.log_tau.assign([-30.0] * 3)  # then the codes are the encoder's
    found = machine(x)
    np.testing.assert_allclose(found["nll"], found["autoencoder_nll"], rtol=1e-5)
    assert type(machine).from_config(machine.get_config()).code_posterior


def test_the_memory_need_not_cost_anything():
    machine, x = make_machine(autoencoder_weight=0.5, divergence_weight=0.0), images()
    losses = {name: np.array([float(i)]) for i, name in enumerate(machine(x))}
    expected = losses["conditional_bound"] + 0.5 * losses["autoencoder_nll"]
    np.testing.assert_allclose(machine.objective(losses), expected)
    assert type(machine).from_config(machine.get_config()).divergence_weight == 0.0


def test_recall_reads_what_was_written_and_generate_draws_from_it():
    machine, x = make_machine(noise=0.5), images()
    mean, _, _ = written(machine, x)
    noisy = images(2, 3, seed=1)
    found = machine.recall(x, noisy, iterations=2).numpy()
    assert found.shape == (2, 2, 3, PIXELS)
    for i in range(2):
        codes = tf.reshape(machine.encoder(noisy.reshape(-1, PIXELS)), (2, 3, CODE))
        read = kanerva.read(mean, kanerva.address(mean, codes, 0.5))
        noisy = tf.sigmoid(machine.decoder(tf.reshape(read, (-1, CODE))))
        noisy = tf.reshape(noisy, (2, 3, PIXELS)).numpy()
        np.testing.assert_allclose(found[:, i], noisy, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(machine.reconstruct(x), machine.recall(x, x, 1)[:, 0])
    drawn = machine.generate(x, 7, seed=1)
    assert drawn.shape == (2, 7, PIXELS)
    np.testing.assert_array_equal(drawn, machine.generate(x, 7, seed=1))
    assert not np.allclose(drawn, machine.generate(x, 7, seed=2))


def test_an_exact_memory_recalls_orthogonal_codes():
    """Without noise, what was written is read again."""
    machine = make_machine(noise=1e-6)
    machine.encoder.layers[-1].kernel.assign(np.eye(PIXELS, CODE))
    machine.decoder.layers[-1].kernel.assign(20.0 * np.eye(CODE, PIXELS))
    machine.decoder.layers[-1].bias.assign(-10.0 * np.ones(PIXELS))
    x = np.zeros((1, 3, PIXELS), "float32")
    x[0, range(3), range(3)] = 1.0
    np.testing.assert_allclose(machine.reconstruct(x), x, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"noise": 0.0}, ValueError),
        ({"noise": "1"}, TypeError),
        ({"autoencoder_weight": -1.0}, ValueError),
        ({"divergence_weight": -1.0}, ValueError),
        ({"seed": -1}, ValueError),
    ],
)
def test_refuses_wrong_numbers_by_name(options, error):
    with pytest.raises(error, match=f"{next(iter(options))} must be"):
        make_machine(**options)


def test_refuses_what_does_not_fit():
    machine, x = make_machine(), images()
    with pytest.raises(TypeError, match="encoder must be a Keras model"):
        KanervaMachine("encoder", machine.decoder)
    with pytest.raises(ValueError, match="memory_size must be"):
        KanervaMachine(machine.encoder, machine.decoder, memory_size=0)
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, ...\)"):
        machine.reconstruct(x[0])
    with pytest.raises(ValueError, match=r"x must hold only pixels in \[0, 1\]"):
        machine.reconstruct(2.0 * x)
    with pytest.raises(ValueError, match="noisy must have shape"):
        machine.recall(x, x[..., :3])
    with pytest.raises(ValueError, match="iterations must be"):
        machine.recall(x, x, 0)
    with pytest.raises(ValueError, match="output of encoder must have shape"):
        KanervaMachine(machine.encoder, machine.decoder, code_size=CODE + 1).reconstruct(x)
