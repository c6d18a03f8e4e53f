"""Whole runs by `dag.test()`, on a real metadata database and a real warehouse."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager
from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.exceptions import ParamValidationError
from drops import HOSTILE_NAMES, Till, read_totals

import deployment
from node_cli import shorten
from quarantine_review import to_review, to_show

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

DAGS = Path(__file__).resolve().parents[1]
Rollbook = Callable[..., list[dict[str, Any]]]
Sql = Callable[[str], list[tuple[Any, ...]]]

SNAPSHOT = {
    "invoices": "select i::text from warehouse.invoices i order by 1",
    "corrections": "select c::text from warehouse.corrections c order by 1",
    "deltas": "select d::text from warehouse.venue_day_deltas d order by 1",
    "rollup": "select r::text from warehouse.venue_day_rollup r order by 1",
    "pending": "select p::text from warehouse.venue_day_pending p order by 1",
    "loaded": "select file_name, synced_on from warehouse.loads where status = 'loaded' order by 1, 2",
}


@pytest.fixture(scope="session", autouse=True)
def _metadata() -> None:
    subprocess.run(["airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture
def load_dag() -> Callable[[str], DAG]:
    """A DAG, parsed anew: what a test changes about it ends with the test."""

    def load(name: str) -> DAG:
        bag = DagBag(dag_folder=str(DAGS / f"{name}.py"))
        assert bag.import_errors == {}
        found: DAG = bag.dags[name]
        return found

    return load


States = dict[str, list[str]]


def run(dag: DAG, conf: dict[str, Any] | None = None) -> tuple[str, States]:
    """The run's state, and the states of each task's instances in order of their map index."""
    ended = dag.test(run_conf=conf)
    states: States = {}
    for instance in sorted(ended.get_task_instances(), key=lambda one: (one.task_id, one.map_index)):
        states.setdefault(instance.task_id, []).append(str(instance.state))
    return str(ended.state), states


def last_event(asset: str) -> dict[str, Any]:
    with psycopg.connect(os.environ["ROLLBOOK_TEST_METADATA"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select e.extra from asset_event e join asset a on a.id = e.asset_id where a.name = %s order by e.id desc limit 1",
            (asset,),
        )
        row = cursor.fetchone()
    return {} if row is None else dict(row[0] if isinstance(row[0], dict) else json.loads(row[0]))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def archived_twins(sql: Sql, *twins: str) -> list[str]:
    """Of two drops with the same bytes, loaded at a time, the second is archived with the number of the first one's load."""
    loaded = sql(
        "select file_name, load_id from warehouse.loads where status = 'loaded' order by load_id desc"
    )
    first, load = next((name, load) for name, load in loaded if name in twins)
    (second,) = {*twins} - {first}
    return [first, f"{Path(second).stem}.load-{load}.csv"]


TAKEN_IN_ONE = ("take_drops",)
TAKEN_IN_PARTS = (
    "take_drops",
    "list_ready_drops",
    "load_drops",
    "pending_partitions",
    "refresh_partitions",
    "archive_drops",
)


