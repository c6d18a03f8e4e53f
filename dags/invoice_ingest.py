"""Takes drops from the inbox into the warehouse, all the time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.sensors.filesystem import FileSensor
from airflow.sdk import AssetAlias, Metadata, TriggerRule, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from assets import PARTITION_TOTALS, REJECTED_DROPS, TOTALS
from deployment import (
    DAG_ARGS,
    FORMAT_FLAGS,
    INBOX,
    LONG_WORK,
    MAX_REJECTS,
    ONE_TASK_MB,
    REFUSE_SUSPICIOUS,
    SETTLE,
    SOURCE_FLAGS,
    SOURCES,
    WAREHOUSE_POOL,
)
from node_cli import JsonObject, NodeCliOperator
from take import NAMES_KEPT, TakeOperator, sum_up, totals_of

# An asset among the outlets has an event after each success; through an alias only when there is something to tell.
MAYBE_REJECTED = AssetAlias("rejected_drops_of_a_run")

LOADS_AT_ONCE = "2"
"""Of one task. A load is now the database's work and now the command's, so two keep two cores busy."""

REFRESHES_AT_ONCE = 4
CHANGES_WORTH_A_TASK = 250_000
"""Pending changes that take a refresh some seconds, as many as it costs to start a task for them."""

WAITS_FOR_DROP = timedelta(hours=6)
"""A run that waits for longer, where a worker waits, is skipped, and the next one waits."""


def to_load(batches: list[JsonObject]) -> list[JsonObject]:
    """One mapped task per batch of drops."""
    return [{"operands": batch["files"], "about": batch["label"]} for batch in batches]


def to_refresh(partitions: list[JsonObject]) -> list[JsonObject]:
    """Some mapped tasks, one where little is pending, each with partitions and their exact totals: what is pending counts."""
    changes = sum(one["pendingChanges"] for one in partitions)
    tasks = min(REFRESHES_AT_ONCE, len(partitions), 1 + changes // CHANGES_WORTH_A_TASK)
    return [{one["partition"]: totals_of(one) for one in partitions[first::tasks]} for first in range(tasks)]


def refresh_call(totals: dict[str, Any]) -> JsonObject:
    names = sorted(totals)
    about = names[0] if len(names) == 1 else f"{len(names)} partitions of {names[0]} to {names[-1]}"
    return {"arguments": ["refresh", "--json", "--partition", *names], "about": about}


@dag(
    schedule="@continuous",
    # Without one the first run's interval is empty, and Airflow takes the second run for the first: it never makes another.
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    **DAG_ARGS,
    tags=["rollbook", "ingest"],
    description=__doc__,
    doc_md="""
### From drops in the inbox to exact totals

Waits for CSV files in the inbox, loads them (each in one transaction), refreshes the rollup of the partitions they touched, and moves
them to `archive/` or `rejected/`. A run begins as soon as the one before it has ended.

`take_drops` does it all where little is to do, and the tasks from `list_ready_drops` to `archive_drops` are skipped. Where the files are more
than `ROLLBOOK_ONE_TASK_MB` together it leaves them to those tasks, which work side by side.

- **Green with rejected drops**: a bad file of a vendor is no failure of the job. It lies in `rejected/` with a `.reason.json` beside
  it; `quarantine_review` asks what to do with it.
- **Red**: a drop could not be loaded, refreshed or moved although it was tried again for some minutes: the database is away, a disk is
  full, a folder cannot be written. Nothing is lost: the files are in the inbox, and the next run takes them up.
