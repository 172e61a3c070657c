"""The journal of a sweep: what is finished, line by line beside the output, so that nothing is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ..scans.journal import PARTIAL
from ..scans.lines import Lines, damaged
from .grid import is_row

SCHEMA = "fastmoments.sweep/2"


class Ledger:
    """Finished items on disk; every line is there for good before the next item counts as done.

    Parameters
    ----------
    output : path-like
        The journal is called like it, with ".partial" behind.
    header : dict
        What must agree for two runs to give the same bytes: "versions", "grid", "images", and "network", if
        it is one of one's own.
    items : mapping of str to dict
        All that are to be finished, by their keys.
    resume : bool
        Go on with the journal that is there, if there is one; otherwise its presence is refused.

    Attributes
    ----------
    done : dict of str to dict
        Rows that an earlier run finished, by the key of their item.

    Raises
    ------
    ValueError
        If there is a journal and it is not to be resumed, or it belongs to something else, is damaged,
        or being written; or none can be written there.
    OSError
        In one sentence, if the system fails.
    """

    def __init__(
        self, output: str | os.PathLike[str], header: dict, items: Mapping[str, dict], resume: bool
    ) -> None:
        path = f"{os.fspath(output)}{PARTIAL}"
        self.done: dict[str, dict] = {}
        self._lines = Lines(path, {"schema": SCHEMA, **header}, resume, "sweep", durable=True)
        try:
            if self._lines.found is not None:
                self._compare(self._lines.found.header or {}, json.loads(json.dumps(header)))
            self._lines.refuse_damage()
            for number, row in enumerate(self._lines.rows, 2):
                key, values = row.get("key"), row.get("row")
                if not isinstance(key, str) or key not in items or not is_row(values, items[key]):
                    raise damaged(path, number)
                self.done[key] = row["row"]
            self._lines.begin()
        except BaseException:
            self.close()
            raise

    def _compare(self, found: dict, wanted: dict) -> None:
        path = self._lines.path
        versions, grid = (found.get(name) for name in ("versions", "grid"))
        for name, version in wanted["versions"].items():
            other = versions.get(name) if isinstance(versions, dict) else None
            if other != version:
                raise ValueError(
                    f"{path} was begun with {name} {other}, and this is {version}: "
                    "resume with the same, or remove it."
                )
        if not isinstance(grid, dict) or list(grid.items()) != list(wanted["grid"].items()):
            raise ValueError(f"{path} belongs to another grid: give the grid it was begun with.")
        if found.get("network") != wanted.get("network"):
            raise ValueError(f"{path} belongs to another net: give the one it was begun with.")
        if found.get("images") != wanted["images"]:
            raise ValueError(f"The images are not those that {path} was begun with.")

    def add(self, key: str, row: dict) -> None:
        """Put a finished item on disk."""
        self._lines.append({"key": key, "row": row})

    def close(self) -> None:
        """Let go of the file and leave it."""
        self._lines.close()

    def remove(self) -> None:
        """Delete the file and let go of it: the output is written."""
        self._lines.remove()
