"""What a net did to signal and noise from the images to its output, in decibels: it needs no law of depth.

The signal-to-noise ratio (SNR) relative to the images is -20 log10 chi; a layer changes it by what chi grows
between its own input and its output, a stage by what chi grows over it. The directions that the signal has
left are its effective rank. It is taken before the classifier, the `Dense` at the end: that is what a
classifier can choose from, and its own few channels would hide it. (At infinite width both are the same, for
fresh weights multiply a covariance.) Gradients grow by the mean squared singular value of the Jacobian
(`jacobian`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby

from .stations import StationMoments, report

#: Layers that are named among those that lost most.
NAMED = 5
#: Of changes in dB: what rounds to 0.0 is not told.
_TOLD = 0.05
#: Layers that a classifier is: of nets, and of modules of PyTorch.
_DENSE = ("Dense", "Linear")


@dataclass(frozen=True)
class Change:
    """What a layer, or a stage, did to the signal-to-noise ratio.

    Attributes
    ----------
    where : str
        Path of the layer, or name of the stage.
    what : str
        Its kind, or what the stage is.
    first, last : int
        Units of depth; 0 is the stem.
    db : float
        Of the signal-to-noise ratio; negative where it fell.
    """

    where: str
    what: str
    first: int
    last: int
    db: float

    def __str__(self) -> str:
        """Name, kind and change."""
        return f"{self.where} ({self.what}) {self.db:+.1f} dB"


@dataclass(frozen=True)
class Budget:
    """What is left at the output, and where the rest went.

    Attributes
    ----------
    snr_db : float
        Signal-to-noise ratio at the output relative to the images.
    layers : tuple of Change
        The `NAMED` layers that lost most of it, the worst first; of those that hold no others.
    stages : tuple of Change
        All stages in walking order: the stem, units between changes of positions or channels, and the
        `Dense` layers behind them, the head.
    directions : float or None
        Effective rank of the signal before the classifier, or at the end of a net without one.
    most_directions : int or None
        That the batch allows there: points - 1.
    classes : int or None
        Whose one-hot targets want classes - 1 directions.
    gradient_db : float or None
        Growth of the mean square of gradients from the output back to the end of the first layer.
    """

    snr_db: float
    layers: tuple[Change, ...] = ()
    stages: tuple[Change, ...] = ()
    directions: float | None = None
    most_directions: int | None = None
    classes: int | None = None
    gradient_db: float | None = None

    def to_dict(self) -> dict:
        """The budget in plain values, as in the JSON of a scan."""
        values = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def in_words(self) -> list[str]:
        """Lines that say it."""
        said = [f"SNR {self.snr_db:+.1f} dB at the output"]
        if self.directions is not None:
            bounds = [] if self.most_directions is None else [f"the batch allows {self.most_directions:,}"]
            bounds += [] if self.classes is None else [f"{self.classes:,} classes want {self.classes - 1:,}"]
            said.append(f"{self.directions:.3g} directions left ({', '.join(bounds)})".replace(" ()", ""))
        if self.gradient_db is not None:
            said.append(f"gradients {self.gradient_db:+.1f} dB from there back to the first layer")
        lines = ["; ".join(said)]
        several = len([stage for stage in self.stages if stage.last]) > 1
        stages = sorted(self.stages, key=lambda stage: stage.db)[:3] if several else []
        named: list[tuple[str, Sequence[Change]]] = [("stages", stages), ("layers", self.layers)]
        for name, changes in named:
            told = [str(change) for change in changes if change.db < -_TOLD]
            lines += [f"{name} that lost most: {', '.join(told)}"] if told else []
        return lines


def budget(stations: Sequence[StationMoments], images: int, classes: int | None = None) -> Budget | None:
    """The budget of a table of stations, of so many images; None where chi at the output is not known."""
    if not stations or not math.isfinite(stations[-1].snr_db):
        return None
    directions, most = _directions(stations, images)
    gradient = next(
        (row.mean["log_jacobian"] for row in stations[1:] if "log_jacobian" in row.mean), math.nan
    )
    return Budget(
        stations[-1].snr_db, _layers(stations), tuple(_stages(stations)), directions, most, classes,
        10.0 / math.log(10.0) * gradient if math.isfinite(gradient) else None,
    )  # fmt: skip


def _directions(stations: Sequence[StationMoments], images: int) -> tuple[float | None, int | None]:
    """Directions left, and how many there could be; where two images are two points, from before that."""
    *before, last = stations
    for row in reversed(before if last.layer in _DENSE and before and before[-1].directions else stations):
        most = None if row.grid is None else images * math.prod(row.grid) - 1
        if row.directions is not None and math.isfinite(row.directions) and most != 1:
            return row.directions, most
    return None, None


def _layers(stations: Sequence[StationMoments]) -> tuple[Change, ...]:
    """The layers that lost most."""
    holding = {row.path.rsplit(".", 2)[0] for row in stations if row.path.count(".") > 1}
    found = [
        Change(row["path"], row["layer"], station.depth, station.depth, row["snr_change_db"])
        for row, station in zip(report("", tuple(stations)).rows, stations, strict=True)
        if row["snr_change_db"] is not None
        and math.isfinite(row["snr_change_db"])
        and station.path not in holding
        and station.loc != "merge"
    ]
    return tuple(sorted((each for each in found if each.db < 0.0), key=lambda each: each.db)[:NAMED])


def _stages(stations: Sequence[StationMoments]) -> Iterator[Change]:
    """All stages, in walking order."""
    units = [list(rows) for _, rows in groupby(stations, lambda row: row.depth)]
    mains = [_main(rows) for rows in units]
    dense = [row.layer in _DENSE for row in mains]
    headed = not all(dense[1:])
    kinds = [
        "stem" if row.depth == 0 else "head" if headed and row.layer in _DENSE else _kind(row)
        for row in mains
    ]
    number, before = 0, 0.0
    for kind, group in groupby(zip(kinds, mains, units, strict=True), lambda each: each[0]):
        members = list(group)
        rows = [row for _, _, unit in members for row in unit]
        db, before = rows[-1].snr_db - before, rows[-1].snr_db
        number += kind not in ("stem", "head")
        name = kind if isinstance(kind, str) else f"stage {number}"
        if kind == "stem" and len(rows) == 1:  # the images alone
            continue
        if math.isfinite(db):
            yield Change(name, _size(members[-1][1]), rows[0].depth, rows[-1].depth, db)


def _kind(row: StationMoments) -> tuple:
    """What units of a stage have in common; those that put branches side by side add channels to it."""
    return (row.grid, row.layer) if row.layer == "Concat" else (row.grid, row.channels)


def _main(rows: Sequence[StationMoments]) -> StationMoments:
    """The station that says what a unit is: its merge, or its first layer with weights."""
    named = {row.loc: row for row in rows if row.loc}
    return named.get("merge") or named.get("conv") or rows[-1]


def _size(row: StationMoments) -> str:
    """Positions and channels."""
    grid = [] if row.grid is None else [f"{row.grid[0]} x {row.grid[1]}"]
    return ", ".join(grid + ([] if row.channels is None else [f"{row.channels} channels"])) or row.layer
