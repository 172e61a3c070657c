"""Directive `commands`: a section for every command of a click group, with the options that its help has."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

#: Of the lines of the help, before they are wrapped: so that what click puts between words stays.
WIDTH = 10_000


def _paragraphs(text: str) -> list[nodes.Node]:
    """Plain text, a paragraph for each empty line in it."""
    return [nodes.paragraph("", " ".join(part.split())) for part in text.split("\n\n") if part.strip()]


def _options(command: click.Command, context: click.Context) -> nodes.Node:
    """What the help says of every option, as a list of definitions."""
    items = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option):
            term = nodes.term("", "", nodes.literal("", record[0]))
            said = nodes.definition("", nodes.paragraph("", record[1]))
            items.append(nodes.definition_list_item("", term, said))
    return nodes.definition_list("", *items, classes=["options"])


class Commands(Directive):
    """`.. commands:: module:group`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A section for each command, in the group's order."""
        module, name = self.arguments[0].split(":")
        group = getattr(import_module(module), name)
        above = click.Context(group, info_name="fastmoments", **group.context_settings)
        names = group.list_commands(above)
        return [self._section(each, group.get_command(above, each), above) for each in names]

    def _section(self, name: str, command: click.Command, above: click.Context) -> nodes.section:
        """A command: its usage, what it does, its options."""
        given = {**command.context_settings, "max_content_width": WIDTH, "terminal_width": WIDTH}
        context = click.Context(command, info_name=name, parent=above, **given)
        title = f"{above.info_name} {name}"
        section = nodes.section("", nodes.title("", title), names=[title])
        self.state.document.note_implicit_target(section, section)
        usage = command.get_usage(context).removeprefix("Usage: ")
        section += nodes.literal_block(usage, usage, language="none")
        section += _paragraphs((command.help or "").replace("\b\n", ""))
        section += _options(command, context)
        return section


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
