"""Lineage, with Airflow's OpenLineage provider and the types of OpenLineage's client, which `dags/tests/lineage.test.ts` installs."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from importlib import import_module
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import attr
import pytest
from airflow.dag_processing.dagbag import DagBag
from conftest import CHECKOUT, DAGS, WAREHOUSE
from drops import Till

from lineage import followed, lineage_of

# Not in the lock: a checker that goes by it does not know them.
event_v2 = import_module("openlineage.client.event_v2")
facet_v2 = import_module("openlineage.client.facet_v2")
serde = import_module("openlineage.client.serde")

Event = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def _metadata() -> None:
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


def told_by_airflow() -> list[Event]:
    """The events that Airflow's provider has written to a file so far."""
    path = Path(json.loads(os.environ["AIRFLOW__OPENLINEAGE__TRANSPORT"])["log_file_path"])
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def tell(events: Path, *arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    """Runs a verb that appends its events to a file."""
    environment = {
        **WAREHOUSE,
        "PATH": os.environ["PATH"],
        "ROLLBOOK_OPENLINEAGE_URL": events.as_uri(),
        "ROLLBOOK_OPENLINEAGE_PARENT": "airflow/dag.task/0195d2b2-1111-7222-8333-444444444444",
    }
    command = ["node", str(CHECKOUT / "dist" / "rollbook.js"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in codes, done.stderr


FACETS = {
    cls._get_schema(): cls
    for _, module in inspect.getmembers(facet_v2, inspect.ismodule)
    for _, cls in inspect.getmembers(module, attr.has)
    if hasattr(cls, "_get_schema")
} | {facet_v2.RunFacet._get_schema(): facet_v2.RunFacet}
"""The client's types of facets by the schemas that they were made from."""


def build(hint: Any, value: Any) -> Any:
    """A value as the client's type of it; an error where it is of another."""
    if isinstance(value, dict) and "_schemaURL" in value:
        hint = FACETS[value["_schemaURL"]]
    if hint is Any:
        return value
    if isinstance(hint, UnionType):
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    if get_origin(hint) is list:
        assert isinstance(value, list)
        return [build(get_args(hint)[0], one) for one in value]
    if get_origin(hint) is dict:
        assert isinstance(value, dict)
        return {name: build(get_args(hint)[1], one) for name, one in value.items()}
    if not attr.has(hint):
        assert type(value) is hint or issubclass(hint, event_v2.RunState), (hint, value)
        return hint(value)
    return build_object(hint, value)


def build_object(cls: type[Any], value: Event) -> Any:
    hints = get_type_hints(cls)
    # What the types make themselves is compared afterwards.
    made = {"schemaURL", "_schemaURL"}
    known = {
        name: build(hints[name], one) for name, one in value.items() if name in hints and name not in made
    }
    more = {name: one for name, one in value.items() if name not in hints}
    built = cls(**{name.lstrip("_"): one for name, one in known.items()})
    if not more:
        return built
    # The schemas of the others let nothing in that they do not name.
    assert cls is facet_v2.RunFacet, (cls, more)
    return built.with_additional_properties(**more)


def without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_empty(one) for name, one in value.items() if one not in ({}, [], None)}
    return [without_empty(one) for one in value] if isinstance(value, list) else value


def test_every_event_is_one_of_the_clients_own_types(tmp_path: Path, rollbook: Callable[..., Any]) -> None:
    till = Till(seed=51, prefix="lineage")
    events = tmp_path / "events.jsonl"
    good = till.write(tmp_path / "good_2026-10-05.csv", date(2026, 10, 5), rows=30)
    bad = Till(seed=52, prefix="refused").write(
        tmp_path / "bad_2026-10-05.csv", date(2026, 10, 5), rows=1, bad_lines=1
    )
    tell(events, "load", str(good))
    tell(events, "load", str(good))
    tell(events, "load", str(bad), codes=(3,))
    tell(events, "load", str(tmp_path), codes=(1, 2))
    tell(events, "verify")
    tell(events, "undo", str(rollbook("loads")[-1]["loadId"]), "--because", "a test", codes=(0, 2))
    told = [json.loads(line) for line in events.read_text("utf-8").splitlines()]
    assert {one["job"]["name"].split(".")[-1] for one in told} >= {"load", "refresh", "verify"}
    assert {one["eventType"] for one in told} == {"START", "COMPLETE", "FAIL"}
    for one in told:
        built = build(event_v2.RunEvent, one)
        assert without_empty(serde.Serde.to_dict(built)) == without_empty(one)


def test_a_run_of_the_inbox_is_told_by_airflow_and_not_by_the_command(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.jsonl"
    monkeypatch.setenv("ROLLBOOK_OPENLINEAGE_URL", own.as_uri())
    names = ["a_2026-10-05.csv", "b_2026-10-06.csv"]
    for seed, name in enumerate(names, start=61):
        Till(seed=seed, prefix=f"told{seed}").write(inbox / name, date(2026, 10, 5), rows=20)
    bag = DagBag(dag_folder=str(DAGS / "invoice_ingest.py"))
    assert str(bag.dags["invoice_ingest"].test().state) == "success"

    (take,) = [
        one
        for one in told_by_airflow()
        if one["job"]["name"] == "invoice_ingest.take_drops" and one["eventType"] == "COMPLETE"
    ]
    assert sorted(Path(one["name"]).name for one in take["inputs"]) == names
    rows = {
        one["name"].split(".")[-1]: one.get("outputFacets", {}).get("outputStatistics", {}).get("rowCount")
        for one in take["outputs"]
    }
    assert rows["invoices"] == 40
    assert rows["venue_day_rollup"] > 0
    assert {name for name in rows if name.startswith("invoices_2026_")}
    assert {name for name in rows if name.startswith("venue_day_rollup_2026_")}
    assert not own.exists()


@pytest.mark.parametrize(
    ("off", "value"),
    [("AIRFLOW__OPENLINEAGE__DISABLED", "true"), ("AIRFLOW__OPENLINEAGE__TRANSPORT", "no JSON")],
)
def test_where_the_provider_is_off_the_command_sends_itself(
    monkeypatch: pytest.MonkeyPatch, off: str, value: str
) -> None:
    runs: list[Event] = []
    monkeypatch.setenv(off, value)
    monkeypatch.setenv("ROLLBOOK_OPENLINEAGE_URL", "http://localhost:5000")
    monkeypatch.setenv("ROLLBOOK_OPENLINEAGE_API_KEY", "")
    with followed(runs) as variables:
        assert variables == {"ROLLBOOK_OPENLINEAGE_URL": "http://localhost:5000"}
    assert runs == []
    assert lineage_of(runs) == import_module("airflow.providers.openlineage.extractors").OperatorLineage()


def test_what_a_killed_command_left_of_its_events_is_read() -> None:
    runs: list[Event] = []
    with followed(runs) as variables:
        file = Path(variables["ROLLBOOK_OPENLINEAGE_URL"].removeprefix("file://"))
        file.write_text('{"eventType": "START"}\n{"eventType": "COMPLETE"}\n{"eventType": "COMP')
    assert runs == [{"eventType": "COMPLETE"}]
    assert not file.parent.exists()
