"""What the DAGs tell each other, and any DAG of a user's own that is scheduled by it."""

from __future__ import annotations

from typing import Final

from airflow.sdk import Asset

TOTALS: Final = Asset(name="venue_daily_totals", group="rollbook")
"""New totals. An event's `extra`: `files`, `rows` (counts by outcome), `partitions` (name to invoices and total),
`quarantined` (loaded drops with rejected lines, each with `file`, `load_id`, `reasons` and `suspicious`)."""

PARTITION_TOTALS: Final = Asset(name="partition_totals", group="rollbook")
"""New totals of single partitions: an event for each, whose partition key is the partition's name, such as 2019-03. A DAG with
`schedule=PartitionedAssetTimetable(assets=...)` runs once for each key. `extra`: `partitions`, as above, of all that changed in the run."""

REJECTED_DROPS: Final = Asset(name="rejected_drops", group="rollbook")
"""Drops were rejected. An event's `extra`: `drops`, each with `file`, `error` and `reasons` (of rejected lines)."""
