"""Formulas as MathML, written when the site is built: a browser needs neither a script nor a network."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)


def _markup(node: nodes.Element, display: str) -> str:
    """The MathML of a formula; a warning, which ends the build, where TeX is not understood."""
    try:
        return convert(node.astext(), display=display)
    except Exception as error:  # whatever the converter stumbles on
        logger.warning("no MathML for %r: %r", node.astext(), error, location=node)
        return ""


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
