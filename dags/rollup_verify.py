"""Proves every day that the rollup is what the invoices give: what was not proved for longest, or everything."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, Param, dag

from deployment import DAG_ARGS, LONG_WORK, PROOF_SECONDS, WAREHOUSE_POOL
from proof import ProofOperator

WHOLE = "params.full or params.partition or params.identity or params.repair or params.take_out_older"
"""What a slice cannot do."""

SLICE = f"{{{{ '' if {WHOLE} else '--slice={PROOF_SECONDS}' }}}}" if PROOF_SECONDS else ""


@dag(
    schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC"),
    **DAG_ARGS,
    tags=["rollbook", "proof"],
    params={
        "full": Param(
            False, type="boolean", description="Everything, and not only what was not proved for longest."
        ),
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
    description=__doc__,
    doc_md="""
### rollup + pending = recompute = sum of the deltas

Recomputes groups (venue and day) from the invoices and compares. Fails at once when anything diverges, and names the first groups;
the log names all.

Begins with the partitions that were not proved for longest, and goes on for `ROLLBOOK_PROOF_SECONDS` (1800). Ledger and checkpoints have
their turn, too. So day by day everything is proved, and a large warehouse takes several days for a round: `rollbook status` and
`reports.proofs` say when each partition was proved last. With `full` everything is proved at once, which takes the time of one scan of
the invoices; so it is with the other parameters.
""",
)
def rollup_verify() -> None:
    ProofOperator(
        task_id="verify",
        arguments=[
            "verify",
            "--json",
            SLICE,
            "{{ '--partition=' ~ params.partition if params.partition else '' }}",
            "{{ '--identity' if params.identity else '' }}",
            "{{ '--repair=newest' if params.take_out_older else '--repair' if params.repair else '' }}",
        ],
        pool=WAREHOUSE_POOL,
        execution_timeout=LONG_WORK,
        doc_md="Compares groups with a recompute, those first that were not proved for longest.",
    )


rollup_verify()
