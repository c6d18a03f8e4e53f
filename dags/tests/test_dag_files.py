"""Every DAG file imports without errors, warnings or work, and says what it needs to say."""

from __future__ import annotations

import os
import subprocess
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk.definitions.mappedoperator import MappedOperator

import deployment
from node_cli import NodeCliOperator

if TYPE_CHECKING:
    from airflow.sdk import DAG

DAGS = Path(__file__).resolve().parents[1]
NAMES = [
    "close",
    "invoice_ingest",
    "partition_maintenance",
    "quarantine_review",
    "rollup_rebuild",
    "rollup_verify",
    "take_back",
    "venue_silence",
]

WATCHED_IMPORT = """
import importlib, os, sys
import airflow.sdk, airflow.providers.standard.operators.hitl, airflow.providers.standard.sensors.filesystem
FORBIDDEN = ("subprocess.Popen", "os.system", "os.posix_spawn", "socket.connect", "socket.getaddrinfo", "os.listdir", "os.scandir", "glob.glob")
def audit(event, arguments):
    # Python itself looks for modules in the folders of its path.
    if event in FORBIDDEN and not (event.startswith("os.") and os.path.realpath(arguments[0] or ".").startswith(PATH)):
        raise RuntimeError(f"work at the top of a DAG file: {event} {arguments}")
sys.path.insert(0, ".")
PATH = tuple(os.path.realpath(one or ".") for one in sys.path)
sys.addaudithook(audit)
importlib.import_module(sys.argv[1])
"""


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    return dict(bag.dags)


