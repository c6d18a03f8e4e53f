"""Lineage of what a task did, for Airflow's OpenLineage provider.

The provider need not be installed. Where it is, and is on, the command writes its own events to a file, and the task's event is made of
them. Elsewhere the command sends them itself, if it is told where to: never both.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Final

from airflow.sdk.exceptions import AirflowConfigException, AirflowException

JsonObject = dict[str, Any]

SETTINGS: Final = tuple(
    f"ROLLBOOK_OPENLINEAGE_{name}" for name in ("URL", "API_KEY", "ENDPOINT", "NAMESPACE")
)
"""By which the command sends events itself: docs/monitoring.md."""

KEPT_EVENTS: Final = 20_000
"""More events of one task are not read."""


def is_told_by_airflow() -> bool:
    """Whether the provider is there, and knows where to send to."""
    try:
        return not import_module("airflow.providers.openlineage.conf").is_disabled()
    except (ImportError, ValueError, AirflowConfigException, AirflowException):
        # Not installed, or set up in a way that it does not understand: then it tells of nothing.
        return False


@contextmanager
def followed(runs: list[JsonObject]) -> Iterator[dict[str, str]]:
    """The variables that say where the command tells of its runs. Where Airflow tells of them, they are in `runs` afterwards."""
    if not is_told_by_airflow():
        yield {name: os.environ[name] for name in SETTINGS if os.environ.get(name)}
        return
    with tempfile.TemporaryDirectory(prefix="rollbook-", ignore_cleanup_errors=True) as folder:
        events = Path(folder) / "events.jsonl"
        try:
            yield {"ROLLBOOK_OPENLINEAGE_URL": events.as_uri()}
        finally:
            runs[:] = read_runs(events)


def read_runs(events: Path) -> list[JsonObject]:
    """The event of each run by which it ended. The file need not be there, nor whole: the command may have been killed."""
    if not events.exists():
        return []
    with events.open(encoding="utf-8") as lines:
        read = [json.loads(line) for line in islice(lines, KEPT_EVENTS) if line.endswith("\n")]
    return [one for one in read if one["eventType"] != "START"]


def lineage_of(runs: Iterable[JsonObject]) -> Any:
    """What the provider puts into the event of a task, as it wants it."""
    extractors = import_module("airflow.providers.openlineage.extractors")
    events = import_module("openlineage.client.event_v2")
    inputs, outputs = datasets_of(runs)
    return extractors.OperatorLineage(
        inputs=[events.InputDataset(**one) for one in inputs],
        outputs=[events.OutputDataset(**one) for one in outputs],
    )


def datasets_of(runs: Iterable[JsonObject]) -> tuple[list[JsonObject], list[JsonObject]]:
    """What all runs together read and wrote: what one wrote and a later one read, the task has not read."""
    runs = list(runs)
    outputs = merge(one for run in runs for one in run["outputs"])
    inputs = merge(one for run in runs for one in run["inputs"])
    return [one for key, one in inputs.items() if key not in outputs], list(outputs.values())


def merge(datasets: Iterable[JsonObject]) -> dict[tuple[str, str], JsonObject]:
    merged: dict[tuple[str, str], JsonObject] = {}
    for one in datasets:
        key = (one["namespace"], one["name"])
        merged[key] = add_rows(merged[key], one) if key in merged else one
    return merged


def add_rows(one: JsonObject, other: JsonObject) -> JsonObject:
    """The same dataset with the rows of both; where those of one are not known, neither are those of both."""
    facets = [each.get("outputFacets", {}).get("outputStatistics") for each in (one, other)]
    rest = {name: value for name, value in other.items() if name != "outputFacets"}
    if None in facets:
        return rest
    rows = sum(each["rowCount"] for each in facets)
    return {**rest, "outputFacets": {"outputStatistics": {**facets[0], "rowCount": rows}}}
