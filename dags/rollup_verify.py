"""Proves every day that the rollup is what a recompute from the invoices gives."""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, Param, dag
from airflow.sdk.exceptions import AirflowFailException

from deployment import DAG_ARGS, LONG_WORK, WAREHOUSE_POOL
from node_cli import JsonObject, NodeCliOperator, describe, shorten

NAMED = 20


class ProofOperator(NodeCliOperator):
    """Fails, without a retry, when something diverges: trying again proves nothing, and people must look."""

    def conclude(self, objects: list[JsonObject], complaint: str, exit_code: int) -> Any:
        summary = objects[-1] if objects and objects[-1].get("kind") == "summary" else {}
        if exit_code == 1 and summary.get("divergences"):
            named = [shorten(describe(one)) for one in objects if one.get("kind") != "summary"][:NAMED]
            raise AirflowFailException(
                f"{summary['divergences']} divergences. The files behind a group: rollbook explain-total; to mend: run this DAG "
                f"with `repair`, and for invoice ids under several keys with `take_out_older`. {'; '.join(named)}"
            )
        super().conclude(objects, complaint, exit_code)
        return summary


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
