"""Runs the `rollbook` command as an Airflow task.

The command is started without a shell, in a process group of its own, with a small environment made here: the warehouse's connection and
what Node needs, and nothing of Airflow's own secrets. Its exit codes decide: 0 done, 3 a drop was rejected (both succeed), 2 a retry
cannot help, anything else is tried again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, Final

from airflow.sdk import BaseHook, BaseOperator
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowSkipException,
)

from deployment import CHECKOUT, COMMAND, INBOX, STEWARD_CONNECTION, WAREHOUSE_CONNECTION
from lineage import followed, lineage_of

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

JsonObject = dict[str, Any]
"""One line of what `rollbook <verb> --json` prints. Its shape: docs/command-line.md, "Output for programs"."""

INHERITED: Final = ("PATH", "HOME", "TMPDIR", "TZ", "NODE_OPTIONS", "NODE_EXTRA_CA_CERTS")

ENDS_WITHIN_SECONDS: Final = 10
"""After SIGTERM the command rolls back and ends within 5 seconds; one that does not is killed, and PostgreSQL rolls back."""

KEPT_OBJECTS: Final = 10_000
"""More lines of output are logged but not kept; only the last one is. A proof that goes very wrong must not fill the memory."""

LOGGED_CHARACTERS: Final = 2_000


class NodeCliOperator(BaseOperator):
    """Runs `rollbook ARGUMENTS -- OPERANDS` and returns what its JSON lines say.

    :param arguments: verb and flags (templated; one that renders to nothing is left out)
    :param operands: file names and the like, passed on as they are, also where they look like flags or templates
    :param about: names this piece of work in the grid, with `map_index_template="{{ task.about }}"`
    :param digest: makes the task's result of the objects that the command printed; left out, the result is all of them. An empty
        result skips the task where `skip_when_empty` is set
    :param connection_id: Airflow connection of the warehouse; None for verbs that need none
    :param insist: tries again also where a retry cannot help. For a DAG whose next run comes at once and would meet the same error:
        the retries keep it calm
    """

    # Not the operands: Airflow would render a file name that looks like a template, and look for another file.
    template_fields: Sequence[str] = ("arguments",)
    ui_color = "#e8f4ea"

    def __init__(
        self,
        *,
        arguments: Sequence[str],
        operands: Sequence[str] = (),
        about: str = "",
        digest: Callable[[list[JsonObject]], Any] | None = None,
        skip_when_empty: bool = False,
        connection_id: str | None = WAREHOUSE_CONNECTION,
        insist: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.arguments = arguments
        self.operands = operands
        self.about = about
        self.digest = digest
        self.skip_when_empty = skip_when_empty
        self.connection_id = connection_id
        self.insist = insist
        self._process: subprocess.Popen[bytes] | None = None
        self._runs: list[JsonObject] = []

    def execute(self, context: Context) -> Any:
        try:
            result = self.conclude(*self._run())
        except AirflowFailException as error:
            if self.insist:
                raise AirflowException(str(error)) from error
            raise
        if self.skip_when_empty and not result:
            raise AirflowSkipException("nothing to do")
        return result

    def conclude(self, objects: list[JsonObject], complaint: str, exit_code: int) -> Any:
        """The task's result, or the exception that says whether a retry can help."""
        if exit_code in (0, 3):
            return objects if self.digest is None else self.digest(objects)
        verb = " ".join(self.arguments[:2])
        failed = [one for one in objects if one.get("outcome") == "failed"]
        if failed:
            said = failed[0].get("error", {}).get("message", "")
            complaint = f"{len(failed)} of {len(objects)} failed, the first: {said}"
        # It is logged, shown and sent as an alert, and holds names of files.
        message = shorten(f"rollbook {verb}: {in_inbox(complaint) or 'see the log'} (exit code {exit_code})")
        raise AirflowFailException(message) if exit_code == 2 else AirflowException(message)

    def get_openlineage_facets_on_complete(self, _task_instance: Any) -> Any:
        """For Airflow's OpenLineage provider, which asks for it also after a failure."""
        return lineage_of(self._runs)

    def on_kill(self) -> None:
        """Ends the command, which rolls back what it has not committed."""
        if self._process is not None:
            end_group(self._process)

    def _run(self) -> tuple[list[JsonObject], str, int]:
        node = shutil.which("node")
        if node is None:
            raise AirflowFailException(
                "there is no `node` on the PATH of the Airflow worker. Install Node 20.19 or newer."
            )
        if not COMMAND.exists():
            raise AirflowFailException(f"there is no {COMMAND}. Run: npm ci, in {CHECKOUT}")
        arguments = [one for one in self.arguments if one]
        operands = ["--", *self.operands] if self.operands else []
        command = [node, str(COMMAND), *arguments, *operands]
        more = f" and {len(self.operands)} names" if operands else ""
        self.log.info("rollbook %s%s", " ".join(arguments), more)
        with followed(self._runs) as variables:
            return self._talk(command, {**self._environment(), **variables})

    def _talk(self, command: list[str], environment: dict[str, str]) -> tuple[list[JsonObject], str, int]:
        self._process = process = subprocess.Popen(
            command,
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        complaint: list[str] = []
        # Both streams at once: a command whose stderr nobody reads stops when the pipe is full.
        listener = threading.Thread(target=self._log_messages, args=(process.stderr, complaint), daemon=True)
        listener.start()
        try:
            objects = self._collect(process.stdout)
            exit_code = process.wait()
        finally:
            end_group(process)
            listener.join(timeout=ENDS_WITHIN_SECONDS)
        return objects, " ".join(complaint), exit_code

    def _environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        # The command ends itself when this process is killed, so that a retry does not find it still at work.
        own = {"LANG": "C.UTF-8", "NO_COLOR": "1", "ROLLBOOK_EXIT_WITH_PARENT": "1"}
        if self.connection_id is None:
            return {**inherited, **own}
        return {**inherited, **own, **libpq_variables(find_connection(self.connection_id))}

    def _collect(self, stdout: IO[bytes]) -> list[JsonObject]:
        objects: list[JsonObject] = []
        for raw in stdout:
            try:
                found = json.loads(raw)
            except ValueError:
                self.log.warning("no JSON on stdout: %s", shorten(raw.decode(errors="replace").rstrip()))
                continue
            level = {"failed": logging.ERROR, "rejected": logging.WARNING}.get(
                found.get("outcome"), logging.INFO
            )
            self.log.log(level, "%s", shorten(in_inbox(describe(found))))
            if len(objects) >= KEPT_OBJECTS:
                objects.pop()
            objects.append(found)
        return objects

    def _log_messages(self, stderr: IO[bytes], complaint: list[str]) -> None:
        for raw in stderr:
            line = in_inbox(raw.decode(errors="replace").rstrip())
            if line.startswith("rollbook: "):
                complaint.append(line.removeprefix("rollbook: "))
                self.log.error("%s", shorten(line))
            elif line.startswith("warning: "):
                self.log.warning("%s", shorten(line))
            elif line:
                self.log.info("%s", shorten(line))


def find_connection(connection_id: str) -> Connection:
    try:
        return BaseHook.get_connection(connection_id)
    except AirflowNotFoundException as error:
        if connection_id == STEWARD_CONNECTION:
            return find_connection(WAREHOUSE_CONNECTION)
        raise AirflowFailException(
            f"there is no Airflow connection {connection_id}. Define it: type postgres, with host, port, schema "
            f"(the database), login and password; or set AIRFLOW_CONN_{connection_id.upper()}."
        ) from error


def libpq_variables(connection: Connection) -> dict[str, str]:
    """The connection as the variables that libpq knows. Never as a URI: the password in one is not masked in logs."""
    if not connection.host:
        raise AirflowFailException(f"the Airflow connection {connection.conn_id} names no host")
    extra = connection.extra_dejson
    variables = {
        "PGHOST": connection.host,
        "PGPORT": connection.port,
        "PGUSER": connection.login,
        "PGPASSWORD": connection.password,
        "PGDATABASE": connection.schema,
        "PGSSLMODE": extra.get("sslmode"),
        "PGSSLROOTCERT": extra.get("sslrootcert"),
        "PGSSLCERT": extra.get("sslcert"),
        "PGSSLKEY": extra.get("sslkey"),
        "PGSSLNEGOTIATION": extra.get("sslnegotiation"),
        "PGSSLMINPROTOCOLVERSION": extra.get("ssl_min_protocol_version"),
    }
    return {name: str(value) for name, value in variables.items() if value not in (None, "")}


def end_group(process: subprocess.Popen[bytes]) -> None:
    """Ends the command and whatever it started, in order if it can."""
    if process.poll() is not None:
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=ENDS_WITHIN_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


TOLD_FIRST: Final = ("kind", "outcome", "error")
"""What became of a thing comes before its name, which may be longer than the page is wide."""


def describe(found: JsonObject) -> str:
    """A JSON object as a line for people: what is empty or zero says nothing, and is left out."""
    first: JsonObject = {name: found[name] for name in TOLD_FIRST if name in found}
    return ", ".join(f"{name}: {value}" for name, value in flatten(first | found))


def in_inbox(text: str) -> str:
    """Files of the inbox by their names below it."""
    return text.replace(f"{INBOX}/", "")


def flatten(found: JsonObject, prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in found.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{name} ")
        elif isinstance(value, list):
            if value:
                more = f" and {len(value) - 6} more" if len(value) > 6 else ""
                yield f"{prefix}{name}", ", ".join(str(one) for one in value[:6]) + more
        elif value not in (None, 0, ""):
            yield f"{prefix}{name}", str(value)


def shorten(text: str, characters: int = LOGGED_CHARACTERS) -> str:
    """One line of at most so many characters and three dots, all of them printable."""
    # A file name may hold line ends, which would look like lines of the log's own.
    printable = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
    return printable if len(printable) <= characters else f"{printable[:characters]}..."


def code(text: str) -> str:
    """Markdown: a span of code, whatever backticks are in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence} {shorten(text)} {fence}"
