"""The operator: exit codes, streams, environment, file names, and how it ends a command. With the real command wherever it can be."""

from __future__ import annotations

import logging
import os
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from drops import HOSTILE_NAMES, Till, read_totals

from node_cli import NodeCliOperator, describe, shorten

INVOICES_OF = "select count(*) from warehouse.invoices join warehouse.venues using (venue_key) where venue_id like '{}-%'"

Rollbook = Callable[..., list[dict[str, Any]]]


def run(*arguments: str, operands: list[str] | None = None, **options: Any) -> Any:
    operator = NodeCliOperator(task_id="test", arguments=list(arguments), operands=operands or [], **options)
    return operator.execute({})


@pytest.fixture(autouse=True)
def _log_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # Outside of a task Airflow's own logger leads nowhere.
    monkeypatch.setattr(NodeCliOperator, "log", logging.getLogger("operator"))


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a shell script in Node's place, for what the real command never does."""

    def put(script: str) -> None:
        node = tmp_path / "node"
        node.write_text(f"#!/bin/sh\n{script}\n")
        node.chmod(node.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return put


def test_a_loaded_drop_is_a_success_with_its_report(tmp_path: Path) -> None:
    drop = Till(seed=1, prefix="loaded").write(tmp_path / "a_2026-10-05.csv", date(2026, 10, 5), rows=50)
    (report,) = run("load", "--json", "--no-refresh", operands=[str(drop)])
    assert report["outcome"] == "loaded"
    assert report["rows"]["inserted"] == 50


def test_a_rejected_drop_is_a_success_that_says_so(tmp_path: Path) -> None:
    drop = Till(seed=2, prefix="refused").write(
        tmp_path / "b_2026-10-05.csv", date(2026, 10, 5), rows=5, bad_lines=5
    )
    (report,) = run("load", "--json", operands=[str(drop)])
    assert report["outcome"] == "rejected"
    assert report["error"]["code"] == "too_many_rejects"


def test_a_usage_error_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(AirflowFailException, match=r"there is no such file.*exit code 2"):
        run("load", "--json", operands=[str(tmp_path / "none_2026-10-05.csv")])


def test_a_usage_error_is_tried_again_where_the_next_run_would_meet_it_at_once(tmp_path: Path) -> None:
    with pytest.raises(AirflowException, match="there is no such file") as caught:
        run("load", "--json", operands=[str(tmp_path / "none_2026-10-05.csv")], insist=True)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_database_that_is_away_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWAY",
        '{"conn_type":"postgres","host":"127.0.0.1","port":1,"login":"x","password":"pw"}',
    )
    drop = Till(seed=3, prefix="away").write(tmp_path / "c_2026-10-05.csv", date(2026, 10, 5), rows=1)
    with pytest.raises(AirflowException, match="exit code 1") as caught:
        run("load", "--json", operands=[str(drop)], connection_id="away")
    assert not isinstance(caught.value, AirflowFailException)


def test_a_missing_connection_says_how_to_make_it() -> None:
    with pytest.raises(AirflowFailException, match="AIRFLOW_CONN_NOT_THERE"):
        run("status", "--json", connection_id="not_there")


def test_where_there_is_no_connection_of_a_steward_the_warehouses_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (status,) = run("status", "--json", connection_id="rollbook_steward")
    assert "partitions" in status
    monkeypatch.setenv("AIRFLOW_CONN_ROLLBOOK_STEWARD", '{"conn_type": "postgres", "login": "x"}')
    with pytest.raises(AirflowFailException, match="rollbook_steward names no host"):
        run("status", "--json", connection_id="rollbook_steward")


def test_a_connection_without_a_host_never_falls_back_to_an_embedded_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_HOSTLESS", '{"conn_type":"postgres","login":"x"}')
    with pytest.raises(AirflowFailException, match="names no host"):
        run("status", "--json", connection_id="hostless")


def test_without_node_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(AirflowFailException, match="Install Node"):
        run("status", "--json")


def test_without_the_built_command_it_says_how_to_build_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("node_cli.COMMAND", tmp_path / "dist" / "rollbook.js")
    with pytest.raises(AirflowFailException, match="Run: npm ci"):
        run("status", "--json")


def test_an_empty_result_skips_where_that_was_asked_for(inbox: Path) -> None:
    with pytest.raises(AirflowSkipException):
        run("inbox", "list", "--json", operands=[str(inbox)], connection_id=None, skip_when_empty=True)


def test_hostile_names_are_names_and_nothing_else(
    tmp_path: Path, rollbook: Rollbook, caplog: pytest.LogCaptureFixture
) -> None:
    till = Till(seed=4, prefix="hostile")
    paths = [str(till.write(tmp_path / name, date(2026, 10, 5), rows=3)) for name in HOSTILE_NAMES]
    with caplog.at_level(logging.INFO):
        reports = run("load", "--json", operands=paths)
    loads = [one for one in reports if "outcome" in one]
    assert [one["file"] for one in loads] == paths
    assert {one["outcome"] for one in loads} == {"loaded"}
    assert sorted(os.listdir(tmp_path)) == sorted(HOSTILE_NAMES)
    assert len(caplog.records) > len(paths)
    assert [record.getMessage() for record in caplog.records if not record.getMessage().isprintable()] == []
    assert read_totals(rollbook("totals"), "hostile") == till.totals()


