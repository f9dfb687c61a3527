"""Draws the rooms of the package in layers, from their own imports: `make layers`."""

import sys
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

import grimp

PACKAGE = "ase_bmdal"


def rooms() -> dict[str, set[str]]:
    """Rooms of the package, each with the rooms it imports."""
    graph = grimp.build_graph(PACKAGE)
    found: dict[str, set[str]] = {room.rpartition(".")[2]: set() for room in graph.find_children(PACKAGE)}
    for module in graph.modules:
        room = _room(module)
        imported = {_room(each) for each in graph.find_modules_directly_imported_by(module)}
        if room:
            found[room] |= imported - {room, ""}
    return found


def layers(imports: Mapping[str, set[str]]) -> list[list[str]]:
    """Rooms from the lowest layer up: each above all that it imports.

    Raises
    ------
    CycleError
        If rooms import one another in a circle.
    """
    sorter, found = TopologicalSorter(imports), []
    sorter.prepare()
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append(sorted(ready))
        sorter.done(*ready)
    return found


def drawing(imports: Mapping[str, set[str]]) -> str:
    """Layers from the highest down, each room with what it imports."""
    lines = []
    for number, names in reversed(list(enumerate(layers(imports)))):
        for name in names:
            below = ", ".join(sorted(imports[name])) or "nothing"
            lines.append(f"{number:2}  {name:<12} -> {below}")
    return "\n".join(lines)


def _room(module: str) -> str:
    _, _, rest = module.partition(f"{PACKAGE}.")
    return rest.partition(".")[0]


if __name__ == "__main__":
    try:
        print(drawing(rooms()))
    except CycleError as error:
        sys.exit(f"rooms import one another in a circle: {' -> '.join(error.args[1])}")
