"""The tree of errors that ``client/errors.py`` draws is the tree of all errors of the package."""

import re
from collections.abc import Iterator
from importlib import import_module
from inspect import getmembers, isclass
from pathlib import Path
from types import ModuleType

import airflow_provider_drchrono
from airflow_provider_drchrono.client import errors

PACKAGE = airflow_provider_drchrono.__name__
ROOT = Path(airflow_provider_drchrono.__file__).parent
# They must not know the client, so they have errors of their own.
BELOW_OR_BESIDE = ("catalog", "codegen", "sandbox")
LINE = re.compile(r"^    (?P<indent>[│ ]*)[├└]── (?P<name>\w+)(?: \((?P<module>[\w.]+)\))?(?:  .*)?$", re.MULTILINE)


def modules() -> Iterator[ModuleType]:
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        names = parts[:-1] if parts[-1] in ("__init__", "__main__") else parts
        if not names or names[0] not in BELOW_OR_BESIDE:
            yield import_module(".".join((PACKAGE, *names)))


def defined() -> dict[tuple[str, str], str]:
    """The parent of each error, by its module and name."""
    return {
        (each.__module__.removeprefix(f"{PACKAGE}."), each.__name__): each.__bases__[0].__name__
        for module in modules()
        for _, each in getmembers(module, isclass)
        if issubclass(each, BaseException) and each.__module__ == module.__name__
    }


def drawn() -> dict[tuple[str, str], str]:
    assert errors.__doc__ is not None
    tree = {("client.errors", "DrChronoError"): "Exception"}
    path = ["DrChronoError"]
    for line in LINE.finditer(errors.__doc__):
        depth = len(line["indent"]) // 4 + 1
        path = [*path[:depth], line["name"]]
        tree[line["module"] or "client.errors", line["name"]] = path[depth - 1]
    return tree


def test_every_error_of_the_package_stands_in_the_tree() -> None:
    assert drawn() == defined()


def test_every_error_of_the_package_is_one_of_drchrono() -> None:
    strangers = [
        f"{module.__name__}.{name}"
        for module in modules()
        for name, each in getmembers(module, isclass)
        if issubclass(each, BaseException)
        and each.__module__ == module.__name__
        and not issubclass(each, errors.DrChronoError)
    ]
    assert strangers == []
