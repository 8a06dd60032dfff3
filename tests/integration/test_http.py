# SPDX-License-Identifier: MIT
"""examples/http against curl, wrk and raw sockets: test_http.py PROGRAM CLASS..."""
import calendar
import re
import socket
import ssl
import subprocess
import sys
import time

import servers
from servers import FACTOR, SOON, WAIT, Case, receive, receive_all

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
BODY = b"weft answers every request with these sixty-four bytes of text.\n"
FIELDS = ["Server", "Date", "Content-Type", "Content-Length", "Connection"]  # nginx's, in order


class Answer:
    """One answer, read from a file object."""

    def __init__(self, file, head_only=False):
        self.status_line = file.readline().decode().rstrip("\r\n")
        self.status = int(self.status_line.split(" ")[1]) if self.status_line else 0
        self.names, self.fields = [], {}
        while line := file.readline().decode().rstrip("\r\n"):
            name, value = line.split(": ", 1)
            self.names.append(name)
            self.fields[name] = value
        size = int(self.fields.get("Content-Length", "0"))
        self.body = b"" if head_only else file.read(size)


def run(*arguments, seconds=WAIT):
    """Runs a tool, which must succeed; what it printed."""
    done = subprocess.run(arguments, capture_output=True, check=False, timeout=seconds)
    if done.returncode != 0:
        raise AssertionError(f"{arguments}: {done.returncode}\n{done.stderr.decode()}")
    return done.stdout


