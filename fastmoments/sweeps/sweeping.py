"""Sweeps: one scan for each combination of parameters, as a table; on processes or a cluster, resumable."""

from __future__ import annotations

import csv
import io
import os
import pickle
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import TYPE_CHECKING

from .. import __version__
from ..nets.families import FAMILIES
from ..nets.network import Network
from ..nets.settings import is_path
from ..nets.zoo import NETS
from ..scans.files import checked_ending, csv_text, csv_value
from ..scans.scanning import checked_network
from ..scans.writing import refuse_unwritable, write_atomically
from .dispatch import ATTEMPTS, Lost, cores, in_this_process, on_executor, on_processes
from .grid import TEXTS, Plain, check, columns, compute, expand, filled, is_row, key, parameters, warm
from .ledger import Ledger

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

ENDINGS = (".csv", ".parquet")


@dataclass(frozen=True, eq=False)
class Sweep:
    """A table of scans, one row each, in the order of the grid.

    Attributes
    ----------
    grid : dict of str to list
        The values of every parameter, those with one value as well.
    rows : list of dict
        All with the same columns: the parameters; "verdict", "law" and "rate"; every moment at its
        main station and the last depth, with its deviation over nets ("_sigma") if any net is sampled;
        "layer_error"; and "error", a sentence if the scan failed. None where there is no value.
    """

    grid: dict[str, list]
    rows: list[dict]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict]:
        return iter(self.rows)

    def __getitem__(self, column: str) -> list:
        """One column.

        Raises
        ------
        KeyError
            If there is no such column; the message lists those there are.
        """
        if column not in self.rows[0]:
            raise KeyError(f"no column {column!r}; this sweep has {', '.join(self.rows[0])}")
        return [row[column] for row in self.rows]

    def __repr__(self) -> str:
        """Number of scans, and what was swept, on one line."""
        swept = ", ".join(f"{len(values)} {name}" for name, values in self.grid.items() if len(values) > 1)
        return f"<Sweep of {len(self)} scans: {swept or 'a single item'}>"

    def to_dataframe(self) -> pandas.DataFrame:
        """The rows as a pandas DataFrame.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ImportError('to_dataframe needs pandas: pip install "fastmoments[dataframe]".') from None
        return pandas.DataFrame(self.rows)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the table to `path`, a .csv or .parquet file, all of it or nothing.

        Raises
        ------
        ValueError
            If the ending is neither, or a file cannot be written there.
        OSError
            In one sentence, if the system fails, as on a full disk; what was there stays.
        ImportError
            If it is .parquet and pyarrow is not installed.
        """
        if _checked_output(path) == ".csv":
            content = csv_text(self.rows).encode()
        else:
            content = _parquet(self.grid, self.rows)
        write_atomically(path, content)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Sweep:
        """Read a table that was saved as .csv or .parquet.

        Raises
        ------
        ValueError
            If the file is not there, or is no such table.
        ImportError
            If it is .parquet and pyarrow is not installed.
        """
        read = _read_csv if _checked_output(path) == ".csv" else _read_parquet
        try:
            rows = read(path)
            known = [*parameters(), *filter(is_path, rows[0])] if rows else []
            lists = {name: list(dict.fromkeys(row[name] for row in rows)) for name in known}
            sound = all(is_row(row, {name: row[name] for name in known}) for row in rows)
            if not rows or not sound or list(rows[0]) != columns(lists):
                raise ValueError
            given = {name: values for name, values in lists.items() if values != [None]}
            if set(lists["family"]) - {*FAMILIES, *NETS}:  # a net of one's own
                del given["family"]
            filled(given)
        except FileNotFoundError:
            raise ValueError(f"There is no file {path}.") from None
        except Exception:  # on damaged bytes csv and pyarrow raise types of their own
            raise ValueError(f"{path} is not a sweep saved by this fastmoments, or it is damaged.") from None
        return Sweep(lists, rows)

    def plot(self, x: str | None = None, y: str | None = None, color: str = "chi") -> Figure:
        """Draw a heat map of one result over two swept parameters (`heat_map.plot_sweep`)."""
        from .heat_map import plot_sweep

        return plot_sweep(self, x, y, color)


