"""Tells people about tasks that failed for good, through whatever service they chose.

A user sets it up by making the Airflow connection `rollbook_alerts` of type apprise, for example in .env:
`AIRFLOW_CONN_ROLLBOOK_ALERTS={"conn_type":"apprise","extra":{"config":[{"path":"mailto://..."}]}}`. Without it nothing is sent.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

if TYPE_CHECKING:
    from airflow.sdk import Context

ALERTS_CONNECTION: Final = "rollbook_alerts"

TITLE: Final = "Rollbook: {{ dag.dag_id }} failed at {{ ti.task_id }}"

# A template, not a text: what an exception says comes from file names, and must never be taken for a template itself.
BODY: Final = """\
{{ exception | default('The task was killed, or ran out of time.', true) }}

run: {{ run_id }}
task: {{ ti.task_id }}{% if ti.map_index >= 0 %}, number {{ ti.map_index }}{% endif %}, attempt {{ ti.try_number }}
log: {{ ti.log_url | default('see the run in Airflow', true) }}
"""

log = logging.getLogger(__name__)


def report_failure(context: Context) -> None:
    """Sends one message; called after the last retry. A message that cannot be sent is logged, and changes nothing else."""
    try:
        BaseHook.get_connection(ALERTS_CONNECTION)
    except AirflowNotFoundException:
        log.info("nobody is alerted: there is no connection %s", ALERTS_CONNECTION)
        return
    # Not at the top: every parse of every DAG would pay for the import.
    from airflow.providers.apprise.notifications.apprise import AppriseNotifier  # noqa: PLC0415
    from apprise import NotifyType  # noqa: PLC0415

    notifier = AppriseNotifier(
        apprise_conn_id=ALERTS_CONNECTION, title=TITLE, body=BODY, notify_type=NotifyType.FAILURE
    )
    try:
        notifier(context)
    except Exception:
        log.exception("the alert could not be sent")
