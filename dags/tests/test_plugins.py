"""Airflow's pages have a link to the console, where it is said where that is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

PLUGINS = Path(__file__).resolve().parents[1] / "plugins"

LIST_PLUGINS = """
import json
from airflow import plugins_manager
from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse
found = [one for one in plugins_manager.get_plugin_info() if one["name"] == "rollbook_console"]
for one in found:
    # Else the pages would leave it out.
    [ExternalViewResponse.model_validate(view) for view in one["external_views"]]
print(json.dumps([one["external_views"] for one in found]))
"""


def views(python: str, **environment: str) -> list[list[dict[str, Any]]]:
    """What Airflow itself finds, in a process of its own: it looks for plugins once."""
    done = subprocess.run(
        [python, "-c", LIST_PLUGINS],
        env={**os.environ, "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: list[list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_navigation_has_a_link_to_the_console(python: str) -> None:
    link = {"name": "Rollbook console", "href": "https://console.example/", "destination": "nav"}
    assert views(python, ROLLBOOK_CONSOLE_URL="https://console.example/") == [[link]]


@pytest.mark.parametrize("environment", [{}, {"ROLLBOOK_CONSOLE_URL": ""}])
def test_without_an_address_there_is_none(python: str, environment: dict[str, str]) -> None:
    assert views(python, **environment) == [[]]
