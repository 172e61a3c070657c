"""The documentation site: `pip install ".[docs]"`, then `sphinx-build -W docs site`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "_ext")]

from figures import draw_all  # noqa: E402

import fastmoments  # noqa: E402

project = "fastmoments"
author = "the fastmoments developers"
copyright = f"2026, {author}"
release = version = fastmoments.__version__

extensions = ["commands", "mathml", "myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_*"]

smartquotes = False  # which would make a dash of the two before an option
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the text, with shapes and units
napoleon_google_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "fastmoments"
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
templates_path: list[str] = []


def setup(app):
    """Draw the figures before the pages are read."""
    app.connect("builder-inited", lambda _: draw_all(HERE / "_figures"))
