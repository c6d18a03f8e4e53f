"""A link to the console in the navigation of Airflow's pages. Only the API server needs it, so only that has this folder for its plugins."""

from __future__ import annotations

import os

from airflow.plugins_manager import AirflowPlugin


def views_of(url: str) -> list[dict[str, str]]:
    """Without a route of Airflow's it opens in a tab of its own: no page may show the console in a frame."""
    return [{"name": "Rollbook console", "href": url, "destination": "nav"}] if url else []


class ConsoleLink(AirflowPlugin):
    """`ROLLBOOK_CONSOLE_URL` says where a browser finds the console. Empty: there is no link."""

    name = "rollbook_console"
    external_views = views_of(os.environ.get("ROLLBOOK_CONSOLE_URL", ""))