class Requests:
    """The tests, for plain connections and for TLS. Mixed into a Case."""

    SCHEME = "http"

    def connect(self):
        """A connection that can be spoken on."""
        return self.server.connect()

    def curl(self, *arguments):
        """curl with what it needs to trust the server; what it printed."""
        return run("curl", "--silent", "--show-error", "--max-time", str(WAIT), *arguments)

    def url(self, path="/"):
        """Where the server is."""
        return f"{self.SCHEME}://localhost:{self.server.port}{path}"

    def ask(self, data):
        """Status of the first answer to data, and that the connection then ends."""
        with self.connect() as sock:
            sock.sendall(data)
            file = sock.makefile("rb")
            answer = Answer(file)
            self.assertEqual(file.read(), b"", "the connection must end after this answer")
            return answer.status

    def assert_alive(self):
        """A good client is served at once."""
        started = time.monotonic()
        with self.connect() as sock:
            sock.sendall(GET)
            self.assertEqual(Answer(sock.makefile("rb")).status, 200)
        self.assertLess(time.monotonic() - started, SOON)

    def test_curl_gets_the_text(self):
        self.assertEqual(self.curl(self.url("/any/path?query=1")), BODY)

    def test_curl_keeps_the_connection(self):
        text = self.curl("--verbose", "--stderr", "-", self.url("/1"), self.url("/2"))
        self.assertEqual(text.count(BODY), 2)
        self.assertIn(b"Re-using existing connection", text)

    def test_curl_head(self):
        text = self.curl("--head", self.url()).decode()
        self.assertTrue(text.startswith("HTTP/1.1 200 OK\r\n"), text)
        self.assertIn("Content-Length: 64\r\n", text)

    def test_curl_posts(self):
        text = self.curl("--data", "x" * 100000, "--write-out", "%{http_code}", self.url())
        self.assertEqual(text, b"405")

    def test_the_fields_are_those_of_nginx(self):
        with self.connect() as sock:
            sock.sendall(GET)
            answer = Answer(sock.makefile("rb"))
        self.assertEqual((answer.status_line, answer.names), ("HTTP/1.1 200 OK", FIELDS))
        self.assertEqual((answer.body, answer.fields["Server"]), (BODY, "weft"))
        self.assertEqual(answer.fields["Connection"], "keep-alive")
        self.assertEqual(answer.fields["Content-Type"], "text/plain")

    def test_the_date_is_right_and_goes_on(self):
        with self.connect() as sock:
            file = sock.makefile("rb")
            for _ in range(2):
                before = time.time()
                sock.sendall(GET)
                date = Answer(file).fields["Date"]
                told = calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
                self.assertGreaterEqual(told, before - 5, date)  # it is made once a second
                self.assertLessEqual(told, time.time(), date)
                time.sleep(1)

    def test_100_pipelined_requests_are_answered_together(self):
        with self.connect() as sock:
            file = sock.makefile("rb")
            for _ in range(3):
                sock.sendall(GET * 100)
                for _ in range(100):
                    answer = Answer(file)
                    self.assertEqual((answer.status, answer.body), (200, BODY))

    def test_pieces_of_every_size(self):
        post = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(GET)
        data = (GET + post + GET + b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
        for size in (1, 2, 3, 7, 20, 36, 37, 38, 100):
            with self.connect() as sock:
                file = sock.makefile("rb")
                for at in range(0, len(data), size):
                    sock.sendall(data[at:at + size])
                    if size == 1 and at % 4 == 0:
                        time.sleep(0.001)
                got = [Answer(file, head_only=i == 2).status for i in range(4)]
                self.assertEqual(got, [200, 405, 200, 200], size)

    def test_bodies_are_skipped(self):
        for size in (1, 100, 100000):
            request = b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
            with self.connect() as sock:
                sock.sendall((request + b"G" * size) * 3 + GET)
                file = sock.makefile("rb")
                self.assertEqual([Answer(file).status for _ in range(4)], [200] * 4)

    def test_connection_close_and_old_clients(self):
        for data in (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n",
                     b"GET / HTTP/1.0\r\n\r\n"):
            self.assertEqual(self.ask(data), 200, data)
            self.assertEqual(self.ask(data + GET), 200, "nothing is answered behind it")
        with self.connect() as sock:
            sock.sendall(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
            file = sock.makefile("rb")
            self.assertEqual([Answer(file).status for _ in range(2)], [200, 200])

    def test_malformed_requests(self):
        for data in (b"\r\n\r\n", b"\0", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", b"GET / HTTP/1.1\nHost: h\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: h\r\nx: \x07\r\n\r\n"):
            self.assertEqual(self.ask(data), 400, data)
        self.assert_alive()

    def test_large_heads(self):
        start = b"GET / HTTP/1.1\r\nHost: h\r\nx: "
        fits = start + b"y" * (8192 - 4 - len(start)) + b"\r\n\r\n"
        with self.connect() as sock:
            sock.sendall(fits)
            self.assertEqual(Answer(sock.makefile("rb")).status, 200)
        self.assertEqual(self.ask(start + b"y" * (8193 - 4 - len(start)) + b"\r\n\r\n"), 431)
        self.assertEqual(self.ask(start + b"y" * 100000), 431)
        self.assert_alive()

    def test_chunked_bodies(self):
        data = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        data += b"1\r\nx\r\n0\r\n\r\n"
        self.assertEqual(self.ask(data + GET), 501)

    def test_requests_without_reading_answers(self):
        with self.connect() as sock:
            sock.settimeout(1)
            try:
                for _ in range(1000):
                    sock.sendall(GET * 1000)
            except TimeoutError:
                pass
            else:
                self.fail("the server read 36 MB while nobody read its answers")
        self.assertLess(self.server.memory_kib(), 200 << 10)
        self.assert_alive()

    def test_wrk_finds_no_error(self):
        text = run("wrk", "-t1", "-c32", "-d2s", "--timeout", "20s", "--latency", self.url(),
                   seconds=WAIT + 25).decode()
        self.assertNotRegex(text, "Socket errors|Non-2xx")
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
        print(f"wrk {self.SCHEME}: {rate:.0f} requests/s", file=sys.stderr)
        self.assertGreater(rate, 500 / FACTOR)

    def test_the_end_in_the_middle_of_load(self):
        load = subprocess.Popen(["wrk", "-t1", "-c32", "-d60s", self.url()],
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            self.server.stop()
        finally:
            load.kill()
            load.wait(WAIT)


class Plain(Requests, Case):
    """http://"""

    def test_a_client_that_ends_early_gets_its_answer(self):
        with self.connect() as sock:
            sock.sendall(GET)
            sock.shutdown(socket.SHUT_WR)
            self.assertTrue(receive_all(sock).endswith(BODY))


class Https(Requests, Case):
    """https://"""

    SCHEME = "https"

    @classmethod
    def setUpClass(cls):
        cls.authority = servers.Certificates()
        cls.certificate, cls.key = cls.authority.make("server")
        cls.context = ssl.create_default_context(cafile=cls.authority.ca)

    @classmethod
    def tearDownClass(cls):
        cls.authority.close()

    def options(self):
        return ["--tls", "--cert", self.certificate, "--key", self.key]

    def connect(self):
        return self.context.wrap_socket(super().connect(), server_hostname="localhost")

    def curl(self, *arguments):
        return super().curl("--cacert", self.authority.ca, *arguments)

    def test_curl_does_not_trust_just_anybody(self):
        with self.assertRaisesRegex(AssertionError, "self.signed|issuer"):
            super().curl(self.url())

    def test_plain_http_is_answered_by_an_end(self):
        with super().connect() as sock:
            sock.sendall(GET)
            self.assertNotIn(b"HTTP", receive_all(sock))
        self.assert_alive()


if __name__ == "__main__":
    servers.main(sys.modules[__name__])
