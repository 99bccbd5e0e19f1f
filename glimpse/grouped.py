"""Help of a command with many options: they stand in groups, by their `rich_help_panel`, the most wanted first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click import Context, HelpFormatter

REST = "Options"


class GroupedCommand(TyperCommand):
    """A command whose options stand in groups, in the order in which the first of each is declared."""

    def format_options(self, ctx: Context, formatter: HelpFormatter) -> None:
        """Write them; arguments first, options without a group last."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                is_argument = param.param_type_name == "argument"
                group = "Arguments" if is_argument else getattr(param, "rich_help_panel", None) or REST
                groups.setdefault(group, []).append(record)
        rest = groups.pop(REST, [])
        for group, records in [*groups.items(), (REST, rest)]:
            with formatter.section(group):
                formatter.write_dl(records)
