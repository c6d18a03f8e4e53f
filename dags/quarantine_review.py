"""Asks people what to do with rejected drops."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import AssetOrTimeSchedule, Context, CronTriggerTimetable, dag, task_group
from airflow.sdk.exceptions import AirflowSkipException

from assets import REJECTED_DROPS
from deployment import DAG_ARGS, FORMAT_FLAGS, INBOX, LONG_WORK, SOURCE_FLAGS, WAREHOUSE_POOL
from node_cli import JsonObject, NodeCliOperator, code, shorten

LOAD = "Load the good lines"
RETRY = "Try again"
KEEP = "Keep it out"
LATER = "Ask again tomorrow"
DECISIONS = {LOAD: "load", RETRY: "retry", KEEP: "keep"}

ASKED_AT_ONCE = 50
LINES_SHOWN = 10
SHOWN_OF_A_LINE = 160
SHOWN_OF_A_NAME = 200
"""Airflow keeps 250 characters of what names a task in the grid, and the task fails when there are more."""

# Values, not templates: what is in them is not rendered again.
DECIDED = "{{ task.answer.chosen_options[0] }}: {{ task.drop }}"

CHOICES = f"""
- **{LOAD}**: the lines that are right count, the others stay in quarantine.
- **{RETRY}**: back to the inbox, after the cause was mended.
- **{KEEP}**: it stays in `rejected/`, and nobody is asked again.
"""


WHY = {
    "too_many_rejects": "more of its lines are bad than `ROLLBOOK_MAX_REJECTS` allows",
    "suspicious_rejects": "its bad lines look like more than single ones (`ROLLBOOK_REFUSE_SUSPICIOUS`)",
    "no_sync_date": "its name holds no date, or several. Put it into the inbox under a name with its date",
    "sync_date_in_future": "the date in its name is still to come. Put it into the inbox under a name with the right one",
}
"""In the place of the command's message, which says what to type. All else is told as the command tells it."""


def to_review(drops: list[JsonObject]) -> list[JsonObject]:
    """What a person needs to decide, as texts."""
    return [
        {"path": drop["path"], "subject": f"Rejected: {name_of(drop)}", "body": explain(drop)}
        for drop in drops[:ASKED_AT_ONCE]
    ]


def to_show(open_rejects: list[JsonObject]) -> JsonObject:
    """Rejected lines of loaded drops that nobody has decided on, with the money at stake as far as it can be read."""
    return {
        "lines": sum(one["lines"] for one in open_rejects),
        "total": str(sum((Decimal(one["total"] or 0) for one in open_rejects), Decimal())),
        "open": [
            {name: one[name] for name in ("loadId", "fileName", "reason", "lines", "total", "remedy")}
            for one in open_rejects[:ASKED_AT_ONCE]
        ],
    }


def name_of(drop: JsonObject) -> str:
    return shorten(PurePath(drop["path"]).name, SHOWN_OF_A_NAME)


def explain(drop: JsonObject) -> str:
    """Markdown. What comes from the file stands in spans of code, so that nothing in it is taken for markup."""
    error = drop.get("error") or {"code": "unknown", "message": "no reason was kept"}
    rows = drop.get("rows") or {"read": 0, "rejected": 0}
    lines = drop.get("lines") or []
    facts = [
        f"**{error['code']}**: {WHY.get(error['code']) or code(error['message'])}",
        *([f"read by source {code(drop['source']['name'])}"] if drop.get("source") else []),
        f"{rows['read']} lines read, {rows['rejected']} of them rejected" + ("; the first:" if lines else ""),
        *(f"{one['count']} lines: {one['reason']}{tell_total(one)}" for one in drop.get("reasons") or []),
        *(
            f"line {one['line']}, {one['reason']}: {code((one.get('raw') or 'not UTF-8')[:SHOWN_OF_A_LINE])}"
            for one in lines[:LINES_SHOWN]
        ),
    ]
    return "\n".join([*(f"- {fact}" for fact in facts), "", CHOICES])


def tell_total(reason: JsonObject) -> str:
    """The money at stake, as far as it can be read."""
    return "" if reason["total"] is None else f", with a total of {reason['total']}"


class DecisionOperator(NodeCliOperator):
    """Carries out what a person decided about a drop in rejected/.

    `path` is a template field because only those get the arguments of a group of tasks. They are not rendered; but mapped directly, by
    `expand`, a name that looks like a template would be.
    """

    template_fields: Sequence[str] = (*NodeCliOperator.template_fields, "answer", "path")

    def __init__(self, *, answer: Any, path: Any, **kwargs: Any) -> None:
        super().__init__(arguments=[], **kwargs)
        self.answer = answer
        self.path = path

    @property
    def drop(self) -> str:
        """The drop's name, for people."""
        return name_of({"path": str(self.path)})

    def execute(self, context: Context) -> Any:
        chosen = self.answer["chosen_options"][0]
        if chosen not in DECISIONS:
            raise AirflowSkipException("nobody has decided yet; the drop stays where it is")
        self.arguments = [
            "inbox",
            "decide",
            "--json",
            "--as",
            DECISIONS[chosen],
            *FORMAT_FLAGS,
            *SOURCE_FLAGS,
        ]
        self.operands = [INBOX, self.path]
        return super().execute(context)


@dag(
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 6 * * *", timezone="UTC"), assets=[REJECTED_DROPS]
    ),
    **DAG_ARGS,
    tags=["rollbook", "review"],
    description=__doc__,
    doc_md="""
### What to do with rejected drops

Begins when a drop is rejected, and every morning while there are any that nobody has decided on. Each waits under *Required Actions*
for one of: load the good lines, try again, keep it out. After a day without an answer nothing is done, and the next run asks again.
It is a DAG of its own, so the ingest never waits for people.

`list_open_rejects` shows the rejected lines of *loaded* drops that nobody has decided on, with the money at stake: in its log, and as its
result. Decide with `rollbook rejects retry` or `rollbook rejects dismiss`.
""",
)
def quarantine_review() -> None:
    list_rejected = NodeCliOperator(
        task_id="list_rejected",
        arguments=["inbox", "rejected", "--json"],
        operands=[INBOX],
        connection_id=None,
        digest=to_review,
        skip_when_empty=True,
        doc_md="Drops in rejected/ that nobody has decided on.",
    )

    NodeCliOperator(
        task_id="list_open_rejects",
        arguments=["rejects", "--open", "--json"],
        digest=to_show,
        doc_md="Rejected lines of loaded drops that nobody has decided on, with the money at stake.",
    )

    @task_group
    def review(path: str, subject: str, body: str) -> None:
        ask = HITLOperator(
            task_id="ask",
            subject=subject,
            body=body,
            options=[LOAD, RETRY, KEEP, LATER],
            defaults=[LATER],
            response_timeout=timedelta(days=1),
            execution_timeout=None,
            map_index_template="{{ task.subject }}",
            doc_md="Waits for a person, without a worker.",
        )
        DecisionOperator(
            task_id="decide",
            answer=ask.output,
            path=path,
            map_index_template=DECIDED,
            pool=WAREHOUSE_POOL,
            execution_timeout=LONG_WORK,
            doc_md="Does what was decided.",
        )

    review.expand_kwargs(list_rejected.output)


quarantine_review()
