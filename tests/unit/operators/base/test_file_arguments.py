"""Files in all the shapes that a DAG may give them in."""

import base64
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.operators.base.file_arguments import FileSource, file_source, opened

CONTENT = b"%PDF-1.4 content"
CANARY = "canary_ana_lopez"


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / f"{CANARY}.pdf"
    path.write_bytes(CONTENT)
    return path


def shapes(scan: Path) -> dict[str, tuple[Any, str | None]]:
    encoded = base64.b64encode(CONTENT).decode()
    return {
        "path": (scan, scan.name),
        "path as text": (str(scan), scan.name),
        "url": (f"file://{scan}", scan.name),
        "object storage": (ObjectStoragePath(f"file://{scan}"), scan.name),
        "bytes": (CONTENT, None),
        "bytearray": (bytearray(CONTENT), None),
        "named bytes": ({"name": "a.png", "content": CONTENT}, "a.png"),
        "base64": ({"name": "a.png", "content": encoded}, "a.png"),
        "name with folders": ({"name": "../../etc/a.png", "content": encoded}, "a.png"),
        "no name": ({"content": encoded}, None),
    }


@pytest.mark.parametrize("shape", list(shapes(Path("x"))))
def test_a_file_in_any_shape_is_measured_and_sent(scan: Path, shape: str) -> None:
    value, name = shapes(scan)[shape]

    source = file_source(value)

    assert (source.name, source.size) == (name, len(CONTENT))
    assert source.read_base64() == base64.b64encode(CONTENT).decode()
    assert CANARY not in repr(source)
    with opened({"document": source}) as files:
        (sent_name, content, content_type) = files["document"]
        assert sent_name == (name or "document")
        assert content_type == source.content_type
        if isinstance(content, Path):
            assert content.read_bytes() == CONTENT
        elif isinstance(content, bytes):
            assert content == CONTENT
        else:
            assert content.read() == CONTENT
    if hasattr(content, "closed"):
        assert content.closed


def test_the_content_type_follows_from_the_name(scan: Path) -> None:
    assert file_source(scan).content_type == "application/pdf"
    assert file_source({"name": "a.png", "content": CONTENT}).content_type == "image/png"
    assert file_source(CONTENT).content_type == "application/octet-stream"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        pytest.param(f"/nowhere/{CANARY}.pdf", "cannot be read: there is no such file", id="no such path"),
        pytest.param(f"file:///nowhere/{CANARY}.pdf", "cannot be read: there is no such file", id="no such url"),
        pytest.param(
            f"nosuchscheme://{CANARY}/x", "is on a kind of storage that is not installed", id="no such storage"
        ),
        pytest.param("/tmp", "cannot be read: it is a folder", id="folder"),
        pytest.param("", "names no file", id="empty text"),
        pytest.param(b"", "is an empty file", id="empty bytes"),
        pytest.param({"name": "a", "content": CANARY}, "is text but not base64", id="no base64"),
        pytest.param({"name": "a"}, "not one with a name and a content", id="no content"),
        pytest.param({"name": "a", "content": b"x", "path": "y"}, "not one with a name and a content", id="more keys"),
        pytest.param({"name": 3, "content": b"x"}, "not one with a name and a content", id="name is no text"),
        pytest.param({"name": "a", "content": 3}, "has a content of type int", id="content is a number"),
        pytest.param(3, "is a int, not a file", id="number"),
        pytest.param(None, "is a NoneType, not a file", id="none"),
    ],
)
def test_what_is_no_file_is_told_without_its_name(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=r"file|content|folder|storage") as refused:
        file_source(value)

    assert told in str(refused.value)
    assert CANARY not in str(refused.value)
    assert refused.value.__context__ is None


def test_a_source_that_was_checked_is_taken_as_it_is() -> None:
    source = FileSource("a", b"x", 1)
    assert file_source(source) is source
