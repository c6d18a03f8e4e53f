"""The task that proves totals."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from node_cli import JsonObject, NodeCliOperator, describe, shorten

NAMED = 20


class ProofOperator(NodeCliOperator):
    """Fails, without a retry, when something diverges: trying again proves nothing, and people must look."""

    def conclude(self, objects: list[JsonObject], complaint: str, exit_code: int) -> Any:
        summary = objects[-1] if objects and objects[-1].get("kind") == "summary" else {}
        if exit_code == 1 and summary.get("divergences"):
            named = [shorten(describe(one)) for one in objects if one.get("kind") != "summary"][:NAMED]
            raise AirflowFailException(
                f"{summary['divergences']} divergences. To mend: run this DAG with `repair`, and for invoice ids under several keys "
                f"with `take_out_older`. {'; '.join(named)}"
            )
        super().conclude(objects, complaint, exit_code)
        return summary