def test_a_name_cannot_forge_a_line_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = "x\n[2026-10-05] ERROR forged\x1b[31m 2026-10-05.csv"
    drop = Till(seed=5, prefix="forged").write(tmp_path / name, date(2026, 10, 5), rows=1)
    with caplog.at_level(logging.INFO):
        run("load", "--json", operands=[str(drop)])
    assert all(
        "\n" not in record.getMessage() and "\x1b" not in record.getMessage() for record in caplog.records
    )
    assert any("x\\n[2026-10-05] ERROR forged\\x1b" in record.getMessage() for record in caplog.records)


def test_what_failed_is_told_without_harm(tmp_path: Path) -> None:
    name = "x\n[now] ERROR - forged\x1b[2J \u202e\u2028{{ 7 * 7 }} 2026-10-05.csv"
    with pytest.raises(AirflowFailException) as missing:
        run("load", "--json", operands=[str(tmp_path / name)])
    report = {"file": name, "outcome": "failed", "error": {"code": "file_changed", "message": name}}
    operator = NodeCliOperator(task_id="test", arguments=["load"])
    with pytest.raises(AirflowException) as failed:
        operator.conclude([report], "", 1)
    for error in (missing.value, failed.value):
        assert str(error).isprintable()
        assert "x\\" in str(error)
        assert "{{ 7 * 7 }}" in str(error)


