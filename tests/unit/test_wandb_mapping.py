from __future__ import annotations

import math

import pytest

from tracelet_otel.exporters.wandb.mapping import nested
from tracelet_otel.protocol.decode import Param


@pytest.mark.parametrize(
    ("params", "config"),
    [
        ({"lr": Param("0.1", "float"), "n": Param("3", "int")}, {"lr": 0.1, "n": 3}),
        ({"a/b/c": Param("x"), "a/d": Param("True", "bool")}, {"a": {"b": {"c": "x"}, "d": True}}),
        ({"none": Param("None", "none"), "text": Param("None")}, {"none": None, "text": "None"}),
        ({"a/b": Param("1", "int"), "a": Param("2", "int")}, {"a": 2, "a/b": 1}),
        ({"a/b/c": Param("1", "int"), "a/b": Param("2", "int")}, {"a": {"b": 2}, "a/b/c": 1}),
    ],
)
def test_config_is_nested_and_typed(params, config):
    assert nested(params) == config


def test_a_value_that_is_not_what_its_type_says_stays_text():
    broken = [Param("many", "int"), Param("1,5", "float"), Param("maybe", "bool")]
    assert [param.value for param in broken] == ["many", "1,5", "maybe"]
    assert math.isnan(Param("nan", "float").value)
