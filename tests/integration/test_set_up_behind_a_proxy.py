"""Setting up where all downloads go through a proxy that shows certificates of the company's own authority.

The proxy is an index of packages on this machine whose certificate such an authority has signed. The certificates of
the system cannot be exchanged for a test without the rights of an administrator; without them, that test is skipped.
"""

import datetime
import os
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "with_certificates.sh"
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
NAMES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
TOOLS = {"pip": [sys.executable, "-m", "pip"], "uv": [str(Path(sys.executable).parent / "uv"), "pip"]}

pytestmark = pytest.mark.integration


class Index(NamedTuple):
    """An index of packages, and the certificate of the authority that vouches for it."""

    url: str
    authority: Path


def signed(name: str, issuer: str, key: Any, signer: Any, **extensions: x509.ExtensionType) -> bytes:
    """Return a certificate in PEM that is good for two days."""
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
    )
    for each in extensions.values():
        builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = folder / "authority.pem"
    constraints = x509.BasicConstraints(ca=True, path_length=None)
    authority.write_bytes(signed("The company", "The company", authority_key, authority_key, constraints=constraints))
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    shown = folder / "shown.pem"
    text = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    shown.write_bytes(
        signed("127.0.0.1", "The company", key, authority_key, alternative=alternative) + key.private_bytes(*text)
    )

    page = folder / "served" / "simple" / "tiny"
    page.mkdir(parents=True)
    (page / "index.html").write_text('<a href="tiny-1.0-py3-none-any.whl">tiny-1.0-py3-none-any.whl</a>')
    with zipfile.ZipFile(page / "tiny-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny.py", "")
        wheel.writestr("tiny-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        wheel.writestr("tiny-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tiny-1.0.dist-info/RECORD", "")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing of a handshake that the client broke off."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown)
    server = Server(("127.0.0.1", 0), partial(Quiet, directory=str(folder / "served")))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield Index(f"https://127.0.0.1:{server.server_port}/simple/", authority)
    server.shutdown()
    server.server_close()
    thread.join()


def install(tool: str, index: Index, target: Path, prefix: list[str] | None = None, **named: str) -> tuple[bool, str]:
    """Install the package of the index, and return whether that worked, and what was printed.

    :param named: variables of the environment, in place of all that name certificates.
    """
    dropped = ("PIP_", "UV_", *NAMES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment |= {"PIP_CONFIG_FILE": os.devnull, "UV_NO_CONFIG": "1", "NO_PROXY": "127.0.0.1", "PIP_RETRIES": "0"}
    environment |= {"UV_HTTP_RETRIES": "0", "UV_CACHE_DIR": str(target / "cache"), "HOME": str(target)}
    own = ["--quiet", "--no-cache", "--index-url", index.url, "--target", str(target), "tiny"]
    command = [*(prefix or []), str(SCRIPT), sys.executable, *TOOLS[tool], "install", *own]
    done = subprocess.run(command, env=environment | named, capture_output=True, text=True, check=False, timeout=120)
    assert (target / "tiny.py").exists() == (done.returncode == 0)
    return done.returncode == 0, done.stderr


@pytest.mark.parametrize(("tool", "name"), [("pip", "SSL_CERT_FILE"), ("uv", "PIP_CERT"), ("uv", "REQUESTS_CA_BUNDLE")])
def test_each_tool_trusts_what_is_named_for_the_other(index: Index, tmp_path: Path, tool: str, name: str) -> None:
    assert install(tool, index, tmp_path, **{name: str(index.authority)}) == (True, "")


@pytest.mark.parametrize("tool", TOOLS)
def test_both_tools_trust_what_the_configuration_of_pip_names(index: Index, tmp_path: Path, tool: str) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\ncert = {index.authority}\n")

    assert install(tool, index, tmp_path, PIP_CONFIG_FILE=str(tmp_path / "pip.conf")) == (True, "")


def test_an_authority_that_nobody_named_is_not_trusted(index: Index, tmp_path: Path) -> None:
    works, said = install("uv", index, tmp_path)

    assert not works
    assert "certificate: UnknownIssuer" in said


@pytest.mark.parametrize("tool", TOOLS)
def test_both_tools_trust_the_authorities_of_the_system(index: Index, tmp_path: Path, tool: str) -> None:
    """In a view of the file system of their own, in which the system has the company's authority."""
    if not SYSTEM_BUNDLE.exists():
        pytest.skip("the system keeps its certificates elsewhere")
    (tmp_path / "bundle").write_bytes(SYSTEM_BUNDLE.read_bytes() + index.authority.read_bytes())
    separate = ["unshare", "--mount", "sh", "-ec", f'mount --bind "{tmp_path}/bundle" {SYSTEM_BUNDLE}; exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*separate, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only an administrator may see other certificates of the system")

    assert install(tool, index, tmp_path, prefix=separate) == (True, "")
