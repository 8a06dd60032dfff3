# SPDX-License-Identifier: MIT
"""stream_client against servers that are not weft: test_client.py PROGRAM CLASS..."""
import errno
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

import servers
from servers import FACTOR, WAIT, Process, reset

E_TLS = -5010
E_RESOLVE = -5011


class Peer:
    """A server in a thread of the test: what(connection) for each connection."""

    def __init__(self, what):
        self.what = what
        self.failure = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(WAIT)
                with sock:
                    self.what(sock)
        except OSError as error:  # also the end: the listener was shut down
            self.failure = error

    def close(self):
        """Ends it."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join(WAIT)
        self.listener.close()


class ClientCase(unittest.TestCase):
    """Runs the client and looks at what it says."""

    PROGRAM = None

    def peer(self, what):
        """A Peer for the length of the test; its address."""
        peer = Peer(what)
        self.addCleanup(peer.close)
        return peer.address

    def run_client(self, address, *options):
        """All lines of a client."""
        done = subprocess.run([self.PROGRAM, address, *options], capture_output=True, check=False,
                              timeout=6 * WAIT)
        text = done.stdout.decode("latin-1") + done.stderr.decode("latin-1")
        self.assertEqual(done.returncode, 0, text)
        self.assertIsNone(servers.COMPLAINT.search(text), text)
        return text

    def assert_closed(self, text, *statuses):
        """The connection ended with one of these, in one CLOSED."""
        found = re.findall(r"(?m)^closed (-?\d+) ", text)
        self.assertEqual(len(found), 1, text)
        self.assertIn(int(found[0]), statuses, text)

    def assert_why(self, text, pattern, alert=None):
        """What weft_tls_error said."""
        found = re.search(r"(?m)^why alert=(-?\d+) (.+)$", text)
        self.assertIsNotNone(found, text)
        self.assertRegex(found.group(2).lower(), pattern, text)
        if alert is not None:
            self.assertIn(int(found.group(1)), alert, text)


class Plain(ClientCase):
    """TCP."""

    @staticmethod
    def echo(sock):
        """Until the client ends."""
        while data := sock.recv(65536):
            sock.sendall(data)

    def test_an_echo(self):
        text = self.run_client(self.peer(self.echo), "--send", "hello", "--until", "hello")
        self.assertEqual(text.splitlines()[0], "open")
        self.assertIn("received all", text)
        self.assert_closed(text, 0)

    def test_a_name_is_looked_up(self):
        port = self.peer(self.echo).split(":")[1]
        text = self.run_client(f"localhost:{port}", "--send", "hello", "--until", "hello")
        self.assert_closed(text, 0)

    def test_half_close(self):
        text = self.run_client(self.peer(self.echo), "--send", "hello" * 1000, "--end")
        self.assertEqual(sum(map(int, re.findall(r"(?m)^data (\d+)$", text))), 5000)
        self.assertIn("end\n", text)
        self.assert_closed(text, 0)

    def test_abort(self):
        seen = []

        def expect_reset(sock):
            try:
                while data := sock.recv(1000):
                    sock.sendall(data)
                seen.append("end")
            except ConnectionResetError:
                seen.append("reset")

        text = self.run_client(self.peer(expect_reset), "--send", "x", "--until", "x", "--abort")
        self.assert_closed(text, -errno.ECONNABORTED)
        servers.wait_until(lambda: seen == ["reset"], f"the reset: {seen}")

    def test_nobody_listens(self):
        text = self.run_client(f"127.0.0.1:{servers.free_port()}")
        self.assert_closed(text, -errno.ECONNREFUSED)
        self.assertNotIn("open", text)

    def test_a_name_that_is_none(self):
        self.assert_closed(self.run_client("no-such-host.invalid:80"), E_RESOLVE)

    def test_nobody_answers(self):
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            filling = []
            try:
                for _ in range(4):  # of which the first fill the queue
                    sock = socket.socket()
                    sock.setblocking(False)
                    sock.connect_ex(full.getsockname())
                    filling.append(sock)
                started = time.monotonic()
                text = self.run_client("127.0.0.1:%d" % full.getsockname()[1], "--timeout", "500")
                self.assert_closed(text, -errno.ETIMEDOUT)
                self.assertLess(time.monotonic() - started, 8)  # the default takes 10 s
            finally:
                for sock in filling:
                    sock.close()

    def test_the_server_ends_at_once(self):
        text = self.run_client(self.peer(lambda sock: None), "--until", "never")
        self.assertIn("end\n", text)
        self.assert_closed(text, 0)

    def test_the_server_resets(self):
        for what in (reset, lambda sock: (sock.recv(1), reset(sock))):
            text = self.run_client(self.peer(what), "--send", "hello", "--until", "never")
            self.assert_closed(text, -errno.ECONNRESET)


class OpensslServer(Process):
    """openssl s_server on a free port."""

    def __init__(self, certificate, key, *options):
        # Without a port it chooses one, which nobody else can take meanwhile, and says which.
        super().__init__(["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", certificate,
                          "-key", key, *options], stdin=subprocess.PIPE)
        self.port = int(self.wait_for(r"ACCEPT \S+:(\d+)").group(1))
        self.address = f"127.0.0.1:{self.port}"

    def say(self, text):
        """A line on its standard input."""
        self.child.stdin.write(text)
        self.child.stdin.flush()


class Tls(ClientCase):
    """TLS 1.3 with openssl s_server and with Python."""

    @classmethod
    def setUpClass(cls):
        cls.authority = servers.Certificates()
        cls.other = servers.Certificates("another CA")
        cls.certificate, cls.key = cls.authority.make("server")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()
        cls.other.close()

    def serve(self, *options, certificate=None, key=None):
        """An s_server for the length of the test."""
        server = OpensslServer(certificate or self.certificate, key or self.key, *options)
        self.addCleanup(server.kill)
        return server

    def connect(self, address, *options, ca=True):
        """What a client with TLS says."""
        trust = ["--ca", self.authority.ca] if ca else []
        return self.run_client(address, "--tls", *trust, *options)

    def python_server(self, what):
        """A Peer that speaks TLS 1.3: what(connection)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.certificate, self.key)
        return self.peer(lambda sock: what(context.wrap_socket(sock, server_side=True)))

    # ---- what works

    def test_reversed_lines(self):
        for kind in servers.KEY_KINDS:
            certificate, key = self.authority.make("kind", kind=kind)
            server = self.serve("-rev", "-tls1_3", certificate=certificate, key=key)
            text = self.connect(server.address, "--send", "hello weft\n", "--until", "tfew olleh")
            self.assert_closed(text, 0)
            self.assertRegex(text, r"tls TLS13-\S+ alpn= verified=1 peer="
                             + servers.fingerprint(certificate))

    def test_a_page(self):
        server = self.serve("-www")
        text = self.connect(server.address, "--send", "GET / HTTP/1.0\r\n\r\n", "--until",
                            "</html>")
        self.assert_closed(text, 0)

    def test_every_suite_and_group(self):
        for options in (["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
                        ["-ciphersuites", "TLS_AES_256_GCM_SHA384"],
                        ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
                        ["-groups", "P-256"], ["-groups", "X25519"], ["-num_tickets", "0"]):
            server = self.serve("-rev", *options)
            text = self.connect(server.address, "--send", "hello\n", "--until", "olleh")
            self.assert_closed(text, 0)

    def test_alpn(self):
        server = self.serve("-rev", "-alpn", "h2,http/1.1")
        text = self.connect(server.address, "--alpn", "http/1.1", "--send", "a\n", "--until", "a")
        self.assertIn("alpn=http/1.1", text)
        self.assert_closed(text, 0)
        text = self.connect(server.address, "--alpn", "other", "--send", "a\n", "--until", "a")
        self.assert_closed(text, E_TLS)

    def test_key_updates_of_the_server(self):
        server = self.serve("-tls1_3")
        client = Process([self.PROGRAM, server.address, "--tls", "--ca", self.authority.ca,
                          "--send", "hello\n", "--until", "the end"])
        self.addCleanup(client.kill)
        server.wait_for("hello")
        for command in (b"k\n", b"K\n", b"k\n"):
            server.say(command)
            time.sleep(0.2)
            server.say(b"some more\n")
        time.sleep(0.2)
        server.say(b"the end\n")
        client.wait_for("received all")
        self.assertEqual(client.wait(), 0)
        self.assert_closed(client.text, 0)

    def test_client_certificates(self):
        server = self.serve("-rev", "-Verify", "1", "-verify_return_error", "-CAfile",
                            self.authority.ca)
        certificate, key = self.authority.make("client", names="DNS:client")
        text = self.connect(server.address, "--cert", certificate, "--key", key, "--send", "ab\n",
                            "--until", "ba")
        self.assert_closed(text, 0)
        text = self.connect(server.address, "--send", "ab\n", "--until", "ba")
        self.assert_closed(text, E_TLS)
        self.assert_why(text, "certificate", {116, 40})

    def test_without_verification(self):
        server = self.serve("-rev")
        text = self.connect(server.address, "--insecure", "--send", "ab\n", "--until", "ba",
                            ca=False)
        self.assertIn("verified=0", text)
        self.assert_closed(text, 0)

    # ---- what must not work

    def test_a_ca_nobody_knows(self):
        server = self.serve("-rev")
        text = self.run_client(server.address, "--tls", "--ca", self.other.ca)
        self.assert_closed(text, E_TLS)
        self.assert_why(text, "ca\\b|authority|issuer|signer|trust", {48, 42, 46})
        self.assertNotIn("open", text)

    def test_the_cas_of_the_system(self):
        text = self.connect(self.serve("-rev").address, ca=False)
        self.assert_closed(text, E_TLS)
        self.assertNotIn("open", text)

    def test_another_name(self):
        server = self.serve("-rev")
        text = self.connect(server.address, "--name", "elsewhere.example")
        self.assert_closed(text, E_TLS)
        self.assert_why(text, "name|domain|host")
        text = self.connect(server.address, "--name", "localhost", "--send", "ab\n", "--until",
                            "ba")
        self.assert_closed(text, 0)

    def test_a_name_that_only_looks_like_it(self):
        """No address by a name, no wildcard but a whole first label, no common name (RFC 9525)."""
        for common, names, name in (("a", "DNS:127.0.0.1,DNS:*.0.0.1", "127.0.0.1"),
                                    ("127.0.0.1", "email:a@b.example", "127.0.0.1"),
                                    ("localhost", "DNS:*,DNS:l*,IP:127.0.0.1", "localhost"),
                                    ("a", "DNS:*.*.test,DNS:*.test", "a.b.test")):
            certificate, key = self.authority.make(common, names=names)
            server = self.serve("-rev", certificate=certificate, key=key)
            text = self.connect(server.address, "--name", name)
            self.assert_closed(text, E_TLS)
            self.assert_why(text, f"certificate is for another name than {name}", {42})
            self.assertNotIn("open", text)

    def test_an_expired_certificate(self):
        certificate, key = self.authority.make("late", expired=True)
        text = self.connect(self.serve("-rev", certificate=certificate, key=key).address)
        self.assert_closed(text, E_TLS)
        self.assert_why(text, "expired|date|time", {45, 42, 46})

    def test_a_server_of_1_2(self):
        text = self.connect(self.serve("-tls1_2").address)
        self.assert_closed(text, E_TLS)
        self.assert_why(text, "version|1\\.2|1\\.3", {70})

    def test_no_common_suite_or_group(self):
        for options in (["-ciphersuites", "TLS_AES_128_CCM_SHA256"], ["-groups", "X448"]):
            text = self.connect(self.serve("-tls1_3", *options).address)
            self.assert_closed(text, E_TLS)
            self.assert_why(text, ".", {40, 47})

    def test_garbage(self):
        for data in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, os.urandom(3000),
                     b"\x16\x03\x03\xff\xff" + b"\1" * 100, b"\x17\x03\x03\x00\x20" + b"\1" * 100,
                     b"\x16\x03\x03\x00\x00", b"\x16\x03\x03\x00\x04\x0e\x00\x00\x00"):
            def speak(sock, data=data):
                sock.recv(10000)
                sock.sendall(data)
                servers.receive_all(sock)

            text = self.connect(self.peer(speak))
            self.assert_closed(text, E_TLS)
            self.assert_why(text, ".")

    def test_a_server_that_never_answers(self):
        started = time.monotonic()
        text = self.connect(self.peer(servers.receive_all), "--handshake", "500")
        self.assert_closed(text, -errno.ETIMEDOUT)
        self.assertLess(time.monotonic() - started, 8)  # the default takes 10 s

    def test_a_server_that_ends_at_once(self):
        for what in (lambda sock: None, lambda sock: sock.recv(10000)):
            text = self.connect(self.peer(what))
            self.assert_closed(text, E_TLS, -errno.ECONNRESET)
            self.assertNotIn("open", text)

    def test_a_server_that_resets(self):
        text = self.connect(self.peer(lambda sock: (sock.recv(10000), reset(sock))))
        self.assert_closed(text, -errno.ECONNRESET)

    def test_an_end_without_goodbye(self):
        """Cutting a connection must not look like its end (a truncation attack)."""
        def cut(sock):
            sock.sendall(b"half of the ")
            sock.recv(100)
            sock.detach()  # nothing is said, see below

        def cut_below(sock):
            raw = socket.socket(fileno=os.dup(sock.fileno()))
            cut(sock)
            raw.shutdown(socket.SHUT_WR)
            servers.receive_all(raw)
            raw.close()

        text = self.connect(self.python_server(cut_below), "--send", "x", "--until", "whole")
        self.assert_closed(text, E_TLS, -errno.ECONNRESET)
        self.assertNotIn("\nend\n", text)

    def test_a_goodbye(self):
        def answer(sock):
            sock.sendall(b"everything" + sock.recv(100))
            sock.unwrap()

        text = self.connect(self.python_server(answer), "--send", "x", "--until", "whole")
        self.assertIn("\nend\n", text)
        self.assert_closed(text, 0)


if __name__ == "__main__":
    servers.main(sys.modules[__name__])
