"""Tags: from the call to the words that trackers show."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fed import FedDelivery
from tests.support.sdk import KeepingExporter, provider, reader
from tests.unit.test_delivery import ListTracker, batch
from tracelet_otel import semconv
from tracelet_otel._support.guard import Guard
from tracelet_otel._support.tags import parsed
from tracelet_otel.errors import ConfigurationError, RefusedError
from tracelet_otel.exporters.words import cut, with_tags
from tracelet_otel.exporters.writer import for_one_call
from tracelet_otel.instrumentation.tags import Tags
from tracelet_otel.protocol.decode import Param, Report
from tracelet_otel.protocol.report_kinds import HPARAMS, TAGS
from tracelet_otel.protocol.reports import Reports
from tracelet_otel.relay.news import Known
from tracelet_otel.settings import from_plain, load, to_plain

NAMES = st.sampled_from(["a", "b", "a:b", "größe"])
VALUES = st.sampled_from(["", "1", "2", "b:1"])
SETS = st.lists(st.tuples(st.dictionaries(NAMES, VALUES, max_size=3), st.booleans()), max_size=15)


@given(SETS)
def test_the_last_value_of_each_tag_arrives_whenever_it_is_collected(said):
    exporter = KeepingExporter()
    own = reader(exporter)
    meters = provider(own)
    tags = Tags(meters, Guard())
    last: dict[str, str] = {}
    reports = Reports(TAGS)
    for values, is_collected in said:
        tags.update(values)
        last |= values
        if is_collected:
            own.collect()
    meters.shutdown()
    for found in (one for one in exporter.batches if one.reports):
        # Only what holds is exported, however often it was set.
        assert len({one.name for one in found.reports}) == len(found.reports)
        reports.add("a process", found.reports)
    assert {one.name: one.param.text for one in reports.all} == last
    # A process that goes on with it knows it all, also when it is told once more.
    again = Reports(TAGS, json.loads(json.dumps(reports.state)))
    assert again.all == reports.all
    assert not any(again.has_news("a process", one.reports) for one in exporter.batches)


def test_what_arrives_in_another_order_changes_nothing():
    reports = Reports(TAGS)
    assert reports.add("p", [Report(TAGS, "a", Param("2"), 2)]) == [Report(TAGS, "a", Param("2"), 2)]
    assert not reports.has_news("p", [Report(TAGS, "a", Param("1"), 1)])
    # Another process counts by itself.
    assert reports.add("q", [Report(TAGS, "a", Param("3"))]) == [Report(TAGS, "a", Param("3"))]
    assert [one.param.text for one in reports.all] == ["3"]


def test_a_tag_and_a_hyperparameter_of_one_name_are_two():
    exporter = KeepingExporter()
    meters = provider(reader(exporter))
    Tags(meters, Guard()).update({"lr": "high"})
    meters.shutdown()
    ((report,),) = [one.reports for one in exporter.batches]
    assert report == Report(TAGS, "lr", Param("high"))
    known = Known.from_state({"hparams": {"reports": [["lr", ["0.1", "float"]]], "revisions": {"p": {"lr": 1}}}})
    known.reports[TAGS].add("p", [report])
    assert known.reported == [Report(HPARAMS, "lr", Param("0.1", "float")), Report(TAGS, "lr", Param("high"))]
    assert Known.from_state(json.loads(json.dumps(known.memory))).reported == known.reported


def test_what_cannot_be_recorded_as_it_is_given_is_said():
    class Silent:
        def __str__(self):
            raise ValueError("it says nothing")

    exporter, guard = KeepingExporter(), Guard()
    meters = provider(reader(exporter))
    tags = Tags(meters, guard)
    tags.update({"long": "x" * 8001, "fits": "x" * 8000, "": "no name", "n" * 251: "", "bad": Silent(), "number": 3})
    tags.update({"tracelet.run.id": "another", semconv.NOTE: "by the back door"})
    tags.describe("y" * 9000)
    meters.shutdown()
    found = {one.name: one.param.text for one in exporter.batches[0].reports}
    assert {name: text[-2:] for name, text in found.items()} == {
        "long": "x…",
        "fits": "xx",
        "number": "3",
        semconv.NOTE: "y…",
    }
    assert {len(found[name]) for name in ("long", "fits", semconv.NOTE)} == {8000}
    assert guard.counts == {
        "tag 'long' was cut": 1,
        "the note was cut": 1,
        "tag '' was dropped": 1,
        f"tag {'n' * 250!r} was dropped": 1,
        "tag 'bad' was dropped": 1,
        "tag 'tracelet.run.id' was dropped": 1,
        "tag 'tracelet.note' was dropped": 1,
    }


@given(st.sets(st.sampled_from(["own", "a:b:1", "b", "a:old", "c"])), st.lists(st.dictionaries(NAMES, VALUES)))
def test_words_of_a_run_are_those_of_others_and_the_last_of_each_tag(before, sets):
    found = sorted(before)
    for tags in sets:
        found = with_tags(found, tags)
        assert with_tags(found, tags) == found
        own = {f"{name}:{value}" if value else name for name, value in tags.items()}
        of_earlier_values = {
            word for word in found if word in tags or word.startswith(tuple(f"{name}:" for name in tags))
        }
        assert of_earlier_values | own == own <= set(found)
    assert len(found) == len(set(found))
    assert "own" not in before or "own" in found
    assert "c" not in before or "c" in found


def test_a_word_that_is_too_long_is_cut_and_named_and_replaced():
    tags = {"stage": "x" * 100, "n" * 70: "1", semconv.NOTE: "z" * 1000}
    once = with_tags(["mine"], tags, 64)
    assert once == ["mine", f"stage:{'x' * 57}…", f"{'n' * 63}…"]
    assert cut(tags, 64).keys() == {"stage", "n" * 70}
    assert with_tags(once, {"stage": "", "n" * 70: "2"}, 64) == ["mine", "stage", f"{'n' * 63}…"]


def reports(kind, *pairs):
    return [Report(kind, name, Param(text)) for name, text in pairs]


def test_one_call_has_reports_of_one_kind():
    first, second = reports(HPARAMS, ("a", "1"), ("b", "2")), reports(TAGS, ("a", "1"), ("a", "2"))
    third = reports(HPARAMS, ("a", "3"))
    queue = [*first, *second, *third]
    assert for_one_call(queue) == first
    assert for_one_call(queue[2:]) == second
    assert for_one_call([*first, *third]) == first
    assert for_one_call([]) == []


class TaggedTracker(ListTracker):
    def __init__(self):
        super().__init__()
        self.tags, self.tag_calls, self.refused_tags = {}, [], set()

    def set_tags(self, tags):
        self._fail()
        if self.refused_tags & tags.keys():
            raise RefusedError("the tag is refused")
        self.tags.update(tags)
        self.tag_calls.append(dict(tags))
        return {name: "it is cut" for name, value in tags.items() if value == "long"}


def delivered(tracker, guard, *told):
    """The account after a delivery of one reading, and of reports."""
    delivery = FedDelivery(tracker, guard)
    delivery.tell(None, reports=told)
    delivery.put(batch(1))
    account = delivery.close(5)
    assert not delivery.reports_pending
    assert (tracker.stored, account.pending) == ([1], 0)


def test_of_the_values_of_a_tag_the_last_one_is_sent():
    tracker, guard = TaggedTracker(), Guard()
    told = reports(TAGS, ("a", "1"), ("b", "2"), ("a", "3"))
    delivered(tracker, guard, *reports(HPARAMS, ("a", "0.1")), *told, *reports(HPARAMS, ("a", "0.2")))
    assert (tracker.tag_calls, tracker.param_calls) == (
        [{"a": "3", "b": "2"}],
        [{"a": Param("0.1")}, {"a": Param("0.2")}],
    )
    assert guard.counts == {}


def test_a_refused_tag_takes_no_other_with_it_and_what_is_cut_is_said():
    tracker, guard = TaggedTracker(), Guard()
    tracker.refused_tags = {"b", "e"}
    delivered(tracker, guard, *reports(TAGS, *((name, name.upper()) for name in "abcdefg"), ("a", "long")))
    assert tracker.tags == {"a": "long", "c": "C", "d": "D", "f": "F", "g": "G"}
    assert guard.counts == {
        "list refused tag 'b'": 1,
        "list refused tag 'e'": 1,
        "list does not have all of tag 'a'": 1,
    }


def test_a_tracker_without_a_place_for_tags_gets_all_else(caplog):
    tracker, guard = ListTracker(), Guard()
    delivered(tracker, guard, *reports(TAGS, ("a", "1"), ("b", "2")), *reports(HPARAMS, ("lr", "0.1")))
    assert tracker.params == {"lr": Param("0.1")}
    assert guard.counts == {"list has no place for tags and notes": 2}
    assert caplog.text.count("has no place for tags") == 1


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("team=vision,baseline", {"team": "vision", "baseline": ""}),
        (" team = vision team , ,fold=3", {"team": "vision team", "fold": "3"}),
        ("note=a%2Cb%3D%C3%B6,share=100%", {"note": "a,b=ö", "share": "100%"}),
        ("formula=a=b", {"formula": "a=b"}),
        (",", {}),
    ],
)
def test_tags_as_one_text(text, tags, monkeypatch):
    assert parsed(text) == tags
    monkeypatch.setenv("TRACELET_TAGS", text)
    assert load({}, None).tags == tags


def test_settings_that_describe_a_run_are_kept_in_a_journal():
    given = {"tags": {"team": "vision"}, "notes": "a\nb", "group": "width", "job_type": "train"}
    settings = load({}, given)
    again = from_plain(json.loads(json.dumps(to_plain(settings))))
    assert {name: getattr(again, name) for name in given} == given
    assert settings.purpose == {semconv.RUN_GROUP: "width", semconv.RUN_JOB_TYPE: "train"}
    # One of an older version has none of them.
    plain = {name: value for name, value in to_plain(settings).items() if name not in given}
    assert (from_plain(plain).tags, from_plain(plain).notes, from_plain(plain).purpose) == ({}, None, {})


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (["baseline"], "give a mapping of text, or text as in team=vision,baseline"),
        ({"fold": 3}, r"tags\.fold: it has to be text"),
        ({"": "x"}, r"tags \(or TRACELET_TAGS\): .*a tag needs a name"),
        ("=x", "a tag needs a name"),
        ({"n" * 251: ""}, "at most 250 characters"),
        ({"tracelet.note": ""}, "names that begin with 'tracelet.' are not for users"),
    ],
)
def test_malformed_tags_are_named(tags, message):
    with pytest.raises(ConfigurationError, match=message):
        load({}, {"tags": tags})
