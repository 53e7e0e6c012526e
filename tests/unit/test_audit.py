"""What ``make audit`` makes of an SBOM, without asking anybody for anything."""

from typing import Any

import pytest

from scripts.audit import licenses


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        pytest.param([{"expression": "MIT OR Apache-2.0"}], "MIT OR Apache-2.0", id="expression"),
        pytest.param([{"license": {"id": "MIT"}}], "MIT", id="identifier"),
        pytest.param(
            [{"license": {"id": "BSD-3-Clause"}}, {"license": {"name": "License :: OSI Approved :: BSD License"}}],
            "BSD License; BSD-3-Clause",
            id="classifier",
        ),
        pytest.param([{"license": {"name": "My License\n\nPermission is ..."}}], "My License", id="whole text"),
        pytest.param([{"license": {}}], "unknown", id="nothing in it"),
        pytest.param([{"license": {"name": " "}}], "unknown", id="blank"),
        pytest.param([], "unknown", id="none"),
    ],
)
def test_each_package_has_its_license_in_one_line(given: list[dict[str, Any]], shown: str) -> None:
    assert list(licenses({"components": [{"name": "tiny", "version": "1.0", "licenses": given}]})) == [
        ("tiny", "1.0", shown)
    ]


def test_packages_are_in_order() -> None:
    components = [{"name": name} for name in ("zope", "authlib")]

    assert [name for name, _, _ in licenses({"components": components})] == ["authlib", "zope"]