def sweep(
    grid: Mapping[str, object],
    *,
    network: Network | None = None,
    executor: Executor | None = None,
    processes: int | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: Callable[[int, int, dict | None], None] | None = None,
) -> Sweep:
    """Scan every combination of parameters.

    Parameters
    ----------
    grid : mapping of str to a value or a sequence of values
        family (all four if left out; published nets by their names as well), and any parameter of the presets
        (`depth`, `epsilon`, ...), of `load_images` (source, count, ...; eight images if left out), of `scan`
        (method, width, nets, every, rank, ...), and of layers by their paths: ``"layers.0.gain"``, or
        ``"layers.*.branch.*.epsilon"`` for all there that have one (`nets.settings`). The seed draws images
        and random nets. A file as source must be readable under its name wherever workers run.
    network : Network, optional
        What is swept instead of families; its name stands in the column family.
    executor : concurrent.futures.Executor, optional
        Where scans run, such as ``distributed.Client(address).get_executor()``; it is not shut down.
        Workers should have one thread: scans in one process run one after the other.
    processes : int, optional
        Without an executor: processes of one thread each, by default one per core. 1 means this process.
    output : path-like, optional
        .csv or .parquet file for the table. Until it is complete, finished scans stand in a journal of
        the same name with ".partial" behind.
    resume : bool
        Take from the journal what is finished, if there is a journal. The output has the same bytes as
        if the sweep had not been interrupted, on the same kind of machine.
    progress : callable, optional
        Called with the number of finished scans, the number of all, and the row that has just come; the
        row is None in the first call.

    Returns
    -------
    Sweep
        One row per scan. A scan that fails says so under "error", as does one that lost its worker
        three times; the others go on.

    Raises
    ------
    ValueError
        In one sentence, before anything is computed: if a name or a value is wrong, no file can be written
        there, or the journal is damaged, not that of this grid, or being written by another process.
    OSError
        In one sentence, if the system fails, as on a full disk; the journal stays.
    ImportError
        If the output is Parquet and pyarrow is not installed.
    dispatch.WorkersLost
        If no worker is left (a RuntimeError); what is finished stays in the journal.
    """
    if executor is not None and processes is not None:
        raise ValueError("give an executor or processes, not both.")
    if executor is not None and not hasattr(executor, "submit"):
        raise ValueError(f"executor must be a concurrent.futures.Executor, not {executor!r}.")
    if processes is not None and (type(processes) is not int or processes < 1):
        raise ValueError(f"processes must be a positive whole number, not {processes!r}.")
    if resume and output is None:
        raise ValueError("resume needs an output, beside which the journal stands.")
    if output is not None:
        _checked_output(output)
        refuse_unwritable(output)
    if network is not None:
        checked_network(network)
    lists = filled(grid, network)
    items = {key(item): item for item in expand(lists)}
    header = {"versions": _versions(), "grid": lists, "images": check(list(items.values()), network)}
    if network is not None:
        header["network"] = network.architecture()
    journal = None if output is None else Ledger(output, header, items, resume)
    try:
        rows = dict(journal.done) if journal else {}
        missing = {name: (item, __version__, network) for name, item in items.items() if name not in rows}
        if progress is not None:
            progress(len(rows), len(items), None)
        with closing(_results(missing, executor, processes)) as results:  # ends processes, whatever happens
            for name, row in results:
                if isinstance(row, Lost):  # not in the journal: another try may go better
                    row = items[name] | {"error": f"The scan lost its worker {ATTEMPTS} times."}
                elif journal:
                    journal.add(name, row)
                rows[name] = row
                if progress is not None:
                    progress(len(rows), len(items), row)
        names = columns(lists)
        table = Sweep(lists, [{name: rows[item].get(name) for name in names} for item in items])
        if output is not None:
            table.save(output)
        if journal is not None:
            journal.remove()
        return table
    finally:
        if journal:
            journal.close()


def _results(
    missing: dict[str, tuple], executor: Executor | None, processes: int | None
) -> Generator[tuple[str, dict | Lost], None, None]:
    """Rows by key, from wherever they are computed."""
    if executor is not None:
        return on_executor(compute, missing, executor)
    number = min(cores() if processes is None else processes, len(missing))
    if number <= 1:
        return in_this_process(compute, missing)
    calls = list(missing.values())
    network = calls[0][-1]
    try:
        pickle.dumps(network)
    except Exception:
        raise ValueError(
            f"{network.name} holds a function that other processes cannot import; use processes=1."
        ) from None
    return on_processes(compute, missing, number, (warm, [item for item, *_ in calls], network))


def _versions() -> dict[str, str]:
    """What the bytes of a table depend on."""
    others = {name: metadata.version(name) for name in ("numba", "numpy", "scipy")}
    return {"fastmoments": __version__, **others}


def _checked_output(path: str | os.PathLike[str]) -> str:
    ending = checked_ending(path, ENDINGS)
    if ending == ".parquet" and find_spec("pyarrow") is None:
        raise ImportError('Parquet files need pyarrow: pip install "fastmoments[parquet]".')
    return ending


def _read_csv(path: str | os.PathLike[str]) -> list[dict]:
    known = parameters()

    def value(name: str, text: str) -> Plain:
        if text == "":
            return None
        text = csv_value(text)
        if name in TEXTS:
            return text
        if name not in known and not is_path(name):
            return float(text)
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                pass
        return {"True": True, "False": False}.get(text, text)

    with open(path, newline="", encoding="utf-8") as file:
        return [{name: value(name, text) for name, text in row.items()} for row in csv.DictReader(file)]


def _read_parquet(path: str | os.PathLike[str]) -> list[dict]:
    import pyarrow.parquet

    with open(path, "rb") as file:
        return pyarrow.parquet.read_table(file).to_pylist()


def _parquet(grid: Mapping[str, Sequence], rows: list[dict]) -> bytes:
    """The table as Parquet; the types of its columns do not depend on what the scans found."""
    import pyarrow
    import pyarrow.parquet

    types = {int: pyarrow.int64(), float: pyarrow.float64(), bool: pyarrow.bool_(), str: pyarrow.string()}
    whole = {"width", "nets", "rank", "count"}  # may have no value in any row

    def kind(name: str) -> pyarrow.DataType:
        if name not in grid:
            return types[str if name in TEXTS else float]
        found = {type(value) for value in grid[name] if value is not None}
        return types[found.pop() if len(found) == 1 else int if name in whole else str]

    arrays = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        form = kind(name)
        if form == types[str]:
            values = [value if value is None else str(value) for value in values]
        arrays[name] = pyarrow.array(values, form)
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(arrays), buffer)
    return buffer.getvalue()
