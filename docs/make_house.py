"""Draws docs/house.svg, the picture of the house in docs/architecture.md, from the imports in the source.

    python docs/make_house.py

Each package is a box, above all that it imports. In it, in the same order, its files and folders, and a folder names
what is in it. An arrow leads to the next package that is imported; those below that one may be imported as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).parents[1]
PACKAGES = ("base", "encoder", "index", "labelling", "training", "service", "glimpse")
SVG = Path(__file__).parent / "house.svg"

WIDTH, MARGIN, GAP, BETWEEN = 1080, 24, 12, 34
LETTER, LINE, HEAD = 7.3, 16, 26  # width of a letter; height of a line; height of the line with a box's name

Graph = dict[str, set[str]]  # who imports -> what


def source_files() -> list[Path]:
    """The Python files of the packages."""
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_of(path: Path) -> str:
    """The name that a file is imported by."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in the file; of ours the names in it too, as `index.entry.Hit`."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            ours = module.split(".")[0] in PACKAGES
            found |= {f"{module}.{alias.name}" for alias in node.names} if ours else {module}
    return found


def below(folder: str, module: str) -> str | None:
    """The file or folder right below `folder`, "" for the house, that a module of ours lies in."""
    if not folder:
        return module.split(".")[0] if module.split(".")[0] in PACKAGES else None
    return module.removeprefix(f"{folder}.").split(".")[0] if module.startswith(f"{folder}.") else None


def graphs() -> Iterator[tuple[str, Graph]]:
    """The house ("") and each folder: which of the files and folders right below it import which."""
    modules = {module_of(path): imports(path) for path in source_files()}
    for folder in ["", *sorted({module_of(path.parent / "__init__.py") for path in source_files()})]:
        rooms = {room for module in modules if (room := below(folder, module))}
        graph: Graph = {room: set() for room in sorted(rooms) if room not in ("__init__", "__main__")}
        for module, targets in modules.items():
            here = below(folder, module)
            if here in graph:
                graph[here] |= {there for target in targets if (there := below(folder, target)) in graph} - {here}
        yield folder, graph