@pytest.mark.parametrize(
    ("prefix", "most", "at_work"),
    [("ingest", deployment.ONE_TASK_MB, TAKEN_IN_ONE), ("parts", "0", TAKEN_IN_PARTS)],
    ids=["in one task", "in parts"],
)
def test_drops_become_exact_totals_and_leave_the_inbox(
    load_dag: Callable[[str], DAG],
    inbox: Path,
    rollbook: Rollbook,
    sql: Sql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    prefix: str,
    most: str,
    at_work: tuple[str, ...],
) -> None:
    monkeypatch.setattr(deployment, "ONE_TASK_MB", most)
    till = Till(seed=11 if prefix == "ingest" else 21, prefix=prefix)
    names = [
        "invoices_2026-10-03.csv",
        "with blanks 2026-10-04.csv",
        "{{ 7 * 7 }} $(id) 2026-10-05.csv",
        "-n 2026-10-06.csv",
        "line\nend 2026-10-07.csv",
        "餐厅 2026-10-08.CSV",
    ]
    for day, name in enumerate(names, start=3):
        till.write(inbox / name, date(2026, 10, day), rows=40)
    shutil.copy(inbox / names[0], inbox / "again_2026-10-03.csv")
    Till(seed=12, prefix=prefix).write(inbox / "bad_2026-10-05.csv", date(2026, 10, 5), rows=1, bad_lines=9)
    Till(seed=13, prefix=prefix).write(inbox / "undated.csv", date(2026, 10, 5), rows=1)
    (inbox / "unfinished_2026-10-05.csv.part").write_text("venue")
    (inbox / "notes.txt").write_text("no drop")
    kept = tmp_path / "kept"
    shutil.copytree(inbox, kept)

    state, states = run(load_dag("invoice_ingest"))

    assert state == "success"
    assert {name for name in TAKEN_IN_PARTS if set(states[name]) == {"success"}} == set(at_work)
    assert {name for name in TAKEN_IN_PARTS if set(states[name]) == {"skipped"}} == {*TAKEN_IN_PARTS} - {
        *at_work
    }
    assert states["publish"] == ["success"]
    (label,) = map_labels(at_work[0] if len(at_work) == 1 else "load_drops")[-1:]
    assert label == "9 drops of 2026-10-03 to 2026-10-08"
    assert read_totals(rollbook("totals"), prefix) == till.totals()
    assert sql("select count(*) from warehouse.venue_day_pending") == [(0,)]
    assert names_in(inbox) == ["notes.txt", "unfinished_2026-10-05.csv.part"]
    assert names_in(inbox / "archive") == sorted(
        [*names[1:], *archived_twins(sql, names[0], "again_2026-10-03.csv")]
    )
    rejected = [
        "bad_2026-10-05.csv",
        "bad_2026-10-05.csv.reason.json",
        "undated.csv",
        "undated.csv.reason.json",
    ]
    assert names_in(inbox / "rejected") == rejected
    reason = json.loads((inbox / "rejected" / "bad_2026-10-05.csv.reason.json").read_text())
    assert reason["error"]["code"] == "too_many_rejects"
    assert [line["reason"] for line in reason["lines"]] == ["bad_uuid"] * 9

    event = last_event("venue_daily_totals")
    assert event["files"] == {"loaded": 6, "already_loaded": 1, "rejected": 2}
    assert event["rows"]["inserted"] == 240
    totals = {row["partition"]: row for row in rollbook("partitions", "list")}
    assert event["partitions"] == {
        name: {"invoices": totals[name]["rollupInvoices"], "total": totals[name]["rollupTotal"]}
        for name in event["partitions"]
    }
    assert "2026-09" in event["partitions"]
    assert keys_of("partition_totals") == sorted(event["partitions"])
    assert last_event("partition_totals") == {"partitions": event["partitions"]}
    assert event["quarantined"] == []
    rejected_drops = {Path(drop["file"]).name: drop for drop in last_event("rejected_drops")["drops"]}
    assert sorted(rejected_drops) == ["bad_2026-10-05.csv", "undated.csv"]
    (told,) = rejected_drops["bad_2026-10-05.csv"]["reasons"]
    assert (told["reason"], told["count"], told["cell"], told["total"]) == (
        "bad_uuid",
        9,
        "not-a-uuid",
        "9.00",
    )

    # The same drops once more: the same tables, and nothing is overwritten in the archive.
    before = {table: sql(statement) for table, statement in SNAPSHOT.items()}
    for name in names:
        shutil.copy(kept / name, inbox / name)
    state, states = run(load_dag("invoice_ingest"))
    assert state == "success"
    assert {table: sql(statement) for table, statement in SNAPSHOT.items()} == before
    assert last_event("venue_daily_totals")["files"] == {"loaded": 0, "already_loaded": 6, "rejected": 0}
    assert len(names_in(inbox / "archive")) == 2 * len(names) + 1
    assert read_totals(rollbook("totals"), prefix) == till.totals()


