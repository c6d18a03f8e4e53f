"""A metadata database and a warehouse for the tests: empty ones, which `dags/tests/dags.test.ts` makes and names in the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

DAGS = Path(__file__).resolve().parents[1]
CHECKOUT = DAGS.parent

if "ROLLBOOK_TEST_WAREHOUSE" not in os.environ:
    pytest.exit(
        "These tests need databases, which `npx vitest run dags/tests/dags.test.ts` makes.", returncode=2
    )

WAREHOUSE: dict[str, str] = json.loads(os.environ["ROLLBOOK_TEST_WAREHOUSE"])
"""The warehouse as libpq's variables."""


def airflow_connection() -> str:
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": WAREHOUSE["PGHOST"],
            "port": int(WAREHOUSE["PGPORT"]),
            "login": WAREHOUSE["PGUSER"],
            "password": "never-seen-anywhere",
            "schema": WAREHOUSE["PGDATABASE"],
        }
    )


# Before the first import of Airflow, which reads them once.
os.environ["AIRFLOW_CONN_ROLLBOOK_WAREHOUSE"] = airflow_connection()
os.environ["AIRFLOW_CONN_FS_DEFAULT"] = '{"conn_type":"fs","extra":{"path":"/"}}'


@pytest.fixture
def inbox() -> Iterator[Path]:
    """The inbox that the DAGs watch, emptied again."""
    folder = Path(os.environ["ROLLBOOK_INBOX"])
    folder.mkdir(exist_ok=True)
    yield folder
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture
def rollbook() -> Callable[..., list[dict[str, Any]]]:
    """Runs a verb on the warehouse by itself, without the operator, and returns its JSON objects."""

    def run(*arguments: str, expect: int = 0) -> list[dict[str, Any]]:
        done = subprocess.run(
            ["node", str(CHECKOUT / "dist" / "rollbook.js"), *arguments, "--json"],
            cwd=CHECKOUT,
            env={"PATH": os.environ["PATH"], **WAREHOUSE},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.fixture
def sql() -> Callable[[str], list[tuple[Any, ...]]]:
    """Asks the warehouse itself."""

    def ask(statement: str) -> list[tuple[Any, ...]]:
        connection = psycopg.connect(
            host=WAREHOUSE["PGHOST"],
            port=WAREHOUSE["PGPORT"],
            user=WAREHOUSE["PGUSER"],
            dbname=WAREHOUSE["PGDATABASE"],
        )
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement.encode())
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    return ask


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
