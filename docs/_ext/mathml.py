"""Formulas as MathML, written when the site is built: a browser needs neither a script nor a network."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

PRIME = '<mpadded class="prime" height="0.5em" voffset="-0.55em" lspace="0.1em"><mo>&#x02032;</mo></mpadded>'

#: A prime lower and larger, since fonts have it raised already; and, as TeX has it, space around a function.
MENDED = {
    r"<mi>&#x02032;</mi>": PRIME,
    r"(<mi>[a-z]{2,}</mi>)(?=<m(?:i|n|sub|sup|frac|sqrt|row)\b)": r'\1<mspace width="0.167em"/>',
    r"(?<=</mi>)(?=<mi>[a-z]{2,}</mi>)": '<mspace width="0.167em"/>',
}

logger = logging.getLogger(__name__)


def _markup(node: nodes.Element, display: str) -> str:
    """The MathML of a formula; a warning, which ends the build, where TeX is not understood."""
    try:
        markup = convert(node.astext(), display=display)
        if "\\" in markup:
            raise ValueError("a command that the converter leaves as it is")
    except Exception as error:  # whatever the converter stumbles on
        logger.warning("no MathML for %r: %r", node.astext(), error, location=node)
        return ""
    for pattern, better in MENDED.items():
        markup = re.sub(pattern, better, markup)
    return markup


def _inline(writer: Any, node: nodes.Element) -> None:
    """Write a formula within a line."""
    writer.body.append(f'<span class="math">{_markup(node, "inline")}</span>')
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.Element) -> None:
    """Write a formula on a line of its own."""
    writer.body.append(f'<div class="math">{_markup(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
