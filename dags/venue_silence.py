"""Tells people every day which venues and sources stopped sending."""

from __future__ import annotations

from typing import Any

from airflow.sdk import CronTriggerTimetable, dag
from airflow.sdk.exceptions import AirflowFailException

from deployment import DAG_ARGS, FORGET_SILENT, SILENT_DAYS
from node_cli import JsonObject, NodeCliOperator, shorten

NAMED = 20


class SilenceOperator(NodeCliOperator):
    """Fails, without a retry, when something did not come: trying again brings nothing, and people must look."""

    def conclude(self, objects: list[JsonObject], complaint: str, exit_code: int) -> Any:
        if exit_code == 1 and objects and not complaint:
            more = f"; and {len(objects) - NAMED} more" if len(objects) > NAMED else ""
            # Dates first: where a whole file is missing, its venues are silent because of that.
            objects.sort(key=lambda one: one["kind"] != "missing_sync_date")
            named = "; ".join(shorten(tell(one)) for one in objects[:NAMED])
            raise AirflowFailException(f"All of it is in the log. {named}{more}")
        return super().conclude(objects, complaint, exit_code)


def tell(one: JsonObject) -> str:
    if one["kind"] == "missing_sync_date":
        source = "the drop format" if one["source"] is None else f"source {one['source']}"
        return f"no file of {one['syncedOn']} for {source}"
    seen = f", last seen on {one['lastSeenOn']}" if one["lastSeenOn"] != one["lastSyncedOn"] else ""
    return f"{one['venueId']} silent for {one['daysSilent']} days, since {one['lastSyncedOn']}{seen}"


@dag(
    schedule=CronTriggerTimetable("0 7 * * *", timezone="UTC"),
    **DAG_ARGS,
    tags=["rollbook", "review"],
    description=__doc__,
    doc_md="""
### Who stopped sending

Fails when a venue has been silent for longer than its own rhythm explains (`ROLLBOOK_SILENT_DAYS`: for so many days), or when a source that
else comes daily has no file of a date; the alert names the first 20, the log names all. What was told for `ROLLBOOK_FORGET_SILENT` days is not
told any more: the venue closed, or the file will never come.
""",
)
def venue_silence() -> None:
    SilenceOperator(
        task_id="find_silent",
        arguments=[
            "silent",
            "--json",
            "--fail",
            "--forget",
            FORGET_SILENT,
            *(["--days", SILENT_DAYS] if SILENT_DAYS else []),
        ],
        doc_md="Venues and sources that should have sent something, and did not.",
    )


venue_silence()
