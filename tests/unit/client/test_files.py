import io
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_drchrono.client import InvalidArgumentError
from airflow_provider_drchrono.client.files import CHUNK, Multipart, open_upload

CONTENT = bytes(range(256)) * 1000


def parts_of(body: Multipart) -> list[Message]:
    """Read the body as another program would."""
    content = b"".join(body.chunks())
    assert len(content) == body.length
    message = message_from_bytes(f"Content-Type: {body.content_type}\r\n\r\n".encode() + content)
    parts = message.get_payload()
    assert isinstance(parts, list)
    return parts  # type: ignore[return-value]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "scan.pdf"
    file.write_bytes(CONTENT)
    return file


@pytest.mark.parametrize("kind", ["path", "text-path", "bytes", "file", "named-bytes"])
def test_all_kinds_of_files_arrive_whole(path: Path, kind: str) -> None:
    with path.open("rb") as file:
        argument: Any = {
            "path": path,
            "text-path": str(path),
            "bytes": CONTENT,
            "file": file,
            "named-bytes": ("scan.pdf", CONTENT),
        }[kind]
        (part,) = parts_of(Multipart({}, (open_upload("document", argument),)))
    assert part.get_payload(decode=True) == CONTENT
    assert part.get_param("name", header="content-disposition") == "document"
    assert part.get_filename() == ("document" if kind == "bytes" else "scan.pdf")
    assert part.get_content_type() == ("application/octet-stream" if kind == "bytes" else "application/pdf")


def test_fields_come_before_files_and_any_text_survives(path: Path) -> None:
    body = Multipart({"note": "Zoë\r\n--x", "empty": ""}, (open_upload("document", path),))
    note, empty, document = parts_of(body)
    assert note.get_payload(decode=True) == "Zoë\r\n--x".encode()
    assert empty.get_payload(decode=True) == b""
    assert document.get_filename() == "scan.pdf"


def test_a_body_can_be_sent_again_and_a_file_is_read_from_where_it_stood() -> None:
    file = io.BytesIO(b"skipped" + CONTENT)
    file.seek(7)
    body = Multipart({"a": "b"}, (open_upload("document", file),))
    first = b"".join(body.chunks())
    assert first == b"".join(body.chunks())
    assert parts_of(body)[1].get_payload(decode=True) == CONTENT


def test_a_content_type_can_be_given() -> None:
    upload = open_upload("document", ("scan", b"x", "image/tiff"))
    assert (upload.filename, upload.content_type) == ("scan", "image/tiff")


def test_names_cannot_break_out_of_their_header() -> None:
    upload = open_upload("document", ('a"; x="\r\nEvil: 1.pdf', b"x"))
    (part,) = parts_of(Multipart({}, (upload,)))
    assert part["Evil"] is None
    assert part.get_payload(decode=True) == b"x"


class _Pipe(io.RawIOBase):
    def readable(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        pytest.param("/nowhere/at-all.pdf", "cannot be read", id="missing"),
        pytest.param("/", "cannot be read", id="folder"),
        pytest.param(7, "is a int", id="number"),
        pytest.param(io.StringIO("text"), "open as text", id="text-file"),
        pytest.param(_Pipe(), "cannot be read twice", id="pipe"),
        pytest.param(("only-a-name",), "is not understood", id="short-tuple"),
        pytest.param((b"x", "name"), "is not understood", id="swapped-tuple"),
        pytest.param(("n", b"x", "text/plain\r\nEvil: 1"), "line break", id="evil-content-type"),
    ],
)
def test_what_cannot_be_uploaded_is_refused(argument: Any, says: str) -> None:
    with pytest.raises(InvalidArgumentError, match=says):
        open_upload("document", argument)


def test_a_large_file_is_never_held_whole(path: Path) -> None:
    body = Multipart({}, (open_upload("document", path),))
    assert max(len(each) for each in body.chunks()) == CHUNK


def test_a_file_that_shrinks_is_noticed(path: Path) -> None:
    body = Multipart({}, (open_upload("document", path),))
    path.write_bytes(b"short")
    with pytest.raises(InvalidArgumentError, match="became shorter"):
        list(body.chunks())
