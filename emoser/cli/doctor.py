"""emoser doctor"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from emoser.cli.options import format_option

if TYPE_CHECKING:
    from emoser.cli.checkup import Check


@click.command(
    short_help="Check this installation.",
    epilog="""\b
Examples:
  emoser doctor
  emoser doctor -f json > report.json      (for a bug report; it names paths)

\b
Exit codes: 0 all is well, 1 something is not.
""",
)
@format_option
def doctor(format: str | None) -> int:
    """Check this installation: versions, what audio it reads, where it computes, its cache, and every checkpoint that came with it.

    Each checkpoint's file is compared with the sha256 of the registry, and what it computes with known values. No network is used.
    """
    from emoser.cli.cards import print_json
    from emoser.cli.checkup import examine
    from emoser.cli.screen import wants_table

    if wants_table(format):
        # One by one: the checkpoints take a moment each.
        checks = []
        for check in examine():
            _show(check)
            checks.append(check)
    else:
        checks = list(examine())
        well = all(check.status != "error" for check in checks)
        print_json({"doctor": {"ok": well, "checks": [check.to_dict() for check in checks]}})
    wrong = sum(check.status == "error" for check in checks)
    if wrong:
        click.echo(f"{wrong} of {len(checks)} checks failed", err=True)
    return 1 if wrong else 0


def _show(check: Check) -> None:
    from rich.text import Text

    from emoser.cli.screen import screen

    mark, hue = {"ok": ("ok", "green"), "absent": ("-", "dim"), "error": ("WRONG", "bold red")}[check.status]
    line = Text.assemble((f"{mark:<6}", hue), f"{check.name:<22}", check.value)
    if check.advice:
        line.append(f"\n{'':<28}-> {check.advice}")
    screen().print(line)
