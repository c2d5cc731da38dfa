"""Random configurations on extreme inputs: a part of what `benchmarks.configurations` checks."""

import itertools

import pytest

from benchmarks import configurations


def test_the_hundred_configurations_cover_every_kind_in_every_policy():
    drawn = [configurations.draw(number) for number in range(100)]
    assert drawn == [configurations.draw(number) for number in range(100)]
    kinds = {(each["policy"], each["options"].get("linkage", "NTM")) for each in drawn}
    assert kinds == set(
        itertools.product(configurations.POLICIES, ["dense", "sparse", None, "NTM"])
    )
    kinds = {(each["policy"], each["controller"]) for each in drawn}
    assert kinds == set(itertools.product(configurations.POLICIES, configurations.CONTROLLERS))
    for name in ("units", "memory_size", "word_size"):
        sizes = {each["options"][name] for each in drawn}
        assert min(sizes) == 1
        assert max(sizes) > 50


@pytest.mark.parametrize("number", range(0, 100, 15))
def test_few_steps_stay_finite(number):
    lengths = [3] if number % 10 else [1, 3]
    outcome = configurations.check(configurations.draw(number), lengths=lengths)
    assert outcome.not_finite == []
    assert outcome.loss_scale >= 2**-12


@pytest.mark.long
def test_five_thousand_steps_stay_finite_in_float16():
    configuration = configurations.draw(30)
    assert configuration["policy"] == "mixed_float16"
    assert configurations.check(configuration, lengths=[5000]).not_finite == []


def test_what_is_not_finite_is_named(monkeypatch):
    """A loss of NaN of the sequence that is all 0, and with it every gradient."""
    monkeypatch.setattr(configurations, "extremes", with_nan(configurations.extremes))
    outcome = configurations.check({**configurations.draw(4), "policy": "float32"}, lengths=[1])
    assert outcome.not_finite[0] == "T = 1, initial weights: all 0"
    assert any("kernel" in words for words in outcome.not_finite)


def with_nan(extremes):
    def changed(length, size):
        return {**extremes(length, size), "all 0": extremes(length, size)["all 0"] + float("nan")}

    return changed
