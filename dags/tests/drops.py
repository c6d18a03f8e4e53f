"""Drops for the tests, with the totals they must bring."""

from __future__ import annotations

import json
import random
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

HOSTILE_TEXTS: list[str] = [
    one["text"]
    for one in json.loads(
        (Path(__file__).resolve().parents[2] / "etl" / "testing" / "hostile_names.json").read_text("utf-8")
    )
    if one["file"]
]
"""The same as in the tests of the command."""

HOSTILE_NAMES = [f"{text} 2026-10-05.csv" for text in [*HOSTILE_TEXTS, "n" * 240, "\u0007" * 240]]

Totals = dict[tuple[str, str], tuple[int, Decimal]]
"""(venue, creation date) to number of invoices and their sum."""


@dataclass
class Till:
    """Writes drops and keeps an account of its own of what is in them: the independent sum."""

    seed: int
    prefix: str = "venue"
    _random: random.Random = field(init=False)
    _invoices: dict[tuple[str, str, str], Decimal] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def write(self, path: Path, synced_on: date, rows: int, bad_lines: int = 0) -> Path:
        """A drop of so many rows, created in the 100 days before the sync date."""
        lines = ["venue_id,invoice_id,datetime_created,total"]
        for _ in range(rows):
            venue = f"{self.prefix}-{self._random.randrange(20):02}"
            invoice = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
            created = synced_on - timedelta(days=self._random.randrange(100))
            total = Decimal(self._random.randrange(1, 100_000)) / 100
            self._invoices[created.isoformat(), venue, invoice] = total
            lines.append(f"{venue},{invoice},{created}T{self._random.randrange(24):02}:30:00Z,{total:.2f}")
        lines += [f"{self.prefix}-00,not-a-uuid,{synced_on}T10:00:00Z,1.00"] * bad_lines
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def totals(self) -> Totals:
        sums: dict[tuple[str, str], list[Decimal]] = defaultdict(list)
        for (created, venue, _), total in self._invoices.items():
            sums[venue, created].append(total)
        return {group: (len(values), sum(values, Decimal(0))) for group, values in sums.items()}


def read_totals(rows: list[dict[str, object]], prefix: str) -> Totals:
    """What `rollbook totals` says about the venues of one till."""
    return {
        (str(row["venue_id"]), str(row["created_on"])): (
            int(str(row["invoices"])),
            Decimal(str(row["total"])),
        )
        for row in rows
        if str(row["venue_id"]).startswith(f"{prefix}-")
    }
