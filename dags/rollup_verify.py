"""Proves every day that the rollup is what a recompute from the invoices gives."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, Param, dag

from deployment import DAG_ARGS, LONG_WORK, WAREHOUSE_POOL
from proof import ProofOperator


@dag(
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC"),
    **DAG_ARGS,
    tags=["rollbook", "proof"],
    params={
        "partition": Param(
            None, type=["null", "string"], description="Only this partition, for example 2026-10."
        ),
        "identity": Param(
            False, type="boolean", description="Look also for invoice ids that stand under several keys."
        ),
        "repair": Param(False, type="boolean", description="Mend what diverges, then verify again."),
        "take_out_older": Param(
            False,
            type="boolean",
            description="With `identity`: mend, and of each invoice under several keys take out all but the newest statement.",
        ),
    },
    doc_md="""
### rollup + pending = recompute = sum of the deltas

Recomputes every group (venue and day) from the invoices and compares. Fails at once when anything diverges, and names the first groups;
the log names all. Takes the time of one scan of the invoices.
""",
)
def rollup_verify() -> None:
    ProofOperator(
        task_id="verify",
        arguments=[
            "verify",
            "--json",
            "{{ '--partition=' ~ params.partition if params.partition else '' }}",
            "{{ '--identity' if params.identity else '' }}",
            "{{ '--repair=newest' if params.take_out_older else '--repair' if params.repair else '' }}",
        ],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Compares every group with a recompute.",
    )


rollup_verify()
