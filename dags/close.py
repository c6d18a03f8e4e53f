"""Closes the last month, once its totals are proved."""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag
from airflow.sdk.exceptions import AirflowSkipException

from deployment import CLOSE_SCHEDULE, DAG_ARGS, LONG_WORK, STEWARD_CONNECTION, WAREHOUSE_POOL
from node_cli import JsonObject, NodeCliOperator
from proof import ProofOperator


class CloseOperator(NodeCliOperator):
    """Is skipped where the period is closed already."""

    def conclude(self, objects: list[JsonObject], complaint: str, exit_code: int) -> Any:
        closings = super().conclude(objects, complaint, exit_code)
        for closing in closings:
            if closing["outcome"] == "already_closed":
                raise AirflowSkipException(
                    f"{closing['period']} is closed already (closing {closing['closing']})"
                )
        return closings[0]


@dag(
    schedule=CronTriggerTimetable(CLOSE_SCHEDULE, timezone="UTC"),
    # A closing stays for good, so nobody gets one without asking for it.
    **{**DAG_ARGS, "is_paused_upon_creation": True},
    tags=["rollbook", "proof"],
    params={
        "period": Param(
            None,
            type=["null", "string"],
            description="What to close, for example 2026-10 or 2026-Q3. Empty: the last month.",
        ),
    },
    description=__doc__,
    doc_md="""
### Close the last month

`rollbook close`: certifies what the month before today's is, where the warehouse is, by a digest of all its groups. Before that
`rollbook verify` proves the totals, and if anything diverges, nothing is closed. A month that is closed already is left alone, and `close` is
skipped. Paused until somebody switches it on; `ROLLBOOK_CLOSE_SCHEDULE` says when it runs (the third of a month, 04:00 UTC).

The result of `close` is the closing, with its digest. Keep the certificate where nobody can change it: `rollbook closings show N --format json`.
""",
)
def close() -> None:
    verify = ProofOperator(
        task_id="verify",
        arguments=["verify", "--json"],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Compares every group with a recompute.",
    )
    close_period = CloseOperator(
        task_id="close",
        arguments=["close", "--json", "--once", "{{ params.period or '--last-month' }}"],
        connection_id=STEWARD_CONNECTION,
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Enters the period in the closings.",
    )
    verify >> close_period


close()
