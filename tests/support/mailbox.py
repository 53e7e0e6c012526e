"""A mail server on loopback: enough of SMTP for a client to leave mails with it."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage


class Mailbox:
    """Keeps the mails that arrive. A context manager; ``port`` is where it listens.

    :param refusals: so many mails, the first ones, are refused for now.
    """

    def __init__(self, refusals: int = 0) -> None:
        self.mails: list[EmailMessage] = []
        self.refusals = refusals
        mailbox = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 mailbox")
                for line in iter(self.rfile.readline, b""):
                    verb = line[:4].upper().strip()
                    if verb == b"DATA":
                        self.say("354 go on")
                        mail = b"".join(iter(self.rfile.readline, b".\r\n"))
                        self.say(mailbox.take(mail))
                    else:
                        self.say("221 bye" if verb == b"QUIT" else "250 mailbox")

            def say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]

    def take(self, mail: bytes) -> str:
        """Keep a mail, unless it is to be refused; return the answer."""
        if self.refusals:
            self.refusals -= 1
            return "451 try again later"
        found = email.message_from_bytes(mail, policy=email.policy.default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        return "250 kept"

    def __enter__(self) -> Mailbox:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._server.shutdown()
        self._server.server_close()
