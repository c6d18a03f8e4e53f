"""Takes a load back, once a person has seen what that changes."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import Param, XComArg, dag

from deployment import DAG_ARGS, LONG_WORK, STEWARD_CONNECTION, WAREHOUSE_POOL
from node_cli import JsonObject, NodeCliOperator, code

OUTCOMES = {
    "removed": "go: nothing else is known of them",
    "corrected": "change to what another load says",
    "inserted": "come back",
    "unchanged": "stay: another load says the same of them",
}
"""What would become of invoices, by the names of the counts."""


def to_ask(reports: list[JsonObject]) -> JsonObject:
    """What a person needs to decide, as Markdown beside what the command says."""
    (report,) = reports
    changes = [
        f"{report['rows'][name]} invoices {what}" for name, what in OUTCOMES.items() if report["rows"][name]
    ]
    facts = [
        f"{report['undone']} {report['undoOf']}: {code(report['fileName'])}",
        *(changes or ["no invoice changes"]),
        f"all totals change by {report['invoices']} invoices and {report['total']} euros, in {report['groups']} groups",
        f"partitions: {', '.join(report['partitions']) or 'none'}",
        *(
            f"**{code(one['period'])} is closed, and would be restated**: {one['groups']} groups, {one['invoices']} invoices, "
            f"{one['total']} euros"
            for one in report.get("restated", [])
        ),
    ]
    return {**report, "body": "\n".join(f"- {fact}" for fact in facts)}


def to_refresh(reports: list[JsonObject]) -> list[JsonObject]:
    """Each partition is a task of its own: it is named in the grid, and tried again alone."""
    return [{"about": partition} for partition in reports[0]["partitions"]]


@dag(
    schedule=None,
    **DAG_ARGS,
    tags=["rollbook", "maintenance"],
    params={
        "load": Param(
            type="integer",
            minimum=1,
            title="Load",
            description="Its number, as the log of invoice_ingest and the asset event have it. Or that of an undo, which is taken back then.",
        ),
        "reason": Param(
            type="string",
            pattern=r"\S",
            maxLength=1000,
            title="Reason",
            description="Why. The ledger keeps it, with the name of who approved.",
        ),
    },
    description=__doc__,
    doc_md="""
### Take a load back

`rollbook undo`: all totals become what they would be if the file had never been loaded. The dry run says what would change. A person sees that
under *Required Actions*, and approves or rejects. Only after an approval the load is undone, and the partitions that it touched are refreshed.
Rejected, or not answered within a day: nothing has changed, and `undo` is skipped.

The undo is in the ledger with the reason, and the name of who approved. It can be taken back: run this DAG with its number.
""",
)
def take_back() -> None:
    dry_run = NodeCliOperator(
        task_id="dry_run",
        arguments=["undo", "--json", "--dry-run", "{{ params.load }}"],
        digest=to_ask,
        multiple_outputs=True,
        connection_id=STEWARD_CONNECTION,
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="What would change. Changes nothing.",
    )
    approve = ApprovalOperator(
        task_id="approve",
        subject="Take back load {{ params.load }}?",
        # A value, not a template: what is in it is not rendered again.
        body=XComArg(dry_run, "body"),
        defaults=ApprovalOperator.REJECT,
        response_timeout=timedelta(days=1),
        execution_timeout=None,
        doc_md="Waits for a person, without a worker.",
    )
    undo = NodeCliOperator(
        task_id="undo",
        arguments=[
            "undo",
            "--json",
            "--no-refresh",
            "--because={{ params.reason }} (approved by {{ ti.xcom_pull(task_ids='approve')['responded_by_user']['name'] }})",
            "{{ params.load }}",
        ],
        digest=to_refresh,
        connection_id=STEWARD_CONNECTION,
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Takes the load back, in one transaction.",
    )
    refresh = NodeCliOperator.partial(
        task_id="refresh",
        arguments=["refresh", "--json", "--partition={{ task.about }}"],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        map_index_template="{{ task.about }}",
        doc_md="Refreshes one partition.",
    ).expand_kwargs(undo.output)
    approve >> undo >> refresh


take_back()