- Loading twice changes nothing, so any task may be cleared and run again.
""",
)
def invoice_ingest() -> None:
    wait_for_drop = make_wait_for_drop()
    load_flags = [
        *SOURCE_FLAGS,
        "--max-rejects",
        MAX_REJECTS,
        *(["--refuse-suspicious"] if REFUSE_SUSPICIOUS else []),
        *FORMAT_FLAGS,
    ]
    take_drops = TakeOperator.partial(
        task_id="take_drops",
        arguments=[
            *("inbox", "take", "--json", "--settle", str(SETTLE), "--wait", "600"),
            *("--up-to", ONE_TASK_MB, "--at-once", LOADS_AT_ONCE),
            *load_flags,
            # What an earlier try took has left the inbox, and would be told by nobody.
            "{{ '--since=' ~ dag_run.start_date.isoformat() if ti.try_number > 1 else '' }}",
        ],
        operands=[INBOX],
        instead="list_ready_drops",
        insist=True,
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        map_index_template="{{ task.about }}",
        doc_md="Loads, refreshes and moves what is ready, oldest sync date first, where that is little.",
        # Mapped, though only once, because the grid names mapped tasks alone.
    ).expand(about=["what is ready"])
    list_ready_drops = NodeCliOperator(
        task_id="list_ready_drops",
        arguments=["inbox", "list", "--json", *SOURCE_FLAGS, "--settle", str(SETTLE), "--wait", "600"],
        operands=[INBOX],
        connection_id=None,
        digest=to_load,
        skip_when_empty=True,
        insist=True,
        execution_timeout=timedelta(minutes=15, seconds=SETTLE),
        doc_md="Where much is ready: drops that nobody writes any more, oldest sync date first, in at most 8 batches.",
    )
    load_drops = NodeCliOperator.partial(
        task_id="load_drops",
        arguments=[
            "load",
            "--json",
            "--no-refresh",
            "--ignore-missing",
            # Whoever may write to the inbox could put a link in a drop's place after it was listed.
            "--no-follow",
            # The globs of sources are on the path below it.
            "--inbox",
            INBOX,
            *load_flags,
        ],
        digest=sum_up,
        insist=True,
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        map_index_template="{{ task.about }}",
        doc_md="Loads a batch of drops, each in one transaction.",
    ).expand_kwargs(list_ready_drops.output)
    pending_partitions = NodeCliOperator(
        task_id="pending_partitions",
        arguments=["partitions", "list", "--json", "--pending"],
        digest=to_refresh,
        insist=True,
        # Also after a load that failed: the others of its batch are in, and an earlier run may have been cut off here.
        trigger_rule=TriggerRule.NONE_SKIPPED,
        doc_md="What the warehouse says is pending, whoever loaded it.",
    )
    refresh_partitions = NodeCliOperator.partial(
        task_id="refresh_partitions",
        insist=True,
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        map_index_template="{{ task.about }}",
        doc_md="Brings the rollup of a few partitions up to date; only the groups that changed are written.",
    ).expand_kwargs(pending_partitions.output.map(refresh_call))
    archive_drops = NodeCliOperator.partial(
        task_id="archive_drops",
        arguments=["inbox", "archive", "--json", *SOURCE_FLAGS, INBOX],
        insist=True,
        # The commit marker: what the ledger knows leaves the inbox, also where another drop failed.
        trigger_rule=TriggerRule.ALL_DONE,
        execution_timeout=LONG_WORK,
        map_index_template="{{ task.about }}",
        doc_md="Moves drops that the ledger knows to archive/ or rejected/.",
    ).expand_kwargs(list_ready_drops.output)

    @task(
        outlets=[TOTALS, PARTITION_TOTALS, MAYBE_REJECTED],
        trigger_rule=TriggerRule.NONE_FAILED,
        doc_md="Tells what is new, as asset events. Fails when a load, a refresh or a move failed, and the run with it.",
    )
    def publish(takes: Any, loads: Any, pending: Any) -> Any:
        taken = [takes[index] for index in range(len(takes))] if takes else []
        batches = [one["drops"] for one in taken if one["drops"]]
        batches += [loads[index] for index in range(len(loads))] if loads else []
        if not batches:
            raise AirflowSkipException("no drops in this run")
        touched = {name for batch in batches for name in batch["partitions"]}
        totals = {name: total for one in taken for name, total in one["partitions"].items()}
        totals |= {name: total for some in pending or [] for name, total in some.items()}
        rejected = [one for batch in batches for one in batch["rejected"]][:NAMES_KEPT]
        if rejected:
            yield Metadata(REJECTED_DROPS, extra={"drops": rejected}, alias=MAYBE_REJECTED)
        partitions = {name: totals.get(name) for name in sorted(touched | totals.keys())}
        context = get_current_context()
        if partitions:
            yield Metadata(PARTITION_TOTALS, extra={"partitions": partitions})
            context["outlet_events"][PARTITION_TOTALS].add_partitions(list(partitions))
        else:
            # Each outlet gets an event, and one without a key would be nobody's.
            context["task"].outlets = [one for one in context["task"].outlets if one != PARTITION_TOTALS]
        yield Metadata(
            TOTALS,
            extra={
                "files": add_up(batch["files"] for batch in batches),
                "rows": add_up(batch["rows"] for batch in batches),
                "quarantined": [one for batch in batches for one in batch["quarantined"]][:NAMES_KEPT],
                "partitions": partitions,
            },
        )

    wait_for_drop >> take_drops >> list_ready_drops
    load_drops >> pending_partitions >> refresh_partitions >> archive_drops
    published = publish(take_drops.output, load_drops.output, pending_partitions.output)
    [load_drops, refresh_partitions, archive_drops] >> published


def make_wait_for_drop() -> FileSensor | NodeCliOperator:
    if not SOURCES:
        return FileSensor(
            task_id="wait_for_drop",
            # .csv and .csv.gz in any case, in the one pattern that it takes; not what is left of uploads, such as x.csv.part.
            filepath=f"{INBOX}/*.[cC][sS]*[vVzZ]",
            deferrable=True,
            poke_interval=1,
            timeout=timedelta(days=1).total_seconds(),
            soft_fail=True,
            execution_timeout=None,
            doc_md="Waits in the triggerer, without a worker, until a CSV file lies in the inbox.",
        )
    # Which files are drops, of any ending and in any folder, only the sources say, and no pattern for a sensor does.
    seconds = int(WAITS_FOR_DROP.total_seconds())
    return NodeCliOperator(
        task_id="wait_for_drop",
        arguments=[
            *("inbox", "list", "--json", *SOURCE_FLAGS, "--settle", str(SETTLE)),
            *("--wait", str(seconds), "--limit", "1"),
        ],
        operands=[INBOX],
        connection_id=None,
        digest=len,
        skip_when_empty=True,
        insist=True,
        execution_timeout=WAITS_FOR_DROP + timedelta(minutes=15, seconds=SETTLE),
        doc_md="Waits in a worker until a file lies in the inbox that a source reads, or a CSV file.",
    )


def add_up(counts: Iterable[dict[str, int]]) -> JsonObject:
    total: JsonObject = {}
    for one in counts:
        for name, value in one.items():
            total[name] = total.get(name, 0) + value
    return total


invoice_ingest()
