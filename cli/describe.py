"""Scans in words and tables."""

from __future__ import annotations

import numpy as np

from fastmoments.scans.curves import MOMENTS, main_loc
from fastmoments.scans.results import Scan
from fastmoments.scans.tables import number, text_table
from fastmoments.scans.verdict import BUDGET, WANTED, Verdict

from .output import spread

#: Columns of the table of one scan: heading and moment.
COLUMNS = {
    "chi": "chi",
    "d chi": "delta_chi",
    "nu1": "nu1_abs_signal",
    "nu2": "nu2_signal",
    "mu2": "mu2_signal",
    "mu4": "mu4_signal",
    "r_eff": "reff_signal",
    "r_eff dx": "reff_noise",
}
#: What stands beside them where the sensitivity is not known.
LOGARITHMS = {"ln nu2": "log_nu2_signal", "ln mu2 dx": "log_mu2_noise"}

#: The order of columns in CSV.
CSV_ORDER = tuple(f"{name}{end}" for name in MOMENTS for end in ("", "_sigma"))


def how(scan: Scan) -> str:
    """Images and engine, on one line."""
    data = scan.data
    images = f"{data['images']} images of {data['source']}, {data['points']} points"
    if scan.method == "sampled":
        return f"{images}; sampled, {scan.nets} nets of width {scan.width}, mean +- deviation"
    if scan.method == "finite":
        drawn = f", {data['batches']} batches of {data['batch']}" if "batches" in data else ""
        return f"{images}{drawn}; width {scan.width}, mean +- deviation over random nets"
    if scan.method == "measured":
        nets = f"{scan.nets} nets, mean +- deviation" if scan.nets != 1 else "as it stands"
        return f"{images}; measured, {nets}"
    return f"{images}; infinite width"


def growth(verdict: Verdict) -> str:
    """The law of chi in depth l."""
    if verdict.law is None:
        return "-"
    forms = {"exponential": "exp({:.3g} l)", "power": "l^{:.2f}", "bounded": "bounded"}
    return forms[verdict.law].format(verdict.rate)


def value(scan: Scan, name: str, index: int, deviation: bool = False) -> str:
    """One moment at its main station and a recorded depth; "-" if the scan has none."""
    if name not in scan.moments:
        return "-"
    curve = scan.curve(name)
    log = scan[f"log_{name}"][index] if f"log_{name}" in scan.moments else None
    text = number(curve.mean[index], log)
    if deviation and curve.sigma is not None and text != "-":
        text += f" +- {number(curve.sigma[index])}"
    return text


def scan_table(scan: Scan) -> str:
    """What was computed, the verdict, and the moments at about ten depths."""
    parameters = ", ".join(
        f"{k} {v}" for k, v in scan.architecture.items() if k not in ("name", "stem", "layers")
    )
    verdict = scan.verdict
    words = f"none ({WANTED})"
    if "chi" not in scan.moments:
        words = "none (it takes chi, which is not known here)"
    if verdict.source == BUDGET:
        words = f"{verdict.label}, from the budget; no law of depth shows"
    elif verdict.label:
        rank = number(verdict.reff_last)
        words = f"{verdict.label}; chi grows like {growth(verdict)}; r_eff of the signal ends at {rank}"
        words = words.replace("chi grows like bounded", "chi is bounded")
    columns = {head: name for head, name in COLUMNS.items() if name in scan.moments}
    columns |= {} if "chi" in scan.moments else LOGARITHMS
    stations = [main_loc(name, scan.moments[name]) for name in columns.values()]
    rows = [
        [str(scan.depth[i]), *(value(scan, name, i, deviation=True) for name in columns.values())]
        for i in spread(scan.depth)
    ]
    table = text_table([["", *columns], ["depth", *(f"@{loc}" for loc in stations)]], rows)
    note = "".join(f"{line}\n" for line in scan.remarks())
    return f"{scan.architecture['name']}: {parameters}\n{how(scan)}\nverdict: {words}\n{note}\n{table}"


def comparison_table(scans: list[Scan]) -> str:
    """The verdicts, and chi and the effective rank of all scans side by side.

    Where the recorded depths differ, those at about the same shares of the depth stand in a row.
    """
    names = [scan.architecture["name"] for scan in scans]
    moments = {"r_eff": "reff_signal", "mu4": "mu4_signal", "nu1": "nu1_abs_signal"}
    summary = [
        [
            name, str(scan.depth[-1]), scan.verdict.label or "-", scan.verdict.source or "-",
            growth(scan.verdict), value(scan, "chi", -1), decibels(scan),
            *(value(scan, moment, -1) for moment in moments.values()),
        ]
        for name, scan in zip(names, scans, strict=True)
    ]  # fmt: skip
    tables = [
        text_table([["net", "depth", "verdict", "from", "chi grows", "chi", "SNR/dB", *moments]], summary)
    ]
    alike = all(np.array_equal(scan.depth, scans[0].depth) for scan in scans)
    where = [(str(scans[0].depth[i]), [i] * len(scans)) for i in spread(scans[0].depth)] if alike else [
        (f"{share}%", [int(np.abs(scan.depth - 0.01 * share * scan.depth[-1]).argmin()) for scan in scans])
        for share in range(10, 101, 10)
    ]  # fmt: skip
    for head, moment in (("chi", "chi"), ("r_eff of the signal", "reff_signal")):
        rows = [
            [at, *(value(scan, moment, i) for scan, i in zip(scans, places, strict=True))]
            for at, places in where
        ]
        tables.append(
            text_table([[f"{head} at {'depth' if alike else 'a share of the depth'}", *names]], rows)
        )
    said = list(dict.fromkeys(how(scan).partition(", mean")[0] for scan in scans))
    end = f"At depth {scans[0].depth[-1]}" if alike else "At the last depth"
    return f"{end}: {'; '.join(said)}\n\n" + "\n".join(tables)


def decibels(scan: Scan) -> str:
    """The signal-to-noise ratio at the last depth relative to the images, -20 log10 chi, in dB."""
    if "log_chi" not in scan.moments or not np.isfinite(scan["log_chi"][-1]):
        return "-"
    return f"{-20.0 / np.log(10.0) * scan['log_chi'][-1]:.1f}"
