"""One round of the inbox in one task, where little is to do."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException, DownstreamTasksSkipped

from node_cli import JsonObject, NodeCliOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

NAMES_KEPT = 20

COUNTS = (
    "read",
    "inserted",
    "corrected",
    "unchanged",
    "superseded",
    "rejected",
    "summed",
    "voided",
    "skipped",
    "absent",
)


class TakeOperator(NodeCliOperator):
    """Runs `rollbook inbox take`. Where that did it all, the tasks that do the same in parts are skipped.

    :param instead: of the first of those tasks, the id
    """

    def __init__(self, *, instead: str, **kwargs: Any) -> None:
        super().__init__(digest=digest_take, **kwargs)
        self.instead = instead

    def execute(self, context: Context) -> Any:
        result = super().execute(context)
        if result["left"] > 0:
            self.about = f"left to others: {result['left']} batches"
            return result
        if result["drops"] is None:
            raise AirflowSkipException("no drop is ready")
        # Its name in the grid.
        self.about = result["label"]
        context["ti"].xcom_push(key="return_value", value=result)
        raise DownstreamTasksSkipped(tasks=[self.instead])  # type: ignore[no-untyped-call]


def digest_take(objects: list[JsonObject]) -> JsonObject:
    """What a round brought, small enough to keep for every run."""
    kinds: dict[str, list[JsonObject]] = {
        kind: [] for kind in ("ready", "batch", "load", "partition", "move")
    }
    for one in objects:
        kinds[one["kind"]].append(one)
    return {
        "label": "".join(one["label"] for one in kinds["ready"]) or "what an earlier try took",
        "left": len(kinds["batch"]),
        "drops": sum_up(kinds["load"]) if kinds["load"] else None,
        "partitions": {one["partition"]: totals_of(one) for one in kinds["partition"]},
    }


def sum_up(reports: list[JsonObject]) -> JsonObject:
    """What some drops brought, small enough to keep for every run."""
    rejected = [one for one in reports if one["outcome"] == "rejected"]
    return {
        "files": {outcome: count(reports, outcome) for outcome in ("loaded", "already_loaded", "rejected")},
        "rows": {
            # A count that a report leaves out is 0.
            name: sum(one["rows"].get(name, 0) for one in reports)
            for name in COUNTS
        },
        "partitions": sorted({name for one in reports for name in one["partitions"]}),
        "rejected": [
            {"file": one["file"], **source_of(one), "error": one["error"], "reasons": one["reasons"]}
            for one in rejected[:NAMES_KEPT]
        ],
        "quarantined": [
            {
                "file": one["file"],
                "load_id": one["loadId"],
                **source_of(one),
                "reasons": one["reasons"],
                "suspicious": one["suspicious"],
            }
            for one in reports
            if one["outcome"] == "loaded" and one["reasons"]
        ][:NAMES_KEPT],
    }


def source_of(report: JsonObject) -> JsonObject:
    """Which source read the drop, by name; nothing where none did."""
    source = report.get("source")
    return {} if source is None else {"source": source["name"]}


def count(reports: Iterable[JsonObject], outcome: str) -> int:
    return sum(one["outcome"] == outcome for one in reports)


def totals_of(partition: JsonObject) -> JsonObject:
    """The exact totals of a partition: what is pending counts."""
    return {
        "invoices": partition["rollupInvoices"] + partition["pendingInvoices"],
        "total": str(Decimal(partition["rollupTotal"]) + Decimal(partition["pendingTotal"])),
    }
