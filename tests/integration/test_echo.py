# SPDX-License-Identifier: MIT
"""examples/echo against clients good and bad: test_echo.py PROGRAM CLASS..."""
import os
import random
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import unittest

import servers
from servers import (FACTOR, SOON, WAIT, Case, Process, Server, connect, exchange, receive,
                     receive_all, reset)

HANDSHAKE_S = 10  # the default of weft_stream_options.handshake_ns


class Options(unittest.TestCase):
    """The command line."""

    PROGRAM = None

    def run_wrong(self, *options, environment=None):
        """Exit status and output of a run that must not become a server."""
        done = subprocess.run([self.PROGRAM, *options], capture_output=True, check=False,
                              timeout=WAIT, env={**os.environ, **(environment or {})})
        return done.returncode, done.stderr.decode()

    def test_wrong_options_end_with_2_and_say_why(self):
        for options in (["--prot", "1"], ["--port"], ["--port", "x"], ["--port", "70000"],
                        ["--cert", "a", "--key", "b"], ["--tls", "--cert", "a"],
                        ["--tls", "--key", "a"], ["--ca", "a"], ["extra"],
                        ["--address", "nowhere.invalid", "--port", "1"]):
            status, text = self.run_wrong(*options)
            self.assertEqual(status, 2, (options, text))
            self.assertGreater(len(text), 5, options)

    def test_failures_end_with_1_and_say_why(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            status, text = self.run_wrong("--address", "127.0.0.1", "--port", port)
        self.assertEqual(status, 1, text)
        self.assertIn("in use", text)
        status, text = self.run_wrong("--config", "/nonexistent.ini", "--port", "0")
        self.assertEqual(status, 1, text)
        self.assertIn("nonexistent.ini", text)
        status, text = self.run_wrong("--port", "0", environment={"WEFT_SCHEDULER_COUNT": "many"})
        self.assertEqual(status, 1, text)
        self.assertIn("WEFT_SCHEDULER_COUNT", text)

    def test_every_ending_signal_and_a_configuration_file(self):
        with servers.tempfile.NamedTemporaryFile("w", suffix=".ini") as file:
            file.write("[scheduler]\ncount = 1\n")
            file.flush()
            for how in (signal.SIGTERM, signal.SIGINT):
                server = Server(self.PROGRAM, "--config", file.name)
                self.assertIn("1 schedulers, tls off", server.text)
                server.stop(how)

    def test_listens_on_one_address_or_on_all(self):
        server = Server(self.PROGRAM)
        for family in (socket.AF_INET, socket.AF_INET6)[:1 + servers.has_ipv6()]:
            with server.connect(family) as sock:
                self.assertEqual(exchange(sock, b"hello"), b"hello")
        server.stop()
        if not servers.has_ipv6():
            return
        server = Server(self.PROGRAM, "--address", "[::1]")
        with server.connect(socket.AF_INET6) as sock:
            self.assertEqual(exchange(sock, b"hello"), b"hello")
        with self.assertRaises(ConnectionRefusedError):
            server.connect()
        server.stop()


class Plain(Case):
    """TCP."""

    def assert_alive(self):
        """A good client is served at once."""
        started = time.monotonic()
        with self.server.connect() as sock:
            self.assertEqual(exchange(sock, b"still there?"), b"still there?")
        self.assertLess(time.monotonic() - started, SOON)

    def test_a_megabyte(self):
        data = os.urandom(1 << 20)
        with self.server.connect() as sock:
            for window in (1, 100000, 500000):
                self.assertEqual(exchange(sock, data, window), data)

    def test_many_small_ones(self):
        chance = random.Random(1)
        with self.server.connect() as sock:
            for _ in range(1000):
                data = chance.randbytes(chance.randint(1, 100))
                sock.sendall(data)
                self.assertEqual(receive(sock, len(data)), data)

    def test_small_ones_without_waiting(self):
        pieces = [os.urandom(1 + i % 50) for i in range(5000)]
        with self.server.connect() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sender = threading.Thread(target=lambda: [sock.sendall(piece) for piece in pieces])
            sender.start()
            self.assertEqual(receive(sock, sum(map(len, pieces))), b"".join(pieces))
            sender.join()

    def test_half_close(self):
        for size in (0, 1, 100000, 1 << 20):
            data = os.urandom(size)
            with self.server.connect() as sock:
                sender = threading.Thread(
                    target=lambda s=sock, d=data: (s.sendall(d), s.shutdown(socket.SHUT_WR)))
                sender.start()
                self.assertEqual(receive_all(sock), data)
                sender.join()

    def test_200_connections_at_once(self):
        socks = [self.server.connect() for _ in range(200)]
        for i, sock in enumerate(socks):
            sock.sendall(b"%06d" % i * 100)
        for i, sock in reversed(list(enumerate(socks))):
            self.assertEqual(receive(sock, 600), b"%06d" % i * 100)
        before = self.server.descriptors()
        for sock in socks:
            sock.close()
        servers.wait_until(lambda: self.server.descriptors() <= before - 200,
                           "all 200 descriptors closed")

    def test_resets(self):
        for stage in ("connected", "sent", "received", "much unread", "half closed"):
            for _ in range(20):
                sock = self.server.connect()
                if stage == "sent":
                    sock.sendall(b"x" * 1000)
                elif stage == "received":
                    exchange(sock, b"x" * 1000)
                elif stage == "much unread":
                    flood(sock, 300000)
                elif stage == "half closed":
                    sock.sendall(b"x" * 1000)
                    sock.shutdown(socket.SHUT_WR)
                reset(sock)
            self.assert_alive()

    def test_the_end_in_the_middle_of_load(self):
        with Load(self.server.port, 50) as load:
            load.wait_for_bytes(5 << 20)
            self.server.stop()
        self.assertGreater(load.bytes, 0)

    def test_the_end_while_clients_do_not_read(self):
        socks = [self.server.connect() for _ in range(10)]
        for sock in socks:
            flood(sock, 4 << 20)
        self.server.stop(seconds=WAIT + 5)  # the default of linger_ns is in it
        for sock in socks:
            sock.close()


def flood(sock, limit):
    """Sends without reading until the peer takes no more; how much it took."""
    return flood_all([sock], limit)[0]


def flood_all(socks, limit):
    """The same for many at the same time: over when none has taken anything for a while."""
    sent = [0] * len(socks)
    left = {}
    poll = select.poll()
    for i, sock in enumerate(socks):
        sock.setblocking(False)
        poll.register(sock, select.POLLOUT)
        left[sock.fileno()] = i
    while left and (ready := poll.poll(200 * FACTOR)):
        for descriptor, _ in ready:
            i = left[descriptor]
            try:
                sent[i] += socks[i].send(b"z" * min(65536, limit - sent[i]))
            except BlockingIOError:
                pass
            if sent[i] >= limit:
                poll.unregister(descriptor)
                del left[descriptor]
    return sent


class Load:
    """Connections that echo as fast as they can, in threads, until closed."""

    def __init__(self, port, count, wrap=lambda sock: sock):
        self.bytes = 0
        self.over = False
        self.threads = [threading.Thread(target=self._run, args=(wrap(connect("127.0.0.1", port)),),
                                         daemon=True) for _ in range(count)]

    def _run(self, sock):
        data = b"load" * 4096
        try:
            while not self.over:
                sock.sendall(data)
                if len(receive(sock, len(data))) < len(data):
                    break
                self.bytes += len(data)
        except OSError:
            pass
        sock.close()

    def wait_for_bytes(self, count):
        """Waits until the load is on."""
        servers.wait_until(lambda: self.bytes >= count, f"{count} bytes of load")

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        for thread in self.threads:
            thread.join(WAIT)


class Stranded(Case):
    """Clients that never read must not make the server grow."""

    CONNECTIONS = 2000
    FLOODERS = 100
    # send_high, receive_ahead, and what one receive of io_uring may bring beyond them: its ring.
    BYTES_EACH = (256 + 128 + 128 * 16) << 10

    def connect_all(self, reading):
        """Connections; those that shall not read take little into the kernel."""
        socks = []
        for i in range(self.CONNECTIONS):
            sock = socket.socket()
            sock.settimeout(WAIT)
            if i not in reading:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", self.server.port))
            socks.append(sock)
        return socks

    def test_memory_stays_bounded_and_the_others_are_served(self):
        reading = range(0, self.CONNECTIONS, 2)
        before = self.server.memory_kib()
        socks = self.connect_all(set(reading))
        stranded = [sock for i, sock in enumerate(socks) if i % 2 == 1]
        taken = flood_all(stranded[:self.FLOODERS], 64 << 20)
        taken += flood_all(stranded[self.FLOODERS:], 16 << 10)
        self.assertLess(max(taken), 64 << 20, "a flooder was never stopped")
        for i in reading:
            socks[i].sendall(b"%05d" % i * 2000)
        for i in reading:
            self.assertEqual(receive(socks[i], 10000), b"%05d" % i * 2000)
        grown = self.server.memory_kib() - before
        print(f"{self.CONNECTIONS} connections, {sum(taken) >> 20} MiB sent and not read, "
              f"{grown >> 10} MiB grown", file=sys.stderr)
        bound = self.FLOODERS * self.BYTES_EACH + self.CONNECTIONS * (32 << 10)
        self.assertLess(grown << 10, bound * FACTOR)
        for sock in socks:
            reset(sock)
        servers.wait_until(lambda: self.server.descriptors() < 100, "all descriptors closed")
        self.assertEqual(exchange(self.server.connect(), b"end"), b"end")


# ---- TLS -----------------------------------------------------------------------------------------


class TlsCase(Case):
    """A server with a certificate of a CA of the test's own."""

    @classmethod
    def setUpClass(cls):
        cls.authority = servers.Certificates()
        cls.certificate, cls.key = cls.authority.make("server")

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()

    def options(self):
        return ["--tls", "--cert", self.certificate, "--key", self.key]

    def context(self):
        """For Python clients that trust the CA."""
        context = ssl.create_default_context(cafile=self.authority.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return context

    def wrap(self, sock):
        """TLS over a connected socket."""
        return self.context().wrap_socket(sock, server_hostname="localhost")

    def assert_alive(self):
        """A good client is served at once."""
        started = time.monotonic()
        with self.wrap(self.server.connect()) as sock:
            self.assertEqual(exchange(sock, b"still there?"), b"still there?")
        self.assertLess(time.monotonic() - started, SOON)

    def s_client(self, *options):
        """openssl s_client with a pipe into it."""
        client = Process(["openssl", "s_client", "-connect", f"127.0.0.1:{self.server.port}",
                          *options], stdin=subprocess.PIPE)
        self.addCleanup(client.kill)
        return client

    def say(self, client, text):
        """One line into a client, and back."""
        client.child.stdin.write(text.encode() + b"\n")
        client.child.stdin.flush()
        client.wait_for(f"{text}\n")  # anywhere in a line: s_client buffers its own output


class Tls(TlsCase):
    """TLS with good clients and with clients that do not get in."""

    def test_openssl_is_served(self):
        for options in (["-alpn", "none"], ["-ciphersuites", "TLS_AES_128_GCM_SHA256"],
                        ["-ciphersuites", "TLS_AES_256_GCM_SHA384"],
                        ["-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"], ["-groups", "X25519"],
                        ["-groups", "P-256"], ["-servername", "localhost"],
                        ["-groups", "P-384:P-256"]):
            client = self.s_client("-CAfile", self.authority.ca, "-verify_return_error",
                                   "-verify_ip", "127.0.0.1", "-tls1_3", *options)
            self.say(client, "hello")
            self.say(client, "hello again")
            self.assertIn("Verify return code: 0 (ok)", client.text, options)
            client.child.stdin.write(b"Q\n")
            client.child.stdin.flush()
            self.assertEqual(client.wait(), 0, client.text)

    def test_key_updates_of_the_client(self):
        client = self.s_client("-CAfile", self.authority.ca, "-tls1_3")
        for i, command in enumerate(("k", "K", "k", "K")):
            self.say(client, f"line {i}")
            client.child.stdin.write(command.encode() + b"\n")
            client.child.stdin.flush()
            client.wait_for(f"(?s)(?:KEYUPDATE.*){{{i + 1}}}")
        self.say(client, "after them")

    def test_a_megabyte(self):
        data = os.urandom(1 << 20)
        with self.wrap(self.server.connect()) as sock:
            self.assertEqual(exchange(sock, data, 20000), data)
            self.assertEqual(exchange(sock, data), data)

    def test_the_client_ends_and_gets_the_rest(self):
        data = os.urandom(300000)
        with self.wrap(self.server.connect()) as sock:
            self.assertEqual(exchange(sock, data), data)
            sock.unwrap()  # raises without the close_notify of the server

    def test_100_connections_at_once(self):
        socks = [self.wrap(self.server.connect()) for _ in range(100)]
        for i, sock in enumerate(socks):
            sock.sendall(b"%06d" % i)
        for i, sock in reversed(list(enumerate(socks))):
            self.assertEqual(receive(sock, 6), b"%06d" % i)
            sock.close()

    def test_old_versions_are_refused(self):
        for version in ("-tls1_2", "-tls1_1"):
            client = self.s_client(version, "-cipher", "ALL:@SECLEVEL=0")
            self.assertNotEqual(client.wait(), 0, client.text)
            self.assertRegex(client.text, "alert protocol version|alert number 70")
            self.assert_alive()

    def test_no_common_suite_or_group(self):
        for options in (["-ciphersuites", "TLS_AES_128_CCM_SHA256"], ["-groups", "X448"]):
            client = self.s_client("-tls1_3", *options)
            self.assertNotEqual(client.wait(), 0, client.text)
            self.assertRegex(client.text, "alert handshake failure|no change following hrr")
            self.assert_alive()

    def test_the_end_in_the_middle_of_load(self):
        with Load(self.server.port, 20, self.wrap) as load:
            load.wait_for_bytes(1 << 20)
            self.server.stop()

    def test_reload(self):
        before = servers.fingerprint(self.certificate)
        self.addCleanup(self._restore, self.certificate, self.key)
        with self.wrap(self.server.connect()) as old:
            self._replace(*self.authority.make("second"))
            self.server.child.send_signal(signal.SIGHUP)
            servers.wait_until(lambda: self.shown() != before, "the new certificate")
            second = servers.fingerprint(self.certificate)
            self.assertEqual(self.shown(), second)
            self.assertEqual(exchange(old, b"goes on"), b"goes on")
            with open(self.key, "w", encoding="ascii") as file:
                file.write("no key\n")
            self.server.child.send_signal(signal.SIGHUP)
            self.server.wait_for("the old certificate stays: .")
            self.assertEqual(self.shown(), second)

    def shown(self):
        """Fingerprint of the certificate the server has just now."""
        with self.wrap(self.server.connect()) as sock:
            return digest_of(sock.getpeercert(True))

    def _replace(self, certificate, key):
        os.replace(certificate, self.certificate)
        os.replace(key, self.key)

    def _restore(self, certificate, key):
        made = self.authority.make("server")
        self.assertEqual(made, (certificate, key))


def digest_of(der):
    """SHA-256 of a certificate, as the tools print it."""
    digest = servers.openssl("dgst", "-sha256", "-binary", text=der)
    return ":".join(f"{byte:02X}" for byte in digest)


class SelfSigned(Case):
    """A certificate the server makes for itself."""

    OPTIONS = ("--tls",)

    def test_its_fingerprint_is_said(self):
        said = self.server.wait_for(r"SHA-256 ([0-9A-F:]{95})").group(1)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(self.server.connect()) as sock:
            self.assertEqual(digest_of(sock.getpeercert(True)), said)
            self.assertEqual(exchange(sock, b"hello"), b"hello")

    def test_it_can_be_trusted_by_name(self):
        port = self.server.port
        pem = ssl.get_server_certificate(("127.0.0.1", port))
        context = ssl.create_default_context(cadata=pem)
        with context.wrap_socket(self.server.connect(), server_hostname="localhost") as sock:
            self.assertEqual(exchange(sock, b"hello"), b"hello")


class ClientCertificates(TlsCase):
    """With --ca, only clients with a certificate of that CA."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.other = servers.Certificates("another CA")

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.other.close()

    def options(self):
        return [*super().options(), "--ca", self.authority.ca]

    def context(self):
        context = super().context()
        context.load_cert_chain(*self.authority.make("good"))
        return context

    def refused(self, pattern, *options):
        """s_client must see an alert, and nothing of what it sends come back."""
        client = self.s_client("-tls1_3", "-CAfile", self.authority.ca, *options)
        try:
            client.child.stdin.write(b"let me in\n")
            client.child.stdin.flush()
        except BrokenPipeError:
            pass
        client.wait_for(pattern)
        client.wait()
        self.assertNotIn("let me in", client.text)
        self.assert_alive()

    def test_a_good_one(self):
        for kind in servers.KEY_KINDS:
            certificate, key = self.authority.make("client", names="DNS:client", kind=kind)
            client = self.s_client("-tls1_3", "-CAfile", self.authority.ca, "-cert", certificate,
                                   "-key", key)
            self.say(client, "hello")

    def test_none(self):
        self.refused("alert certificate required|alert number 116")

    def test_of_another_ca(self):
        certificate, key = self.other.make("client")
        self.refused("alert (?:unknown ca|bad certificate|certificate unknown)", "-cert",
                     certificate, "-key", key)

    def test_expired(self):
        certificate, key = self.authority.make("late", expired=True)
        self.refused("alert (?:certificate expired|bad certificate|certificate unknown)", "-cert",
                     certificate, "-key", key)

    def test_signed_by_itself(self):
        certificate, key = self.authority.path("self.pem"), self.authority.path("self.key")
        servers.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-keyout", key, "-out", certificate, "-subj", "/CN=weft test CA")
        self.refused("alert ", "-cert", certificate, "-key", key)


class Hostile(TlsCase):
    """Bytes that are no TLS, or stop being it."""

    def hello(self):
        """The first flight of a client that could go on."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        with self.assertRaises(ssl.SSLWantReadError):
            session.do_handshake()
        return outgoing.read()

    def assert_ended(self, sock, seconds=WAIT):
        """The server closes; returns what it sent before."""
        sock.settimeout(seconds)
        with sock:
            return receive_all(sock)

    def test_garbage(self):
        chance = random.Random(2)
        for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 100, b"\xff" * 100,
                      b"SSH-2.0-OpenSSH_9.2\r\n", chance.randbytes(2000), b"\x16" * 5000):
            sock = self.server.connect()
            sock.sendall(first)
            self.assert_ended(sock)
            self.assert_alive()

    def test_records_with_wrong_headers(self):
        for header in (b"\x16\x03\x01\xff\xff", b"\x16\x03\x01\x40\x01", b"\x16\x03\x01\x00\x00",
                       b"\x17\x03\x03\x00\x10", b"\x14\x03\x03\x00\x01", b"\x16\x05\x01\x00\x10",
                       b"\x15\x03\x01\x00\x02", b"\x18\x03\x03\x00\x10"):
            sock = self.server.connect()
            sock.sendall(header + b"\x01" * 40)
            self.assert_ended(sock)
            self.assert_alive()

    def test_an_oversized_record_after_the_handshake(self):
        for header in (b"\x17\x03\x03\x41\x01", b"\x17\x03\x03\xff\xff", b"\x17\x03\x03\x00\x00",
                       b"\x17\x03\x03\x00\x05", b"\x16\x03\x03\x00\x40", b"\x99\x03\x03\x00\x40"):
            sock = self.server.connect()
            with self.wrap(sock) as wrapped:
                exchange(wrapped, b"good until here")
                raw = socket.socket(fileno=os.dup(wrapped.fileno()))
                raw.settimeout(WAIT)
                raw.sendall(header + b"\x02" * 70)
                self.assert_ended(raw)
            self.assert_alive()

    def test_a_flipped_bit_anywhere_in_the_hello(self):
        hello = self.hello()
        chance = random.Random(3)
        for _ in range(60):
            changed = bytearray(hello)
            changed[chance.randrange(5, len(hello))] ^= 1 << chance.randrange(8)
            sock = self.server.connect()
            sock.sendall(changed)
            sock.shutdown(socket.SHUT_WR)
            self.assert_ended(sock)
        self.assert_alive()

    def test_a_truncated_hello(self):
        hello = self.hello()
        for size in (1, 4, 5, 6, 50, len(hello) - 1):
            for end in (socket.socket.close, reset, lambda sock: sock.shutdown(socket.SHUT_WR)):
                sock = self.server.connect()
                sock.sendall(hello[:size])
                end(sock)
                if sock.fileno() >= 0:
                    self.assert_ended(sock)
        self.assert_alive()

    def test_a_hello_in_single_bytes(self):
        sock = self.server.connect()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self.context().wrap_bio(incoming, outgoing, server_hostname="localhost")
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                for byte in outgoing.read():
                    sock.send(bytes([byte]))
                incoming.write(sock.recv(65536))
        session.write(b"hello")
        for byte in outgoing.read():
            sock.send(bytes([byte]))
        answer = b""
        while len(answer) < 5:
            try:
                answer += session.read(5)
            except ssl.SSLWantReadError:
                incoming.write(sock.recv(65536))
        self.assertEqual(answer, b"hello")
        sock.close()

    def test_resets_at_every_stage(self):
        for stage in ("connected", "half a hello", "hello", "answered", "wrapped", "in use",
                      "much unread"):
            for _ in range(10):
                sock = self.server.connect()
                if stage == "half a hello":
                    sock.sendall(self.hello()[:100])
                elif stage in ("hello", "answered"):
                    sock.sendall(self.hello())
                    if stage == "answered":
                        sock.recv(10)
                elif stage != "connected":
                    sock = self.wrap(sock)
                    if stage == "in use":
                        exchange(sock, b"x" * 10000)
                    elif stage == "much unread":
                        sock.sendall(b"x" * 100000)
                reset(sock)
            self.assert_alive()

    def test_slow_handshakes_are_ended_in_time(self):
        started = time.monotonic()
        hello = self.hello()
        silent, half, slow = (self.server.connect() for _ in range(3))
        half.sendall(hello[:60])
        open_ones = {silent: "silent", half: "half", slow: "slow"}
        at = 0
        while open_ones and time.monotonic() - started < HANDSHAKE_S + WAIT:
            try:
                slow.send(hello[at:at + 1])
                at += 1
            except OSError:
                open_ones.pop(slow, None)
            for sock in select.select(list(open_ones), [], [], 0.5)[0]:
                self.assert_ended(sock)
                open_ones.pop(sock, None)
                self.assertGreater(time.monotonic() - started, HANDSHAKE_S - 1.5)
        self.assertEqual(list(open_ones.values()), [])
        self.assert_alive()


if __name__ == "__main__":
    servers.main(sys.modules[__name__])
