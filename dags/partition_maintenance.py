"""Makes partitions ahead, takes out old ones, checks the archive, forgets old statements, and makes checkpoints."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag
from pendulum import now

from deployment import (
    DAG_ARGS,
    INBOX,
    KEEP_MONTHS,
    LONG_WORK,
    PARTITIONS_AHEAD,
    SOURCE_FLAGS,
    WAREHOUSE_POOL,
)
from node_cli import NodeCliOperator


def months_ago(months: str) -> str:
    """The date so many months ago, in UTC."""
    return now("UTC").subtract(months=int(months)).to_date_string()


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone="UTC"),
    **DAG_ARGS,
    tags=["rollbook", "maintenance"],
    user_defined_macros={"months_ago": months_ago},
    description=__doc__,
    doc_md="""
### Partitions ahead, and retention

Makes the partitions of the next months (`ROLLBOOK_PARTITIONS_AHEAD`), so that no load has to. Where `ROLLBOOK_KEEP_MONTHS` is set,
detaches the partitions that ended so many months ago: their tables stay in the database, out of the reports, until somebody attaches,
archives or drops them. Nothing is ever dropped by this DAG.

### The archive

Compares the files in `archive/` with the ledger. One that its sender wrote to after it was loaded goes back to the inbox with a warning,
and `invoice_ingest` loads it again.

### Old statements

Forgets what was kept so that a load can be undone, once it is older than `init --keep-statements` says (400 days by default). Loads that
are older cannot be undone any more. No total changes.

### Checkpoints

Keeps what the totals are, so that a question as known on any later moment adds up what has changed since, and not all loads. The first
time it goes through the whole ledger.
""",
)
def partition_maintenance() -> None:
    ensure_partitions = NodeCliOperator(
        task_id="ensure_partitions",
        arguments=["partitions", "ensure", "--json", "--ahead", PARTITIONS_AHEAD],
        doc_md="Makes the partitions from today on.",
    )
    NodeCliOperator(
        task_id="check_archive",
        arguments=["inbox", "check", "--json", *SOURCE_FLAGS],
        operands=[INBOX],
        execution_timeout=LONG_WORK,
        doc_md="Archived files that grew or changed since they were loaded go back to the inbox.",
    )
    NodeCliOperator(
        task_id="prune_statements",
        arguments=["prune", "--json"],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Forgets statements that are kept no longer. They are there for `rollbook undo` alone.",
    )
    NodeCliOperator(
        task_id="make_checkpoints",
        arguments=["checkpoint", "--json"],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Keeps what the totals are now, for questions as known on a moment from now on.",
    )
    if KEEP_MONTHS:
        detach_partitions = NodeCliOperator(
            task_id="detach_partitions",
            arguments=[
                "partitions",
                "detach",
                "--json",
                "--before",
                f"{{{{ months_ago({KEEP_MONTHS!r}) }}}}",
            ],
            pool=WAREHOUSE_POOL,
            execution_timeout=LONG_WORK,
            doc_md="Takes partitions that are kept no longer out of the live tables, without blocking readers.",
        )
        ensure_partitions >> detach_partitions


partition_maintenance()