def test_the_command_gets_the_warehouse_and_nothing_of_airflows_secrets(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "fernet")
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "jwt")
    monkeypatch.setenv("DATABASE_URL", "postgresql://elsewhere")
    seen = tmp_path / "seen"
    stand_in(f'env > "{seen}"')
    run("status", "--json")
    variables = dict(line.split("=", 1) for line in seen.read_text().splitlines())
    assert not [name for name in variables if name.startswith("AIRFLOW") or name == "DATABASE_URL"]
    assert variables["PGPASSWORD"] == "never-seen-anywhere"
    assert variables["ROLLBOOK_EXIT_WITH_PARENT"] == "1"
    assert set(variables) <= {
        *("PATH", "HOME", "TMPDIR", "TZ", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS", "LANG", "NO_COLOR"),
        *("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "ROLLBOOK_EXIT_WITH_PARENT"),
        *("PWD", "SHLVL", "_"),
    }


def test_encryption_is_handed_on(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_TLS",
        '{"conn_type":"postgres","host":"db","extra":{"sslmode":"verify-full","sslrootcert":"/ca.pem","sslcert":"/me.pem",'
        '"sslkey":"/me.key","sslnegotiation":"direct","ssl_min_protocol_version":"TLSv1.3"}}',
    )
    seen = tmp_path / "seen"
    stand_in(f'env > "{seen}"')
    run("status", "--json", connection_id="tls")
    variables = set(seen.read_text().splitlines())
    assert {
        "PGSSLMODE=verify-full",
        "PGSSLROOTCERT=/ca.pem",
        "PGSSLCERT=/me.pem",
        "PGSSLKEY=/me.key",
    } <= variables
    assert {"PGSSLNEGOTIATION=direct", "PGSSLMINPROTOCOLVERSION=TLSv1.3"} <= variables


def test_the_password_is_on_no_command_line_and_in_no_log(
    stand_in: Callable[[str], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = tmp_path / "seen"
    stand_in(f'echo "$@" > "{seen}"')
    with caplog.at_level(logging.DEBUG):
        run("status", "--json")
    assert "never-seen" not in seen.read_text()
    assert "never-seen" not in caplog.text


def test_both_streams_are_drained_at_once(stand_in: Callable[[str], None]) -> None:
    stand_in(
        "i=0; while [ $i -lt 4000 ]; do i=$((i+1));"
        ' echo "{\\"n\\": $i, \\"pad\\": \\"0123456789012345678901234567890123456789\\"}";'
        ' echo "message $i 0123456789012345678901234567890123456789" >&2; done'
    )
    objects = run("status", "--json")
    assert [one["n"] for one in objects] == list(range(1, 4001))


def test_messages_are_logged_by_level_and_only_the_last_word_is_an_error(
    stand_in: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    stand_in('echo "41% loading" >&2; echo "rollbook: the disk is full" >&2; exit 1')
    with caplog.at_level(logging.INFO), pytest.raises(AirflowException, match="the disk is full"):
        run("load", "--json")
    levels = {record.getMessage(): record.levelno for record in caplog.records}
    assert levels["41% loading"] == logging.INFO
    assert levels["rollbook: the disk is full"] == logging.ERROR


def test_what_is_no_json_is_logged_and_left_out(
    stand_in: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    stand_in("""echo '{"a": 1}'; echo 'Segmentation fault'; printf '\\377\\376\\n'; echo '{"b": 2}'""")
    assert run("status", "--json") == [{"a": 1}, {"b": 2}]
    assert "Segmentation fault" in caplog.text


def test_a_flood_of_objects_is_bounded_and_its_last_one_is_kept(stand_in: Callable[[str], None]) -> None:
    stand_in("seq -f '{\"n\": %.0f}' 1 12000")
    objects = run("verify", "--json")
    assert len(objects) == 10_000
    assert objects[-1] == {"n": 12_000}


@pytest.mark.parametrize("code", [1, 4, 127, 130, 143])
def test_any_other_exit_code_is_tried_again(stand_in: Callable[[str], None], code: int) -> None:
    stand_in(f"exit {code}")
    with pytest.raises(AirflowException, match=f"exit code {code}") as caught:
        run("refresh", "--json")
    assert not isinstance(caught.value, AirflowFailException)


def test_a_killed_task_ends_the_command_which_rolls_back(
    tmp_path: Path, sql: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    drop = Till(seed=6, prefix="killed").write(
        tmp_path / "big_2026-10-05.csv", date(2026, 10, 5), rows=400_000
    )
    operator = NodeCliOperator(task_id="test", arguments=["load", "--json"], operands=[str(drop)])
    caught: list[BaseException] = []

    def work() -> None:
        try:
            operator.execute({})
        except AirflowException as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(
        lambda: bool(
            sql("select 1 from pg_stat_activity where query ilike 'copy%' and datname = current_database()")
        )
    )
    began = time.monotonic()
    operator.on_kill()
    thread.join()
    assert "exit code 143" in str(caught[0])
    assert time.monotonic() - began < 10
    assert sql(INVOICES_OF.format("killed")) == [(0,)]


def test_a_command_that_ignores_sigterm_is_killed_with_what_it_started(
    stand_in: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("node_cli.ENDS_WITHIN_SECONDS", 1)
    started = tmp_path / "started"
    stand_in(f"trap '' TERM; sleep 600 & echo $! > \"{started}\"; wait; wait")
    operator = NodeCliOperator(task_id="test", arguments=["load"])

    def work() -> None:
        with pytest.raises(AirflowException):
            operator.execute({})

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: started.exists() and started.read_text() != "")
    operator.on_kill()
    thread.join(timeout=20)
    assert not thread.is_alive()
    wait_for(lambda: not is_running(int(started.read_text())))


def test_the_command_ends_itself_when_the_task_process_is_killed(
    tmp_path: Path, python: str, sql: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    drop = Till(seed=7, prefix="orphan").write(
        tmp_path / "big_2026-10-06.csv", date(2026, 10, 6), rows=400_000
    )
    script = (
        "from node_cli import NodeCliOperator\n"
        f"NodeCliOperator(task_id='t', arguments=['load', '--json'], operands=[{str(drop)!r}]).execute({{}})"
    )
    dags = Path(__file__).resolve().parents[1]
    with subprocess.Popen(
        [python, "-c", script], cwd=dags, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as task:
        wait_for(
            lambda: bool(
                sql(
                    "select 1 from pg_stat_activity where query ilike 'copy%' and datname = current_database()"
                )
            )
        )
        task.send_signal(signal.SIGKILL)
    wait_for(
        lambda: (
            not sql(
                "select 1 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
            )
        )
    )
    assert sql(INVOICES_OF.format("orphan")) == [(0,)]


def test_an_object_reads_like_a_sentence() -> None:
    report = {
        "file": "a.csv",
        "outcome": "loaded",
        "loadId": 7,
        "rows": {"read": 2, "rejected": 0},
        "partitions": ["2026-10"],
    }
    assert describe(report) == "outcome: loaded, file: a.csv, loadId: 7, rows read: 2, partitions: 2026-10"
    assert describe({"partitions": [str(n) for n in range(9)]}) == "partitions: 0, 1, 2, 3, 4, 5 and 3 more"


def test_a_log_line_says_first_what_became_of_a_file_and_names_it_as_it_is_in_the_inbox(
    inbox: Path, caplog: pytest.LogCaptureFixture
) -> None:
    name = "told_2026-10-05.csv"
    Till(seed=3, prefix="told").write(inbox / name, date(2026, 10, 5), rows=5, bad_lines=5)
    (inbox / f"empty-{name}").touch()
    with caplog.at_level(logging.INFO):
        run("load", "--json", "--no-refresh", operands=[str(inbox / name), str(inbox / f"empty-{name}")])
    told = [record.getMessage() for record in caplog.records]
    (rejected,) = (
        line for line in told if line.startswith("outcome: rejected, error code: too_many_rejects")
    )
    assert f", file: {name}, " in rejected
    assert f"warning: empty-{name} holds no invoices." in caplog.text
    assert not any(line.startswith("/") for line in told)


def test_long_lines_are_shortened() -> None:
    assert len(shorten("x" * 5000)) == 2003


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for runs no more.
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
