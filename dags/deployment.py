"""What all DAGs share: where they run, and how calmly they try again.

Everything that a deployment may want otherwise is an environment variable, read when Airflow parses the DAGs; docker-compose.yml
sets them. The warehouse is Airflow's connection `rollbook_warehouse`, alerts go to the connection `rollbook_alerts`, if there is one.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from alerts import report_failure

CHECKOUT: Final = Path(__file__).resolve().parents[1]
"""Where package.json and dist/ are: a checkout, or /opt/rollbook in the image."""

COMMAND: Final = CHECKOUT / "dist" / "rollbook.js"
"""The `rollbook` command, as `npm ci` builds it."""

INBOX: Final = os.environ.get("ROLLBOOK_INBOX", "/data/inbox")
"""The mounted folder that drops are put into; done ones go to its archive/ and rejected/."""

SOURCES: Final = os.environ.get("ROLLBOOK_SOURCES", "")
"""The folder of the sources, which say how the files of other senders are read. Empty: sources/ beside the inbox, if it is there."""

SOURCE_FLAGS: Final = ["--sources", SOURCES] if SOURCES else []
"""By which the inbox is listed, loaded and archived: each step must know a file by the same source."""


def is_on(name: str) -> bool:
    return os.environ.get(name, "false").lower() in ("1", "true", "yes")


MAX_REJECTS: Final = os.environ.get("ROLLBOOK_MAX_REJECTS", "0.01")
"""The greatest share of rejected lines; above it a drop is rejected."""

REFUSE_SUSPICIOUS: Final = is_on("ROLLBOOK_REFUSE_SUSPICIOUS")
"""Whether a drop is rejected when its rejected lines look like more than single bad lines."""

DECIMAL_COMMA: Final = is_on("ROLLBOOK_DECIMAL_COMMA")

SYNC_SLACK: Final = os.environ.get("ROLLBOOK_SYNC_SLACK", "0")
"""How many days after its sync date a drop may hold."""

FORMAT_FLAGS: Final = ["--sync-slack", SYNC_SLACK, *(["--decimal-comma"] if DECIMAL_COMMA else [])]
"""How drops are read."""

SETTLE: Final = int(os.environ.get("ROLLBOOK_SETTLE", "2"))
"""A file is taken when it stood still for so many seconds."""

ONE_TASK_MB: Final = os.environ.get("ROLLBOOK_ONE_TASK_MB", "300")
"""Files that are no more than that together, each counted as 0.25 MB more than it is, are taken by one task; more by several, side by side."""

KEEP_MONTHS: Final = os.environ.get("ROLLBOOK_KEEP_MONTHS", "")
"""Partitions that ended so many months ago are detached. Empty: all are kept."""

PARTITIONS_AHEAD: Final = os.environ.get("ROLLBOOK_PARTITIONS_AHEAD", "3")

SILENT_DAYS: Final = os.environ.get("ROLLBOOK_SILENT_DAYS", "")
"""Venues are told that have been silent for so many days. Empty: those beyond their own rhythm."""

FORGET_SILENT: Final = os.environ.get("ROLLBOOK_FORGET_SILENT", "14")
"""What did not come is told for so many days, and then no more."""

PROOF_SECONDS: Final = os.environ.get("ROLLBOOK_PROOF_SECONDS", "1800")
"""So long the daily proof begins something new: what was not proved for longest. Empty: everything, every day."""

CLOSE_SCHEDULE: Final = os.environ.get("ROLLBOOK_CLOSE_SCHEDULE", "0 4 3 * *")
"""When the last month is closed, in UTC: some days after its end, so that late files are in."""

RETRIES: Final = int(os.environ.get("ROLLBOOK_RETRIES", "5"))
"""With 5 a task waits 10, 20, 40, 80 and 160 s: a database that is away for minutes is waited for, and nothing spins."""

WAREHOUSE_CONNECTION: Final = "rollbook_warehouse"

STEWARD_CONNECTION: Final = "rollbook_steward"
"""For what only a steward or the owner of the warehouse may do. Where there is none, the warehouse's connection does it."""

WAREHOUSE_POOL: Final = "rollbook_warehouse"
"""Bounds how many commands work on the warehouse at once; `airflow-init` makes it."""

DEFAULT_ARGS: Final[dict[str, Any]] = {
    "owner": "rollbook",
    "retries": RETRIES,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=10),
    "execution_timeout": timedelta(minutes=15),
    "on_failure_callback": report_failure,
}

DAG_ARGS: Final[dict[str, Any]] = {
    # Two runs of one DAG would only wait for each other.
    "max_active_runs": 1,
    "catchup": False,
    "is_paused_upon_creation": False,
    "default_args": DEFAULT_ARGS,
}

LONG_WORK: Final = timedelta(hours=12)
"""For loads, refreshes and proofs: far beyond what they take, so that it ends only what hangs."""
