# SPDX-License-Identifier: MIT
"""Helpers of the integration tests: servers as child processes, certificates, odd clients.

Every wait is bounded. WEFT_TEST_FACTOR makes all bounds longer, for slow builds. Nothing here is
ever skipped: a tool that is missing is a failure.
"""
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

FACTOR = float(os.environ.get("WEFT_TEST_FACTOR", "1"))
WAIT = 10 * FACTOR  # for anything that has to happen
# For what must happen at once, also on a machine that has other things to do, and less than the ten
# seconds that the servers' own time limits take.
SOON = max(5, FACTOR)
COMPLAINT = re.compile(r"(?:Address|Leak|Thread|Memory)Sanitizer|runtime error:|actor\.crash")


def wait_until(condition, what, seconds=WAIT):
    """Waits until condition() is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


class Process:
    """A child process whose output is collected by a thread, so that it can never block on it."""

    def __init__(self, arguments, environment=None, stdin=None):
        self.arguments = arguments
        self.text = ""
        self.changed = threading.Condition()
        self.child = subprocess.Popen(
            arguments, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})})
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            piece = os.read(self.child.stdout.fileno(), 65536)
            with self.changed:
                self.text += piece.decode("latin-1")
                self.changed.notify_all()
            if not piece:
                return

    def wait_for(self, pattern, seconds=WAIT):
        """The match of pattern in the output, as soon as there is one."""
        with self.changed:
            self.changed.wait_for(
                lambda: re.search(pattern, self.text) or not self.reader.is_alive(), seconds)
            found = re.search(pattern, self.text)
        if found is None:
            raise AssertionError(f"{self.arguments}: no {pattern!r} in:\n{self.text}")
        return found

    def wait(self, seconds=WAIT):
        """The exit status; the output is complete then."""
        status = self.child.wait(seconds)
        self.reader.join(seconds)
        return status

    def kill(self):
        """The end, whatever it is doing."""
        self.child.kill()
        self.child.wait()
        self.reader.join(WAIT)
        self.child.stdout.close()
        if self.child.stdin:
            self.child.stdin.close()


class Server(Process):
    """An example server on a free port."""

    def __init__(self, program, *options, environment=None):
        super().__init__([program, "--port", "0", *options], environment)
        try:
            self.port = int(self.wait_for(r"listening on \S+:(\d+),", 3 * WAIT).group(1))
        except AssertionError:
            self.kill()
            raise

    def stop(self, how=signal.SIGTERM, seconds=4 * FACTOR):
        """Ends it, which it must do in time, with status 0 and without a complaint. Waiting for
        clients that do not end would take five seconds, the default of linger_ns."""
        started = time.monotonic()
        self.child.send_signal(how)
        try:
            status = self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"still alive {seconds} s after {how!r}:\n{self.text}") from None
        self.child.stdout.close()
        if status != 0 or COMPLAINT.search(self.text):
            raise AssertionError(f"ended with status {status}:\n{self.text}")
        return time.monotonic() - started

    def memory_kib(self):
        """Resident memory of it."""
        with open(f"/proc/{self.child.pid}/status", encoding="ascii") as status:
            return int(re.search(r"VmRSS:\s*(\d+) kB", status.read()).group(1))

    def descriptors(self):
        """How many file descriptors it has open."""
        return len(os.listdir(f"/proc/{self.child.pid}/fd"))

    def connect(self, family=socket.AF_INET):
        """A plain connection."""
        host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
        return connect(host, self.port, family)


class Case(unittest.TestCase):
    """A test case with one server per test; the subclass sets PROGRAM and OPTIONS."""

    PROGRAM = None
    OPTIONS = ()

    def setUp(self):
        self.server = Server(self.PROGRAM, *self.options())

    def options(self):
        """Command line of the server."""
        return self.OPTIONS

    def tearDown(self):
        if self.server.child.poll() is None:
            self.server.stop()
        self.server.child.stdout.close()


# ---- sockets -------------------------------------------------------------------------------------


def connect(host, port, family=socket.AF_INET):
    """A connected socket with a timeout."""
    sock = socket.socket(family)
    sock.settimeout(WAIT)
    sock.connect((host, port))
    return sock


def has_ipv6():
    """Whether this machine has an IPv6 loopback. Containers often have none."""
    try:
        with socket.socket(socket.AF_INET6) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def receive(sock, size):
    """Exactly size bytes, or fewer when the peer ends before."""
    parts = []
    while size > 0:
        piece = sock.recv(min(size, 65536))
        if not piece:
            break
        parts.append(piece)
        size -= len(piece)
    return b"".join(parts)


def receive_all(sock):
    """Everything until the peer ends; a reset counts as an end."""
    parts = []
    try:
        while piece := sock.recv(65536):
            parts.append(piece)
    except ConnectionError:
        pass
    return b"".join(parts)


def exchange(sock, data, window=100000):
    """Sends data, at most window bytes ahead of the answer, and returns as many bytes of answer.
    One thread: two must not use a TLS connection of Python's at the same time."""
    answer = b""
    sent = 0
    while len(answer) < len(data):
        if sent < len(data) and sent - len(answer) < window:
            sock.sendall(data[sent:sent + 10000])
            sent += len(data[sent:sent + 10000])
            continue
        piece = sock.recv(65536)
        if not piece:
            break
        answer += piece
    return answer