def keys_of(asset: str) -> list[str | None]:
    """The partition keys of the newest events of an asset: those of the run that has any."""
    with psycopg.connect(os.environ["ROLLBOOK_TEST_METADATA"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select e.partition_key from asset_event e join asset a on a.id = e.asset_id where a.name = %s and e.source_run_id = ("
            "select l.source_run_id from asset_event l where l.asset_id = a.id order by l.id desc limit 1) order by 1",
            (asset,),
        )
        return [row[0] for row in cursor.fetchall()]


def queued_for(dag_id: str) -> list[str]:
    """The partitions for which runs of a DAG downstream are due."""
    with psycopg.connect(os.environ["ROLLBOOK_TEST_METADATA"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select partition_key from asset_partition_dag_run where target_dag_id = %s order by id",
            (dag_id,),
        )
        return [str(row[0]) for row in cursor.fetchall()]


def test_a_correction_of_one_month_is_told_to_dags_downstream_for_that_month_alone(
    load_dag: Callable[[str], DAG], inbox: Path, rollbook: Rollbook
) -> None:
    bag = DagBag(dag_folder=str(DAGS / "examples" / "partition_report.py"))
    assert bag.import_errors == {}
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(bag, "dags-folder", None)
    header = "venue_id,invoice_id,datetime_created,total"
    march = "keys-1,8c1f2e5a-0000-4000-8000-0000000000a1,2019-03-07T12:00:00Z,{}"
    april = "keys-1,8c1f2e5a-0000-4000-8000-0000000000a2,2019-04-07T12:00:00Z,5.00"
    (inbox / "keys_2026-10-05.csv").write_text("\n".join([header, march.format("1.00"), april, ""]))
    assert run(load_dag("invoice_ingest"))[0] == "success"
    assert keys_of("partition_totals") == ["2019-03", "2019-04"]
    assert sorted(queued_for("partition_report")) == ["2019-03", "2019-04"]

    (inbox / "keys_2026-10-06.csv").write_text("\n".join([header, march.format("2.00"), ""]))
    assert run(load_dag("invoice_ingest"))[0] == "success"
    assert keys_of("partition_totals") == ["2019-03"]
    (changed,) = (row for row in rollbook("partitions", "list") if row["partition"] == "2019-03")
    told = last_event("partition_totals")["partitions"]["2019-03"]
    assert told == {"invoices": changed["rollupInvoices"], "total": changed["rollupTotal"]}
    # What is due already is run once, with both events.
    assert sorted(queued_for("partition_report")) == ["2019-03", "2019-04"]

    # A drop that comes again tells its partitions again: an earlier try may have been killed before it could.
    before = count_events("partition_totals")
    shutil.copy(inbox / "archive" / "keys_2026-10-06.csv", inbox / "keys_2026-10-06.csv")
    assert run(load_dag("invoice_ingest"))[0] == "success"
    assert last_event("venue_daily_totals")["files"]["already_loaded"] == 1
    assert (count_events("partition_totals"), keys_of("partition_totals")) == (before + 1, ["2019-03"])

    # A run that touches no partition tells of none.
    (inbox / "keys_2026-10-07.csv").write_text("\n".join([header, march.format("much"), ""]))
    assert run(load_dag("invoice_ingest"))[0] == "success"
    assert last_event("venue_daily_totals")["files"]["rejected"] == 1
    assert count_events("partition_totals") == before + 1


def count_events(asset: str) -> int:
    with psycopg.connect(os.environ["ROLLBOOK_TEST_METADATA"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select from asset_event e join asset a on a.id = e.asset_id where a.name = %s", (asset,)
        )
        return cursor.rowcount


SOURCE = """
files: till/*.txt
delimiter: ";"
columns: {venue_id: Filiale, invoice_id: Bon, datetime_created: Datum, total: Betrag}
datetime_created: {format: dd.MM.yyyy}
total: {decimal: ","}
skip_when: {Art: Storno}
synced_on: {from: name, pattern: '(?<day>\\d\\d)(?<month>\\d\\d)(?<year>\\d{4})'}
"""


def test_files_that_a_source_reads_are_taken_in_from_their_folder(
    load_dag: Callable[[str], DAG],
    inbox: Path,
    rollbook: Rollbook,
    sql: Sql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "till.yaml").write_text(SOURCE)
    monkeypatch.setattr(deployment, "SOURCES", str(tmp_path))
    monkeypatch.setattr(deployment, "SOURCE_FLAGS", ["--sources", str(tmp_path)])
    (inbox / "till").mkdir()
    rows = [f"Verkauf;source-1;8c1f2e5a-0000-4000-8000-00000000000{n};05.10.2026;1,50" for n in (1, 2)]
    header = "Art;Filiale;Bon;Datum;Betrag"
    cancelled = rows[0].replace("Verkauf", "Storno")
    (inbox / "till" / "a_05102026.txt").write_text("\n".join([header, *rows, cancelled, ""]))
    (inbox / "till" / "bad_05102026.txt").write_text("\n".join([header, rows[0].replace("1,50", "x"), ""]))

    state, states = run(load_dag("invoice_ingest"))

    assert state == "success"
    assert states["wait_for_drop"] == ["success"]
    assert names_in(inbox / "archive" / "till") == ["a_05102026.txt"]
    assert names_in(inbox / "rejected" / "till") == ["bad_05102026.txt", "bad_05102026.txt.reason.json"]
    assert [
        (row["invoices"], row["total"]) for row in rollbook("totals") if row["venue_id"] == "source-1"
    ] == [(2, "3.00")]
    assert sql(
        "select source, skipped, synced_on::text from warehouse.loads where file_name = 'a_05102026.txt'"
    ) == [("till", 1, "2026-10-05")]
    event = last_event("venue_daily_totals")
    assert (event["rows"]["inserted"], event["rows"]["skipped"], event["rows"]["summed"]) == (2, 1, 0)
    (rejected,) = last_event("rejected_drops")["drops"]
    assert rejected["source"] == "till"


EXAMPLES: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[2] / "etl" / "testing" / "scenarios" / "examples.json").read_text(
        "utf-8"
    )
)
"""The ready-made sources, with the files that each reads and what is in them."""


def test_the_ready_made_sources_read_their_files(
    load_dag: Callable[[str], DAG],
    inbox: Path,
    rollbook: Rollbook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sources = Path(__file__).resolve().parents[2] / "sources" / "examples"
    monkeypatch.setattr(deployment, "SOURCES", str(sources))
    monkeypatch.setattr(deployment, "SOURCE_FLAGS", ["--sources", str(sources)])
    for example in EXAMPLES:
        shutil.copytree(sources / example["name"], inbox / example["name"])

    state, _ = run(load_dag("invoice_ingest"))

    assert state == "success"
    for file in (file for example in EXAMPLES for file in example["files"]):
        assert (inbox / "archive" / file).is_file()
    # By venue: the warehouse of these tests counts days in UTC, the totals that were added up are of Berlin's.
    expected: dict[str, tuple[int, Decimal]] = {}
    for group in (group for example in EXAMPLES for group in example["totals"]):
        invoices, total = expected.get(group["venue"], (0, Decimal(0)))
        expected[group["venue"]] = (invoices + group["invoices"], total + Decimal(group["total"]))
    found: dict[str, tuple[int, Decimal]] = {}
    for row in rollbook("totals"):
        if row["venue_id"] in expected:
            invoices, total = found.get(row["venue_id"], (0, Decimal(0)))
            found[row["venue_id"]] = (invoices + row["invoices"], total + Decimal(row["total"]))
    assert found == expected


# The review's own group of tasks, with an answer where a person is waited for.
DECIDING_DAG = """
from airflow.sdk import BaseOperator, dag, task_group
from deployment import INBOX
from quarantine_review import DECIDED, KEEP, DecisionOperator, NodeCliOperator, to_review

class AskOperator(BaseOperator):
    template_fields = ("subject", "body")
    def __init__(self, *, subject, body, **kwargs):
        super().__init__(**kwargs)
        self.subject, self.body = subject, body
    def execute(self, context):
        return [self.subject, self.body]

@dag(schedule=None)
def deciding():
    listed = NodeCliOperator(
        task_id="list_rejected", arguments=["inbox", "rejected", "--json"], operands=[INBOX], connection_id=None, digest=to_review
    )
    @task_group
    def review(path, subject, body):
        AskOperator(task_id="ask", subject=subject, body=body, map_index_template="{{ task.subject }}")
        DecisionOperator(task_id="decide", answer={"chosen_options": [KEEP]}, path=path, map_index_template=DECIDED)
    review.expand_kwargs(listed.output)

deciding()
"""

DECIDED_ON = ("{{", "{%", "\r", "--help", "\u0007" * 9)
"""A few: each costs two tasks."""


def test_hostile_names_go_through_a_whole_run_and_a_decision(
    load_dag: Callable[[str], DAG], inbox: Path, rollbook: Rollbook, tmp_path: Path
) -> None:
    till = Till(seed=18, prefix="named")
    names = [name for name in HOSTILE_NAMES if not name.startswith(".")]
    bad = [name for name in names if any(mark in name for mark in DECIDED_ON)]
    good = [name for name in names if name not in bad]
    for name in good:
        till.write(inbox / name, date(2026, 10, 5), rows=2)
    for number, name in enumerate(bad):
        Till(seed=100 + number, prefix="named").write(
            inbox / name, date(2026, 10, 5), rows=1, bad_lines=1 + number
        )
    (inbox / "link_2026-10-05.csv").symlink_to("/etc/hostname")

    assert run(load_dag("invoice_ingest"))[0] == "success"

    assert read_totals(rollbook("totals"), "named") == till.totals()
    assert names_in(inbox / "archive") == sorted(good)
    assert [path.name for path in inbox.iterdir() if path.is_symlink()] == ["link_2026-10-05.csv"]
    told = [Path(drop["file"]).name for drop in last_event("rejected_drops")["drops"]]
    assert sorted(told) == sorted(bad)

    file = tmp_path / "deciding.py"
    file.write_text(DECIDING_DAG)
    bag = DagBag(dag_folder=str(file))
    assert bag.import_errors == {}
    # Airflow looks for it in the folder of the DAGs alone.
    sync_bag_to_db(bag, "dags-folder", None)
    state, states = run(bag.dags["deciding"])
    # No name was taken for a template, or was too long for the grid.
    assert (state, states["review.decide"]) == ("success", ["success"] * len(bad))
    assert rollbook("inbox", "rejected", str(inbox)) == []
    reasons = [json.loads(path.read_text()) for path in (inbox / "rejected").glob("*.reason.json")]
    assert sorted(one["file"] for one in reasons if "reviewedAt" in one) == sorted(bad)
    names_shown = sorted(shorten(name, 200) for name in bad)
    assert sorted(map_labels("review.decide")) == [f"Keep it out: {name}" for name in names_shown]
    assert sorted(map_labels("review.ask")) == [f"Rejected: {name}" for name in names_shown]


def test_rejected_lines_of_a_loaded_drop_are_told_and_stay_open(
    load_dag: Callable[[str], DAG], inbox: Path, rollbook: Rollbook
) -> None:
    name = "open_2026-10-05.csv"
    Till(seed=61, prefix="open").write(inbox / name, date(2026, 10, 5), rows=400, bad_lines=3)

    assert run(load_dag("invoice_ingest"))[0] == "success"

    (told,) = last_event("venue_daily_totals")["quarantined"]
    assert told["suspicious"] == ["one_reason"]
    assert [(one["reason"], one["count"], one["total"]) for one in told["reasons"]] == [
        ("bad_uuid", 3, "3.00")
    ]
    shown = to_show(rollbook("rejects"))
    ours = [one for one in shown["open"] if one["fileName"] == name]
    assert [(one["loadId"], one["lines"], one["total"]) for one in ours] == [(told["load_id"], 3, "3.00")]
    assert shown["lines"] >= 3


def map_labels(task: str) -> list[str]:
    with psycopg.connect(os.environ["ROLLBOOK_TEST_METADATA"]) as connection, connection.cursor() as cursor:
        cursor.execute(
            "select rendered_map_index from task_instance where task_id = %s order by start_date", (task,)
        )
        return [str(row[0]) for row in cursor.fetchall()]


def test_what_a_person_is_asked_shows_hostile_names_without_harm() -> None:
    drops = [
        {
            "path": f"/data/inbox/rejected/{name}",
            "error": {"code": "bad_header", "message": f"{name}: no"},
            "rows": {"read": 1, "rejected": 1},
            "lines": [{"line": 1, "reason": "bad_uuid", "raw": name}],
        }
        for name in HOSTILE_NAMES
    ]
    asked = [one for first in range(0, len(drops), 50) for one in to_review(drops[first : first + 50])]
    assert [one["path"] for one in asked] == [drop["path"] for drop in drops]
    for one in asked:
        assert len(one["subject"]) <= 250
        assert one["subject"].isprintable()
        assert all(line.isprintable() for line in one["body"].split("\n"))
        facts = one["body"].split("\n")[:3]
        # All that comes from the file stands between fences longer than any in it.
        for fact in (facts[0], facts[2]):
            fence = re.search("`+$", fact)
            assert fence is not None
            inner = (
                fact.split(f" {fence[0]} ", 1)[-1].split(f"{fence[0]} ", 1)[-1].removesuffix(f" {fence[0]}")
            )
            assert max((len(ticks) for ticks in re.findall("`+", inner)), default=0) < len(fence[0])


def test_a_run_that_finds_nothing_ready_is_skipped_and_still_refreshes_what_an_earlier_one_left(
    load_dag: Callable[[str], DAG], inbox: Path, rollbook: Rollbook, sql: Sql, tmp_path: Path
) -> None:
    left = Till(seed=14, prefix="left").write(tmp_path / "left_2026-10-05.csv", date(2026, 10, 5), rows=30)
    rollbook("load", "--no-refresh", str(left))
    assert sql("select count(*) > 0 from warehouse.venue_day_pending") == [(True,)]
    # A folder of that name wakes the sensor, and is no drop.
    (inbox / "folder_2026-10-05.csv").mkdir()
    (inbox / "folder_2026-10-05.csv" / "file").touch()
    dag = load_dag("invoice_ingest")
    taking = dag.get_task("take_drops")
    assert isinstance(taking, MappedOperator)
    arguments = list(taking.partial_kwargs["arguments"])
    arguments[arguments.index("--wait") + 1] = "1"
    taking.partial_kwargs["arguments"] = arguments

    state, states = run(dag)

    assert state == "success"
    assert {name: set(found) for name, found in states.items() if name != "wait_for_drop"} == {
        name: {"skipped"} for name in [*TAKEN_IN_PARTS, "publish"]
    }
    assert sql("select count(*) from warehouse.venue_day_pending") == [(0,)]


def test_a_rollup_that_was_tampered_with_fails_the_proof_by_name_alerts_and_is_mended(
    load_dag: Callable[[str], DAG],
    rollbook: Rollbook,
    sql: Sql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    web_hook: list[str],
    web_hook_url: str,
) -> None:
    drop = Till(seed=15, prefix="proof").write(tmp_path / "proof_2026-10-05.csv", date(2026, 10, 5), rows=20)
    rollbook("load", str(drop))
    assert run(load_dag("rollup_verify"))[0] == "success"
    sql(
        "update warehouse.venue_day_rollup set total = total + 1 where (created_on, venue_key) = "
        "(select r.created_on, r.venue_key from warehouse.venue_day_rollup r join warehouse.venues using (venue_key) "
        "where venue_id = 'proof-03' order by 1 limit 1)"
    )
    alert = {"conn_type": "apprise", "extra": {"config": [{"path": web_hook_url}]}}
    monkeypatch.setenv("AIRFLOW_CONN_ROLLBOOK_ALERTS", json.dumps(alert))

    state, states = run(load_dag("rollup_verify"))

    assert (state, states) == ("failed", {"verify": ["failed"]})
    (message,) = web_hook
    assert "proof-03" in message
    assert "divergences" in message
    assert "rollup_verify" in message

    assert run(load_dag("rollup_verify"), {"repair": True})[0] == "success"
    assert run(load_dag("rollup_verify"), {"partition": "2026-10", "identity": True})[0] == "success"
    assert run(load_dag("rollup_verify"), {"identity": True, "take_out_older": True})[0] == "success"


def test_an_alert_that_cannot_be_sent_changes_nothing(
    load_dag: Callable[[str], DAG], monkeypatch: pytest.MonkeyPatch
) -> None:
    alert = {"conn_type": "apprise", "extra": {"config": [{"path": "json://127.0.0.1:1/"}]}}
    monkeypatch.setenv("AIRFLOW_CONN_ROLLBOOK_ALERTS", json.dumps(alert))
    state, states = run(load_dag("rollup_verify"), {"partition": "1999-01"})
    assert (state, states) == ("failed", {"verify": ["failed"]})


def test_silent_venues_and_missing_dates_fail_the_watch_by_name_and_alert(
    load_dag: Callable[[str], DAG],
    rollbook: Rollbook,
    sql: Sql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    web_hook: list[str],
    web_hook_url: str,
) -> None:
    alert = {"conn_type": "apprise", "extra": {"config": [{"path": web_hook_url}]}}
    monkeypatch.setenv("AIRFLOW_CONN_ROLLBOOK_ALERTS", json.dumps(alert))
    for days in (9, 8, 7):
        synced_on = date.today() - timedelta(days=days)
        till = Till(seed=20 + days, prefix="silent")
        rollbook("load", str(till.write(tmp_path / f"silent_{synced_on}.csv", synced_on, rows=200)))
    sql(
        "insert into warehouse.loads (file_name, synced_on, status, source, source_sha256) "
        "select 'entered', current_date - ago, 'loaded', '{{ 7 * 7 }}', '\\x00' "
        "from generate_series(0, 40) ago where ago <> 3 returning load_id"
    )

    state, states = run(load_dag("venue_silence"))

    assert (state, states) == ("failed", {"find_silent": ["failed"]})
    (message,) = web_hook
    assert "silent-03 silent for 7 days" in message
    assert f"no file of {date.today() - timedelta(days=3)} for source {{{{ 7 * 7 }}}}" in message
    assert "venue_silence" in message

    # Told for longer than it is remembered.
    sql(
        "with moved as ("
        "  update warehouse.loads set synced_on = synced_on - 300 "
        "  where file_name = 'entered' or file_name like 'silent%' returning load_id, synced_on"
        ") "
        "update warehouse.invoices i set synced_on = moved.synced_on "
        "from moved where i.load_id = moved.load_id returning i.load_id"
    )
    assert run(load_dag("venue_silence"))[0] == "success"
    assert len(web_hook) == 1
    # Nobody finishes them, and verify names such entries.
    sql("delete from warehouse.loads where file_name = 'entered' returning load_id")


def test_partitions_are_made_ahead_and_old_statements_forgotten(
    load_dag: Callable[[str], DAG], rollbook: Rollbook
) -> None:
    state, states = run(load_dag("partition_maintenance"))
    assert (state, states["prune_statements"], states["make_checkpoints"]) == (
        "success",
        ["success"],
        ["success"],
    )
    names = {row["partition"] for row in rollbook("partitions", "list")}
    first = date.today().replace(day=1)
    for _ in range(4):
        assert f"{first:%Y-%m}" in names
        first = (first + timedelta(days=32)).replace(day=1)


def test_retention_detaches_what_is_kept_no_longer(
    load_dag: Callable[[str], DAG], rollbook: Rollbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    till = Till(seed=16, prefix="old")
    rollbook("load", str(till.write(tmp_path / "old_2015-10-05.csv", date(2015, 10, 5), rows=20)))
    monkeypatch.setattr("deployment.KEEP_MONTHS", "120")
    state, states = run(load_dag("partition_maintenance"))
    assert (state, states["detach_partitions"]) == ("success", ["success"])
    found = {row["partition"]: row["state"] for row in rollbook("partitions", "list")}
    assert found["2015-10"] == "detached"
    assert found[f"{date.today():%Y-%m}"] == "open"
    # Again: nothing is left to do.
    assert run(load_dag("partition_maintenance"))[0] == "success"


def test_a_rebuild_touches_the_partitions_of_its_range_alone(
    load_dag: Callable[[str], DAG], rollbook: Rollbook, sql: Sql, tmp_path: Path
) -> None:
    till = Till(seed=17, prefix="rebuild")
    rollbook("load", str(till.write(tmp_path / "rebuild_2025-10-05.csv", date(2025, 10, 5), rows=200)))
    sql(
        "update warehouse.venue_day_rollup set total = total + 1 where created_on >= date '2025-08-01' and created_on < date '2025-10-01'"
    )
    state, states = run(load_dag("rollup_rebuild"), {"from": "2025-08-01", "to": "2025-10-01"})
    assert (state, states["rebuild"]) == ("success", ["success", "success"])
    assert read_totals(rollbook("totals"), "rebuild") == till.totals()


@pytest.mark.parametrize("conf", [{"from": "yesterday"}, {"strategy": "magic"}])
def test_a_rebuild_refuses_what_its_form_does_not_allow(
    load_dag: Callable[[str], DAG], conf: dict[str, str]
) -> None:
    with pytest.raises(Exception, match="Invalid input for param"):
        run(load_dag("rollup_rebuild"), conf)


def answer_with(monkeypatch: pytest.MonkeyPatch, option: str, name: str = "Ada") -> list[str]:
    """Answers in the place of a person, without the wait. Returns what is asked."""
    asked: list[str] = []

    def execute(operator: ApprovalOperator, context: Context) -> Any:
        asked.extend([operator.subject, str(operator.body)])
        given = {"chosen_options": [option], "params_input": {}, "responded_at": datetime.now(UTC)}
        return operator.execute_complete(context, {**given, "responded_by_user": {"id": "1", "name": name}})

    monkeypatch.setattr(ApprovalOperator, "execute", execute)
    return asked


def test_a_load_is_taken_back_when_a_person_approves_and_the_ledger_says_who(
    load_dag: Callable[[str], DAG],
    rollbook: Rollbook,
    sql: Sql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = "-{{ 7 * 7 }} `undone` 2026-10-05.csv"
    drop = Till(seed=71, prefix="undone").write(tmp_path / name, date(2026, 10, 5), rows=30)
    (loaded, *_) = rollbook("load", str(drop))
    load = loaded["loadId"]
    conf = {"load": load, "reason": "-- {{ 7 * 7 }} '$(id)'"}

    asked = answer_with(monkeypatch, ApprovalOperator.REJECT)
    state, states = run(load_dag("take_back"), conf)
    assert (state, states["dry_run"], states["undo"], states["refresh"]) == (
        "success",
        ["success"],
        ["skipped"],
        ["skipped"],
    )
    assert asked[0] == f"Take back load {load}?"
    assert f"- load {load}: `` {name} ``" in asked[1]
    assert "- 30 invoices go: nothing else is known of them" in asked[1]
    assert "all totals change by -30 invoices and -" in asked[1]
    assert sql("select count(*) from warehouse.loads where status = 'undo'") == [(0,)]
    assert read_totals(rollbook("totals"), "undone") != {}

    answer_with(monkeypatch, ApprovalOperator.APPROVE, name="Ada {{ 7 * 7 }} O'Neil")
    state, states = run(load_dag("take_back"), conf)
    assert (state, states["undo"]) == ("success", ["success"])
    assert set(states["refresh"]) == {"success"}
    assert sql("select undo_of, because from warehouse.loads where status = 'undo'") == [
        (load, "-- {{ 7 * 7 }} '$(id)' (approved by Ada {{ 7 * 7 }} O'Neil)")
    ]
    assert read_totals(rollbook("totals"), "undone") == {}
    assert sql("select count(*) from warehouse.venue_day_pending") == [(0,)]

    # Once is enough: the dry run refuses, and nobody is asked.
    dag = load_dag("take_back")
    for task in dag.tasks:
        task.retries = 0
    state, states = run(dag, conf)
    assert (state, states["dry_run"], states["undo"]) == ("failed", ["failed"], ["upstream_failed"])


@pytest.mark.parametrize("conf", [{"load": 0, "reason": "x"}, {"load": 1, "reason": " "}, {"load": 1}, {}])
def test_a_load_is_not_taken_back_without_its_number_and_a_reason(
    load_dag: Callable[[str], DAG], conf: dict[str, Any]
) -> None:
    with pytest.raises(ParamValidationError):
        run(load_dag("take_back"), conf)


def test_the_last_month_is_closed_once_and_what_an_undo_restates_of_it_is_asked(
    load_dag: Callable[[str], DAG], rollbook: Rollbook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = date.today().replace(day=1) - timedelta(days=1)
    month = f"{last:%Y-%m}"
    drop = Till(seed=72, prefix="closed").write(tmp_path / f"closed_{last}.csv", last, rows=60)
    (loaded, *_) = rollbook("load", str(drop))

    state, states = run(load_dag("close"))
    assert (state, states) == ("success", {"verify": ["success"], "close": ["success"]})
    assert [one["period"] for one in rollbook("closings", "list")] == [month]

    state, states = run(load_dag("close"))
    assert (state, states) == ("success", {"verify": ["success"], "close": ["skipped"]})
    assert len(rollbook("closings", "list")) == 1

    asked = answer_with(monkeypatch, ApprovalOperator.REJECT)
    assert run(load_dag("take_back"), {"load": loaded["loadId"], "reason": "a test"})[0] == "success"
    assert f"**` {month} ` is closed, and would be restated**" in asked[1]

    assert run(load_dag("close"), {"period": f"{last}"})[0] == "success"
    assert [one["period"] for one in rollbook("closings", "list")] == [month, f"{last}"]


def test_nothing_is_closed_while_totals_diverge(
    load_dag: Callable[[str], DAG], rollbook: Rollbook, sql: Sql, tmp_path: Path
) -> None:
    drop = Till(seed=73, prefix="unclosed").write(
        tmp_path / "unclosed_2026-09-05.csv", date(2026, 9, 5), rows=20
    )
    rollbook("load", str(drop))
    sql(
        "update warehouse.venue_day_rollup set total = total + 1 "
        "where venue_key in (select venue_key from warehouse.venues where venue_id = 'unclosed-03')"
    )
    before = rollbook("closings", "list")
    state, states = run(load_dag("close"), {"period": "2026-Q3"})
    assert (state, states) == ("failed", {"verify": ["failed"], "close": ["upstream_failed"]})
    assert rollbook("closings", "list") == before
    assert run(load_dag("rollup_verify"), {"repair": True})[0] == "success"


@pytest.fixture
def web_hook() -> list[str]:
    """What was posted to `web_hook_url`."""
    return []


@pytest.fixture
def web_hook_url(web_hook: list[str]) -> Iterator[str]:
    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            web_hook.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"json://127.0.0.1:{server.server_port}/hook"
    server.shutdown()
    thread.join()