def floors(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The rooms from the top floor down: each stands above all that it imports."""
    height: dict[str, int] = {}

    def climb(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((climb(target) for target in graph[room]), default=-1)
        return height[room]

    for room in graph:
        climb(room)
    return [[room for room in graph if height[room] == floor] for floor in range(max(height.values()), -1, -1)]


def next_below(graph: Mapping[str, set[str]]) -> Graph:
    """The graph without what follows from the rest of it."""

    def reach(room: str) -> set[str]:
        return {room}.union(*(reach(target) for target in graph[room]))

    return {
        room: {t for t in targets if not any(t in reach(other) for other in targets - {t})}
        for room, targets in graph.items()
    }


@dataclass(frozen=True)
class Box:
    """Something drawn, as SVG from (0, 0), and its size."""

    width: float
    height: float
    svg: str

    def at(self, x: float, y: float) -> str:
        """It, moved there."""
        return f'<g transform="translate({x:.0f} {y:.0f})">{self.svg}</g>\n'


def room_box(name: str, lines: list[str]) -> Box:
    """A file, or a folder with the names in it below its own."""
    longest = max(map(len, [name, *lines]))
    width, height = longest * LETTER + 20, HEAD + LINE * len(lines) + (8 if lines else 0)
    kind = "folder" if lines else "file"
    words = "".join(
        f'<text class="soft" x="10" y="{HEAD + 10 + LINE * i}">{escape(line)}</text>' for i, line in enumerate(lines)
    )
    frame = f'<rect class="{kind}" width="{width:.0f}" height="{height:.0f}" rx="6"/>'
    return Box(width, height, f'{frame}<text x="10" y="17">{escape(name)}</text>{words}')


def names_in(folder: str, all_graphs: Mapping[str, Graph], width: float) -> list[str]:
    """What is in a folder, a line or more a floor; what is in folders of its own in brackets."""

    def word(room: str) -> str:
        inside = all_graphs.get(f"{folder}.{room}")
        return f"{room} ({', '.join(inside)})" if inside is not None else room

    joined = (", ".join(map(word, floor)) for floor in floors(all_graphs[folder]))
    return [line for floor in joined for line in wrap(floor, int(width / LETTER))]


def package_box(package: str, all_graphs: Mapping[str, Graph], width: float) -> Box:
    """A package: its rooms, floor by floor, each floor in as many rows as it needs."""
    y, parts = float(HEAD + 8), []
    for floor in floors(all_graphs[package]):
        x, tallest = float(GAP), 0.0
        for room in floor:
            folder = f"{package}.{room}"
            is_folder = folder in all_graphs
            names = names_in(folder, all_graphs, width - 150) if is_folder else []
            box = room_box(f"{room}/" if is_folder else room, names)
            if x > GAP and x + box.width > width - GAP:
                x, y, tallest = float(GAP), y + tallest + 6, 0.0
            parts.append(box.at(x, y))
            x, tallest = x + box.width + 6, max(tallest, box.height)
        y += tallest + 6
    frame = f'<rect class="package" width="{width:.0f}" height="{y + 6:.0f}" rx="10"/>'
    return Box(width, y + 6, f'{frame}<text class="name" x="{GAP}" y="22">{package}/</text>{"".join(parts)}')


def render() -> str:
    """The picture."""
    all_graphs = dict(graphs())
    house = all_graphs[""]
    boxes: dict[str, tuple[float, float, Box]] = {}  # x, y
    y = float(MARGIN)
    for floor in floors(house):
        width = (WIDTH - 2 * MARGIN - GAP * (len(floor) - 1)) / len(floor)
        for i, package in enumerate(floor):
            boxes[package] = MARGIN + i * (width + GAP), y, package_box(package, all_graphs, width)
        y += max(boxes[package][2].height for package in floor) + BETWEEN
    parts = [box.at(x, top) for x, top, box in boxes.values()]
    arrows = [(upper, lower) for upper, targets in next_below(house).items() for lower in sorted(targets)]
    for lane, (upper, lower) in enumerate(arrows):
        right = min(boxes[package][0] + boxes[package][2].width for package in (upper, lower)) - 24 - 24 * lane
        start, end = boxes[upper][1] + boxes[upper][2].height, boxes[lower][1] - 4
        parts.append(f'<path class="arrow" d="M{right:.0f} {start:.0f}V{end:.0f}" marker-end="url(#head)"/>\n')
    return HEAD_OF_SVG.format(width=WIDTH, height=f"{y - BETWEEN + MARGIN:.0f}") + "".join(parts) + "</svg>\n"


HEAD_OF_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" \
aria-label="The packages of glimpse, each above all that it imports">
<style>
  text {{ font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1e2321 }}
  .name {{ font-weight: 700; font-size: 14px }} .soft {{ fill: #56605b }}
  .ground {{ fill: #f7f6f3 }} .package {{ fill: #fff; stroke: #b9c2bd }}
  .file {{ fill: #eef1ee }} .folder {{ fill: #e1f0ea; stroke: #9cc7b6 }}
  .arrow {{ fill: none; stroke: #1f7a64; stroke-width: 2 }} marker path {{ fill: #1f7a64 }}
  @media (prefers-color-scheme: dark) {{
    text {{ fill: #e8ece9 }} .soft {{ fill: #a8b3ad }} .ground {{ fill: #131715 }}
    .package {{ fill: #1d2320; stroke: #46514b }} .file {{ fill: #28302c }} .folder {{ fill: #1f3a31; stroke: #3f7a67 }}
    .arrow {{ stroke: #5cc4a6 }} marker path {{ fill: #5cc4a6 }}
  }}
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z"/></marker></defs>
<rect class="ground" width="{width}" height="{height}"/>
"""


if __name__ == "__main__":
    SVG.write_text(render(), encoding="utf-8")