def reset(sock):
    """Closes so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def free_port():
    """A port nobody listens to just now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


# ---- certificates --------------------------------------------------------------------------------


def openssl(*arguments, text=None):
    """Runs the openssl tool; what it printed."""
    done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, check=False,
                          timeout=6 * WAIT)
    if done.returncode != 0:
        raise AssertionError(f"openssl {arguments}: {done.stderr.decode()}")
    return done.stdout


CA_SECTION = """[ca]
default_ca = this
[this]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = {digest}
policy = any
unique_subject = no
email_in_dn = no
[any]
commonName = supplied
[extensions]
basicConstraints = critical, CA:FALSE
subjectAltName = {names}
"""

KEY_KINDS = {
    "p256": ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ed25519": ("-algorithm", "ED25519"),
}


class Certificates:
    """A certificate authority of its own in a temporary folder."""

    def __init__(self, name="weft test CA"):
        self.holder = tempfile.TemporaryDirectory()
        self.folder = self.holder.name
        self.ca = self.path("ca.pem")
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-keyout", self.path("ca.key"), "-out", self.ca, "-subj", f"/CN={name}", "-days",
                "30", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def path(self, name):
        """A file in the folder."""
        return os.path.join(self.folder, name)

    def make(self, name, names="DNS:localhost,IP:127.0.0.1", kind="p256", expired=False):
        """A certificate of the CA: paths of certificate and key."""
        certificate, key = self.path(f"{name}.pem"), self.path(f"{name}.key")
        request, settings = self.path(f"{name}.csr"), self.path(f"{name}.cnf")
        with open(settings, "w", encoding="ascii") as file:
            file.write(CA_SECTION.format(folder=self.folder, names=names, digest="sha256"))
        with open(self.path("index"), "w", encoding="ascii"):
            pass
        openssl("genpkey", *KEY_KINDS[kind], "-out", key)
        openssl("req", "-new", "-key", key, "-subj", f"/CN={name}", "-out", request)
        dates = ("20200101000000Z", "20200201000000Z") if expired else (
            "20200101000000Z", "20991231000000Z")
        openssl("ca", "-batch", "-notext", "-config", settings, "-extensions", "extensions",
                "-cert", self.ca, "-keyfile", self.path("ca.key"), "-in", request, "-out",
                certificate, "-startdate", dates[0], "-enddate", dates[1])
        return certificate, key

    def close(self):
        """Removes the folder."""
        self.holder.cleanup()


def fingerprint(path):
    """SHA-256 of a certificate, as the tools print it."""
    line = openssl("x509", "-in", path, "-noout", "-fingerprint", "-sha256").decode()
    return line.strip().split("=")[1]


def main(module):
    """Runs test classes of a module: PROGRAM CLASS...; the classes get the program."""
    sys.dont_write_bytecode = True
    if len(sys.argv) < 3:
        sys.exit(f"usage: {sys.argv[0]} PROGRAM CLASS...")
    suite = unittest.TestSuite()
    for name in sys.argv[2:]:
        case = getattr(module, name)
        case.PROGRAM = sys.argv[1]
        suite.addTests(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=2, failfast=False).run(suite)
    sys.exit(0 if result.wasSuccessful() and result.testsRun > 0 else 1)
