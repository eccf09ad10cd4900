"""A server of Milvus Lite, in a process of its own."""

import socket
import subprocess
import sys

from .waiting import LONG


class Server:
    """Answers on a port of this machine, and keeps its vectors in a folder."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        arguments = ["--data-dir", self.folder, "--host", "127.0.0.1", "--port", self.port]
        command = [sys.executable, "-m", "milvus_lite", "server", *map(str, arguments)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert "listening" in self.process.stdout.readline()

    def send(self, signal):
        self.process.send_signal(signal)

    def stop(self):
        self.process.kill()
        self.process.wait(LONG)
        self.process.stdout.close()
