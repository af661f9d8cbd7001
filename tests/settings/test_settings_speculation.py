"""What the settings of a step that speculates may not say."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_modelroute.config import read_settings
from pytest_modelroute.errors import SettingsError


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"speculate": ["small", "big"]}, "speculate names 'big', which does not exist; known are: small, large"),
        ({"speculate": []}, "speculate names 0 model(s); two at least are asked at once, or leave it out"),
        ({"speculate": ["small"]}, "speculate names 1 model(s); two at least are asked at once, or leave it out"),
        (
            {"speculate": ["small", "large", "small"]},
            "speculate names 'small' twice; each model is asked once, so name it once",
        ),
        (
            {"speculate": ["large", "small"]},
            "speculate begins with 'large', but the step's model is 'small', which is asked first; name it first",
        ),
        (
            {"speculate": ["small", "large"], "model": "dynamic"},
            "speculate begins with 'small', but the step's model is 'dynamic', which is asked first; name it first",
        ),
        ({"hedge_after": 2}, "hedge_after is for a step that asks several models; name them in speculate"),
        (
            {"speculate": ["small", "large"], "hedge_after": -1},
            "hedge_after: input should be greater than or equal to 0, not -1",
        ),
    ],
)
def test_settings_that_contradict_themselves_are_refused(step: dict[str, Any], problem: str) -> None:
    """With where, what and what to do."""
    table = {"models": {"small": {"model": "a"}, "large": {"model": "b"}}, "steps": {"s": {"model": "small", **step}}}
    with pytest.raises(SettingsError) as error:
        read_settings(table, where="modelroute.toml")
    assert str(error.value) == f"modelroute.toml: steps.s.{problem}"


@pytest.mark.parametrize(
    ("other", "aliases", "problem"),
    [
        (
            "cascade",
            ["a", "c"],
            " has both cascade and speculate: one model after the other, or several at once; choose one",
        ),
        ("fallbacks", ["c"], " has both fallbacks and speculate, which goes on to its next model too; name all there"),
    ],
)
def test_one_way_of_asking_several_models_excludes_another(other: str, aliases: list[str], problem: str) -> None:
    """Which of them would hold is not guessed."""
    models = {alias: {"model": alias} for alias in ("a", "b", "c")}
    step = {"model": "a", "speculate": ["a", "b"], other: aliases}
    with pytest.raises(SettingsError) as error:
        read_settings({"models": models, "steps": {"s": step}}, where="modelroute.toml")
    assert str(error.value) == f"modelroute.toml: steps.s{problem}"