def test_all_eight_dags_are_found(dags: dict[str, DAG]) -> None:
    assert sorted(dags) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_file_imports_without_a_warning_or_any_work(name: str, python: str) -> None:
    done = subprocess.run(
        [python, "-W", "error", "-c", WATCHED_IMPORT, name],
        cwd=DAGS,
        env={
            **os.environ,
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg://nobody@127.0.0.1:1/none",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", NAMES)
def test_a_dag_says_what_it_is(name: str, dags: dict[str, DAG]) -> None:
    dag = dags[name]
    assert "rollbook" in dag.tags
    assert dag.doc_md
    # The list of DAGs has one line for it.
    assert dag.description
    assert len(dag.description) < 120
    assert dag.owner == "rollbook"
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    # A closing stays for good, so somebody has to ask for it.
    assert dag.is_paused_upon_creation is (name == "close")


@pytest.mark.parametrize("name", NAMES)
def test_every_task_tries_again_calmly_ends_in_time_and_tells_of_its_failure(
    name: str, dags: dict[str, DAG]
) -> None:
    for task in dags[name].tasks:
        assert (task.retries or 0) >= 3, task.task_id
        assert task.retry_delay >= timedelta(seconds=10), task.task_id
        assert task.retry_exponential_backoff == 2, task.task_id
        assert task.max_retry_delay == timedelta(minutes=10), task.task_id
        assert task.doc_md, task.task_id
        assert task.on_failure_callback or task.has_on_failure_callback, task.task_id
        given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
        assert task.execution_timeout or given.get("timeout") or given.get("response_timeout"), task.task_id


def test_the_ingest_runs_all_the_time_and_no_failure_pauses_it(dags: dict[str, DAG]) -> None:
    dag = dags["invoice_ingest"]
    assert type(dag.timetable).__name__ == "ContinuousTimetable"
    assert not dag.max_consecutive_failed_dag_runs
    assert dag.start_date is not None


def test_the_sensor_sees_drops_and_not_the_remains_of_uploads(dags: dict[str, DAG]) -> None:
    sensor = dags["invoice_ingest"].get_task("wait_for_drop")
    assert isinstance(sensor, FileSensor)
    pattern = PurePath(sensor.filepath).name
    assert all(
        fnmatchcase(name, pattern) for name in ["a 2026-10-05.csv", "b.CSV", "c.csv.gz", "undated.Csv.GZ"]
    )
    assert not any(
        fnmatchcase(name, pattern) for name in ["a.csv.part", "b.csv.bak", "c.csv.tmp", "notes.txt"]
    )


def test_the_example_of_a_dag_downstream_runs_by_partition_keys_and_is_not_installed(
    dags: dict[str, DAG],
) -> None:
    bag = DagBag(dag_folder=str(DAGS / "examples" / "partition_report.py"))
    assert bag.import_errors == {}
    assert type(bag.dags["partition_report"].timetable).__name__ == "PartitionedAssetTimetable"
    assert "partition_report" not in dags


def test_with_sources_the_command_says_what_a_drop_is_and_every_step_knows_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deployment, "SOURCES", "/opt/sources")
    monkeypatch.setattr(deployment, "SOURCE_FLAGS", ["--sources", "/opt/sources"])
    bag = DagBag(dag_folder=str(DAGS))
    assert bag.import_errors == {}
    ingest = bag.dags["invoice_ingest"]
    waiting = ingest.get_task("wait_for_drop")
    assert isinstance(waiting, NodeCliOperator)
    assert waiting.skip_when_empty
    assert waiting.arguments[-2:] == ["--limit", "1"]
    reading = [
        *(
            ingest.get_task(name)
            for name in ("wait_for_drop", "take_drops", "list_ready_drops", "load_drops", "archive_drops")
        ),
        bag.dags["partition_maintenance"].get_task("check_archive"),
    ]
    for task in reading:
        given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
        flags = list(given["arguments"])
        assert flags[flags.index("--sources") + 1] == "/opt/sources", task.task_id


def test_no_error_of_the_ingest_makes_it_spin(dags: dict[str, DAG]) -> None:
    kinds = ("NodeCliOperator", "TakeOperator")
    commands = [task for task in dags["invoice_ingest"].tasks if task.operator_name in kinds]
    assert len(commands) == 6
    for task in commands:
        given = task.partial_kwargs if isinstance(task, MappedOperator) else vars(task)
        assert given["insist"] is True, task.task_id


def test_the_only_leaf_of_the_ingest_is_the_one_that_fails_when_anything_failed(dags: dict[str, DAG]) -> None:
    leaves = dags["invoice_ingest"].leaves
    assert [leaf.task_id for leaf in leaves] == ["publish"]
    assert leaves[0].upstream_task_ids >= {"take_drops", "load_drops", "refresh_partitions", "archive_drops"}


def test_one_task_and_the_tasks_in_its_place_load_by_the_same_rules(dags: dict[str, DAG]) -> None:
    def rules_of(name: str, verb: list[str], own: dict[str, int]) -> list[str]:
        task = dags["invoice_ingest"].get_task(name)
        assert isinstance(task, MappedOperator)
        arguments = list(task.partial_kwargs["arguments"])
        assert arguments[: len(verb)] == verb
        rest = arguments[len(verb) :]
        for flag, values in own.items():
            at = rest.index(flag)
            rest = rest[:at] + rest[at + 1 + values :]
        return rest

    in_parts = {"--no-refresh": 0, "--ignore-missing": 0, "--no-follow": 0, "--inbox": 1}
    in_one = {"--settle": 1, "--wait": 1, "--up-to": 1, "--at-once": 1}
    taken = [flag for flag in rules_of("take_drops", ["inbox", "take"], in_one) if "--since" not in flag]
    assert taken == rules_of("load_drops", ["load"], in_parts)


def test_work_on_the_warehouse_is_bounded_by_the_pool(dags: dict[str, DAG]) -> None:
    long_tasks = {
        "take_drops",
        "load_drops",
        "refresh_partitions",
        "prune_statements",
        "make_checkpoints",
        "verify",
        "rebuild",
        "review.decide",
        "dry_run",
        "undo",
        "close",
    }
    found = {
        task.task_id: task.pool for dag in dags.values() for task in dag.tasks if task.task_id in long_tasks
    }
    assert found == dict.fromkeys(long_tasks, "rollbook_warehouse")


def test_only_what_takes_a_steward_connects_as_one(dags: dict[str, DAG]) -> None:
    found = {
        (dag.dag_id, task.task_id)
        for dag in dags.values()
        for task in dag.tasks
        if isinstance(task, NodeCliOperator) and task.connection_id == "rollbook_steward"
    }
    assert found == {("take_back", "dry_run"), ("take_back", "undo"), ("close", "close")}


def test_a_person_has_a_day_to_approve_and_silence_rejects(dags: dict[str, DAG]) -> None:
    dag = dags["take_back"]
    task = dag.get_task("approve")
    assert isinstance(task, ApprovalOperator)
    assert (task.response_timeout, task.defaults) == (timedelta(days=1), ["Reject"])
    assert task.upstream_task_ids == {"dry_run"}
    assert dag.get_task("undo").upstream_task_ids == {"approve"}
    assert dag.get_task("refresh").upstream_task_ids == {"undo"}


def test_old_statements_are_forgotten_every_day(dags: dict[str, DAG]) -> None:
    task = dags["partition_maintenance"].get_task("prune_statements")
    assert isinstance(task, NodeCliOperator)
    assert list(task.arguments) == ["prune", "--json"]
    assert not task.upstream_task_ids


def test_checkpoints_are_made_every_day(dags: dict[str, DAG]) -> None:
    task = dags["partition_maintenance"].get_task("make_checkpoints")
    assert isinstance(task, NodeCliOperator)
    assert list(task.arguments) == ["checkpoint", "--json"]
    assert not task.upstream_task_ids


def test_the_daily_proof_is_a_slice_unless_more_is_asked_for(dags: dict[str, DAG]) -> None:
    task = dags["rollup_verify"].get_task("verify")
    assert isinstance(task, NodeCliOperator)

    def rendered(**asked: object) -> list[str]:
        given = dags["rollup_verify"].params.items()  # type: ignore[no-untyped-call]
        params = {name: param.value for name, param in given} | asked
        return [one for one in task.render_template(task.arguments, {"params": params}) if one]

    assert rendered() == ["verify", "--json", "--slice=1800"]
    assert rendered(full=True) == ["verify", "--json"]
    assert rendered(partition="2026-10") == ["verify", "--json", "--partition=2026-10"]
    assert rendered(identity=True) == ["verify", "--json", "--identity"]
    assert rendered(repair=True) == ["verify", "--json", "--repair"]
    assert rendered(take_out_older=True) == ["verify", "--json", "--repair=newest"]
