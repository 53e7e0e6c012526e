"""What happens below HTTP: real sockets that refuse, hang up, speak rubbish or show the wrong certificate."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from airflow_provider_drchrono.client import (
    AsyncDrChronoClient,
    ConfigurationError,
    ConnectionFailedError,
    DrChronoClient,
    DrChronoError,
    MemoryTokenStore,
    RequestTimeoutError,
    TlsError,
    Token,
    UnexpectedAnswerError,
    grant_id_of,
)
from airflow_provider_drchrono.client.transport import Failure, HttpClient
from tests.support.certificates import self_signed
from tests.unit.client.servers import Reply, ScriptedApi
from tests.unit.client.support import settings_for

STORE = MemoryTokenStore(Token("access", grant_id=grant_id_of("refresh-0")))


@contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Accepts connections and leaves each to ``talk``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    talk(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed, with its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "both.pem"
    path.write_text("".join(Path(each).read_text() for each in self_signed(folder)))
    return path


@pytest.fixture(scope="module")
def tls_server(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n{"id": 1}')

    with raw_server(talk) as address:
        yield f"https://{address}"


def read(url: str, **changes: object) -> object:
    settings = settings_for(url, **{"max_attempts": 2, **changes})
    with DrChronoClient(settings, token_store=STORE) as client:
        return client.read("patients", 1)


def read_async(url: str, **changes: object) -> object:
    async def ask() -> object:
        settings = settings_for(url, **{"max_attempts": 2, **changes})
        async with AsyncDrChronoClient(settings, token_store=STORE) as client:
            return await client.read("patients", 1)

    return asyncio.run(ask())


both = pytest.mark.parametrize("read", [read, read_async], ids=["sync", "async"])
Read = Callable[..., object]


@both
def test_a_certificate_that_nobody_signed_is_refused(tls_server: str, read: Read) -> None:
    with pytest.raises(TlsError, match=r"patients_read: https://127.* \(TLS\); .*ca_bundle") as caught:
        read(tls_server)
    assert not caught.value.transient
    assert caught.value.operation_id == "patients_read"


@both
def test_a_certificate_authority_can_be_named(tls_server: str, certificate: Path, read: Read) -> None:
    assert read(tls_server, ca_bundle=str(certificate)) == {"id": 1}


@both
def test_a_certificate_authority_that_has_changed_is_read_again(
    tls_server: str, certificate: Path, tmp_path: Path, read: Read
) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_bytes(certificate.read_bytes())
    assert read(tls_server, ca_bundle=str(bundle)) == {"id": 1}

    bundle.write_text("no certificate")

    with pytest.raises(ConfigurationError, match="ca_bundle"):
        read(tls_server, ca_bundle=str(bundle))


@both
def test_verification_can_be_switched_off_and_each_client_warns_once(
    tls_server: str, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    assert read(tls_server, verify_tls=False) == {"id": 1}
    assert caplog.text.count("verify_tls is off") == 1
    read(tls_server, verify_tls=False)
    assert caplog.text.count("verify_tls is off") == 2


def test_the_token_endpoint_verifies_too(tls_server: str) -> None:
    with (
        DrChronoClient(settings_for(tls_server)) as client,
        pytest.raises(TlsError, match="Renewing the token: "),
    ):
        client.current_user()


def test_a_bundle_without_certificates_is_refused(tmp_path: Path) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"ca_bundle.*no certificates in PEM form"):
        DrChronoClient(settings_for("https://127.0.0.1", ca_bundle=str(bundle)))


@both
@pytest.mark.parametrize("cookie", ["session=somebody", "session=\xe9"])
def test_cookies_are_not_kept(api: ScriptedApi, read: Read, cookie: str) -> None:
    # The answer that sets it is a failure, so that the same client asks again.
    api.script += [Reply(503, headers={"Set-Cookie": cookie}), Reply(body={"id": 1})]
    assert read(api.url) == {"id": 1}
    assert len(api.seen) == 2
    assert not any("cookie" in each.headers for each in api.seen)


@both
@pytest.mark.parametrize("answer", [None, [], [{"id": 1}], "x", 1])
def test_a_read_that_is_answered_with_no_record(api: ScriptedApi, read: Read, answer: object) -> None:
    api.script += [Reply(body=answer)]
    with pytest.raises(UnexpectedAnswerError, match="patients_read: the answer holds no record; try later") as caught:
        read(api.url)
    assert caught.value.transient


@both
def test_plain_http_where_tls_is_expected(api: ScriptedApi, read: Read) -> None:
    with pytest.raises(TlsError):
        read(api.url.replace("http://", "https://"))


@both
def test_a_port_where_nobody_listens(read: Read) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(ConnectionFailedError, match=r"no connection to .*firewall") as caught:
        read(f"http://127.0.0.1:{port}")
    assert caught.value.transient


@both
def test_an_unknown_host(read: Read) -> None:
    with pytest.raises(ConnectionFailedError, match=r"host of https://drchrono.invalid is not known.*DNS"):
        read("https://drchrono.invalid")


def test_a_post_that_never_left_is_repeated_and_not_in_doubt() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    settings = settings_for(f"http://127.0.0.1:{port}", max_attempts=3)
    with (
        DrChronoClient(settings, token_store=STORE) as client,
        pytest.raises(ConnectionFailedError) as caught,
    ):
        client.create("patients", {"first_name": "x"})
    assert caught.value.transient
    assert "do it again" not in str(caught.value)
    assert client.calls == 0


def test_a_server_that_accepts_and_never_answers_the_handshake() -> None:
    done = threading.Event()
    with raw_server(lambda _: done.wait(10) and None) as address:
        began = time.monotonic()
        with pytest.raises(RequestTimeoutError, match=r"0.2 s \(connect_timeout\)"):
            read(f"https://{address}", connect_timeout=0.2, max_attempts=1)
        assert time.monotonic() - began < 5
        done.set()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(b"\x00\xff rubbish \r\n\r\n", ConnectionFailedError, id="rubbish"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", ConnectionFailedError, id="half-a-body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionFailedError, id="half-a-head"),
        pytest.param(b"", ConnectionFailedError, id="nothing"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nrubb",
            UnexpectedAnswerError,
            id="broken-gzip",
        ),
    ],
)
@both
def test_rubbish_on_the_wire_is_repeated_then_reported(answer: bytes, error: type[DrChronoError], read: Read) -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.sendall(answer)

    with raw_server(talk) as address, pytest.raises(error, match="try later") as caught:
        read(f"http://{address}")
    assert len(asked) == 2
    assert caught.value.transient


def test_a_connection_that_breaks_while_a_post_is_sent_leaves_it_in_doubt() -> None:
    asked: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        asked.append(connection.recv(1000))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")

    with raw_server(talk) as address:
        settings = settings_for(f"http://{address}")
        with (
            DrChronoClient(settings, token_store=STORE) as client,
            pytest.raises(ConnectionFailedError, match="look before you do it again"),
        ):
            client.create("documents", {"description": "x"}, files={"document": b"x" * 20_000_000})
        assert client.calls == 1
    assert len(asked) == 1


def test_an_address_that_is_none_is_not_sent() -> None:
    client = HttpClient(settings_for("http://127.0.0.1:9"))
    assert client.send("GET", "http://\x00/") == Failure("connect", sent=False)
    client.close()
