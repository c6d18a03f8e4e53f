"""An example of a DAG of yours: it runs once for each partition whose totals changed, with the partition's name as its key.

A correction of March 2019 runs it for 2019-03 alone. Copy it to where your DAGs are; it needs nothing of Rollbook's.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.sdk import Asset, PartitionedAssetTimetable, dag, task

TOTALS = Asset(name="partition_totals")

log = logging.getLogger(__name__)


@dag(
    schedule=PartitionedAssetTimetable(assets=TOTALS),
    catchup=False,
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=["example"],
    description="Reports the totals of each partition that changed.",
    doc_md="Runs once for each partition whose totals changed. `dag_run.partition_key` is its name, the asset event has its totals.",
)
def partition_report() -> None:
    @task(doc_md="Logs the partition's exact totals, and returns them.")
    def report(dag_run: Any = None, triggering_asset_events: Any = None) -> dict[str, Any]:
        partition = dag_run.partition_key
        # Several ingest runs may have changed it since the last run of this DAG: the newest event counts.
        newest = max(triggering_asset_events[TOTALS], key=lambda event: event.timestamp)
        totals: dict[str, Any] = newest.extra["partitions"][partition]
        log.info("%s: %s invoices, %s", partition, totals["invoices"], totals["total"])
        return {"partition": partition, **totals}

    report()


partition_report()
