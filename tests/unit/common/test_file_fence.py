"""Which files tasks may use once the deployment names folders; each case is tried by a reader and by a writer."""

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider_drchrono.client import ConfigurationError
from airflow_provider_drchrono.common.arguments import InvalidArgumentError
from airflow_provider_drchrono.common.file_fence import inside_fence, place_of
from airflow_provider_drchrono.common.result_files import write_document, write_records
from airflow_provider_drchrono.common.results import Output
from airflow_provider_drchrono.operators.base.file_arguments import file_source


@pytest.fixture
def roots(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_roots(*each: object, separator: str = ",") -> None:
        monkeypatch.setenv("AIRFLOW__DRCHRONO__ALLOWED_FILE_ROOTS", separator.join(map(str, each)))

    return set_roots


@pytest.fixture
def folder(tmp_path: Path, roots: Any) -> Path:
    """The only folder that tasks may use, with files beside it."""
    inside = tmp_path / "inside"
    (inside / "deeper").mkdir(parents=True)
    (inside / "deeper" / "scan.pdf").write_bytes(b"scan")
    (tmp_path / "secret-canary").write_bytes(b"secret")
    (tmp_path / "inside-not").mkdir()
    (tmp_path / "inside-not" / "secret-canary").write_bytes(b"secret")
    (inside / "link").symlink_to(tmp_path / "secret-canary")
    (inside / "out").symlink_to(tmp_path)
    (inside / "loop").symlink_to(inside / "loop")
    roots(inside)
    return inside


def test_without_a_fence_a_task_may_use_whatever_the_worker_may(tmp_path: Path) -> None:
    (tmp_path / "scan.pdf").write_bytes(b"scan")

    assert file_source(tmp_path / "scan.pdf").size == 4
    assert write_document(str(tmp_path / "report"), "text")["bytes"] == 4


@pytest.mark.parametrize("name", ["deeper/scan.pdf", "deeper/../deeper/scan.pdf", "out/inside/deeper/scan.pdf"])
@pytest.mark.parametrize("scheme", ["", "file://", "local://"])
def test_what_is_inside_can_be_used(folder: Path, name: str, scheme: str) -> None:
    assert file_source(f"{scheme}{folder}/{name}").read_base64() == "c2Nhbg=="
    write_document(f"{scheme}{folder}/{name}", "text")

    assert (folder / "deeper" / "scan.pdf").read_bytes() == b"text"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("../secret-canary", id="up"),
        pytest.param("deeper/../../secret-canary", id="down-and-up"),
        pytest.param("link", id="link"),
        pytest.param("out/secret-canary", id="linked-folder"),
        pytest.param("out/inside-not/secret-canary", id="similar-name"),
        pytest.param("../inside-not/secret-canary", id="similar-name-beside"),
        pytest.param("loop", id="loop"),
        pytest.param("\0", id="null"),
        pytest.param("../is-not-there-canary", id="absent"),
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://", "local://", "simplecache::file://"])
def test_what_is_outside_is_neither_read_nor_written(folder: Path, name: str, scheme: str) -> None:
    path = f"{scheme}{folder}/{name}"
    before = {each: each.read_bytes() for each in folder.parent.rglob("secret-canary")}

    with pytest.raises(ValueError, match=r"outside of the folders that tasks may use; .* allowed_file_roots") as caught:
        file_source(path)
    assert "canary" not in str(caught.value)
    for write in (lambda: write_records(path, [{}]), lambda: write_document(path, "")):
        with pytest.raises(InvalidArgumentError, match="output_path is outside of the folders"):
            write()
    with pytest.raises(InvalidArgumentError, match="output_path is outside of the folders"):
        Output("patients_list", None, 10, None, path)

    assert {each: each.read_bytes() for each in folder.parent.rglob("secret-canary")} == before


def test_a_path_without_a_root_counts_from_the_folder_that_the_worker_is_in(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "deeper")
    assert file_source("scan.pdf").size == 4

    with pytest.raises(ValueError, match="outside"):
        file_source("../../secret-canary")


@pytest.mark.parametrize(
    ("root", "url", "allowed"),
    [
        pytest.param("s3://bucket/a", "s3://bucket/a/b.pdf", True, id="inside"),
        pytest.param("s3://bucket/a/", "s3://aws@bucket/a/b.pdf", True, id="any connection"),
        pytest.param("s3://aws@bucket", "s3://aws@bucket/a", True, id="this connection"),
        pytest.param("s3://", "s3://bucket/a", True, id="any bucket"),
        pytest.param("s3://aws@bucket", "s3://other@bucket/a", False, id="another connection"),
        pytest.param("s3://aws@bucket", "s3://bucket/a", False, id="no connection"),
        pytest.param("s3://bucket/a", "s3://bucket/ab", False, id="similar folder"),
        pytest.param("s3://bucket/a", "s3://bucket-2/a/b", False, id="similar bucket"),
        pytest.param("s3://bucket/a", "s3://bucket/b", False, id="another folder"),
        pytest.param("s3://bucket/a", "gs://bucket/a/b", False, id="another store"),
        pytest.param("s3://bucket/a", "simplecache::s3://bucket/a/b", False, id="chained"),
        pytest.param("s3://bucket/a", "s3://bucket/a/../b", False, id="up"),
        pytest.param("https://files.example/a", "https://files.example/a/b.pdf", True, id="web server"),
        pytest.param("https://files.example/a", "https://files.example/a/%2e%2e/b", False, id="encoded"),
        pytest.param("https://files.example/a", "https://files.example/a/%252e%252e/b", False, id="encoded twice"),
        pytest.param("https://files.example/a", "https://files.example/a/..%2fb", False, id="encoded slash"),
        pytest.param("https://files.example/a", "https://files.example/a/..\\b", False, id="backslash"),
        pytest.param("https://files.example/a", "https://files.example:8080/a/b", False, id="another port"),
        pytest.param("https://files.example/a", "http://169.254.169.254/a/b", False, id="another server"),
        pytest.param("/", "s3://bucket/a", False, id="only local files"),
    ],
)
def test_object_stores_are_judged_by_their_urls(roots: Any, root: str, url: str, allowed: bool) -> None:
    roots(root)
    for place in (place_of(url), ObjectStoragePath(url)):
        if allowed:
            assert inside_fence(place) == place
        else:
            with pytest.raises(ValueError, match="outside of the folders"):
                inside_fence(place)


@pytest.mark.parametrize("separator", [",", ", ", "\n", ",\n  "])
def test_several_folders_can_be_named(tmp_path: Path, roots: Any, separator: str) -> None:
    roots(tmp_path / "a", "s3://bucket/b", f"file://{tmp_path}/c", separator=separator)

    for each in (f"{tmp_path}/a/x", "s3://bucket/b/x", f"{tmp_path}/c/x"):
        inside_fence(place_of(each))
    with pytest.raises(ValueError, match="outside"):
        inside_fence(tmp_path / "d")


def test_a_folder_that_is_a_link_stands_for_what_it_leads_to(tmp_path: Path, roots: Any) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "there")
    roots(tmp_path / "root")

    assert inside_fence(tmp_path / "root" / "x") == (tmp_path / "there" / "x").resolve()


def test_a_folder_that_is_no_absolute_path_is_said_to_be_wrong(tmp_path: Path, roots: Any) -> None:
    roots(tmp_path, "data/files")

    with pytest.raises(ConfigurationError, match=r"allowed_file_roots .* has 'data/files', which is neither"):
        inside_fence(tmp_path / "x")


def test_storage_that_is_not_installed_is_said_before_any_call() -> None:
    with pytest.raises(InvalidArgumentError, match="output_path is on a kind of storage that is not installed"):
        Output("patients_list", None, 10, None, "gopher://canary/x")
