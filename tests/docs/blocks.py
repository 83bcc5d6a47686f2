"""The blocks of code on the pages, and the commands in a block of shell."""

import re
from dataclasses import dataclass


@dataclass
class Block:
    page: str
    line: int
    kind: str
    text: str = ""

    @property
    def place(self):
        return f"{self.page}:{self.line}"


def blocks_of(page, text):
    """The fenced blocks of a page, in order; a fence without a name is of the kind `plain`."""
    found, inside = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```") and inside is None:
            inside = Block(page, number, line[3:].strip() or "plain")
        elif line.startswith("```"):
            found.append(inside)
            inside = None
        elif inside is not None:
            inside.text += line + "\n"
    if inside is not None:
        raise SystemExit(f"{inside.place}: the block has no end")
    return found


def commands_of(text):
    """The commands of a block as (command, remark): continued lines joined, what stands behind `  # ` taken off."""
    found, pending = [], ""
    for line in text.splitlines():
        pending += line
        if pending.endswith("\\"):
            pending = pending[:-1]
            continue
        command, *remark = re.split(r"\s{2,}# ", pending, maxsplit=1)
        pending = ""
        if command.strip() and not command.lstrip().startswith("#"):
            found.append((command.strip(), "".join(remark).strip()))
    return found
