"""Finds the operation that a method and a path ask for; a fixed segment beats a parameter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote

from airflow_provider_drchrono.catalog import Operation
from airflow_provider_drchrono.sandbox.wire import Refusal, answer, detail


@dataclass(slots=True)
class _Node:
    fixed: dict[str, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    name: str = ""
    operations: dict[str, Operation] = field(default_factory=dict)


class Router:
    """All operations by path and method.

    :param operations: operations of the catalogue.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            self._add(operation)

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]]:
        """Return the operation and the values of its path parameters.

        :raises Refusal: 404 for an unknown path, 405 for a method that the path does not take.
        """
        found: dict[str, str] = {}
        node = _walk(self._root, path.removeprefix("/").split("/"), found)
        if node is None or not node.operations:
            raise detail(404, f"Not found: the API has no operation at {method} {path}")
        operation = node.operations.get(method)
        if operation is None:
            allowed = ", ".join(sorted(node.operations))
            raise Refusal(answer(405, {"detail": f'Method "{method}" not allowed.'}, {"allow": allowed}))
        return operation, found

    def _add(self, operation: Operation) -> None:
        node = self._root
        for segment in operation.path.strip("/").split("/"):
            if segment.startswith("{"):
                node.parameter = node.parameter or _Node(name=segment.strip("{}"))
                node = node.parameter
            else:
                node = node.fixed.setdefault(segment, _Node())
        node.operations[operation.method] = operation


def _walk(node: _Node, segments: list[str], found: dict[str, str]) -> _Node | None:
    for segment in segments:
        following = node.fixed.get(segment)
        if following is None and node.parameter is not None and segment:
            following = node.parameter
            found[following.name] = unquote(segment)
        if following is None:
            return None
        node = following
    return node
