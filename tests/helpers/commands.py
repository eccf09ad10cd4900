"""`datasette imgsim` in this process, as a process of its own, and at a terminal."""

import ctypes
import fcntl
import functools
import json
import os
import pty
import resource
import shutil
import struct
import subprocess
import sys
import termios
from contextlib import contextmanager
from pathlib import Path

from click.testing import CliRunner
from datasette.cli import cli

from .waiting import LONG, wait_until

PROGRAM = Path(__file__).with_name("program.py")
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2
# Of a picture this keeps 4 x 4 pixels.
TOY = ("--model", "toy", "--levels", "pool1", "--pooling", "flatten", "--dtype", "float32")


def imgsim(*arguments, exit_code=0):
    """Runs `datasette imgsim …` and gives what it printed, both streams together."""
    result = CliRunner().invoke(cli, ["imgsim", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result.output


def embed(folder, *options, exit_code=0):
    """Embeds folder/images into folder/photos.db; gives what was printed."""
    return imgsim("embed", folder / "photos.db", folder / "images", *options, exit_code=exit_code)


def embed_toy(folder, *options, exit_code=0):
    """The same with TOY."""
    return embed(folder, *TOY, *options, exit_code=exit_code)


def start(*arguments, hold=None, seconds_a_batch=0, endless_map=False, **options):
    """Starts `datasette imgsim …` with the toy model; what it prints comes as text.

    `hold` is a Hold. Each batch seems to take `seconds_a_batch`. With `endless_map`, laying out
    a map comes to no end.
    """
    command = [sys.executable, PROGRAM, "imgsim", *map(str, arguments)]
    wishes = {"hold": str(hold.folder), "before": hold.before} if hold else {}
    wishes |= {"seconds_a_batch": seconds_a_batch, "endless_map": endless_map}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, env=os.environ | {"WISHES": json.dumps(wishes)}, **options)


def end(process):
    """(exit code, standard output, standard error) of a process that comes to its end."""
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out, err


def run(*arguments, **options):
    """(exit code, standard output, standard error) of `datasette imgsim …`."""
    return end(start(*arguments, **options))


class Hold:
    """Lets processes that `start` started wait before a batch, counted from 1, and all later."""

    def __init__(self, folder, before):
        self.folder, self.before = folder / "hold", before
        self.folder.mkdir()

    def wait(self, processes=1):
        """Waits until so many processes stand there."""
        wait_until(lambda: len(list(self.folder.iterdir())) == processes)

    def let_go(self):
        """Lets all go on to their end."""
        shutil.rmtree(self.folder)


@contextmanager
def at_a_terminal(*arguments, with_output=False, **options):
    """Starts `datasette imgsim …` with a terminal of 80 columns as standard error.

    `with_output`, it is standard output, too.

    Gives the process and a function that reads what the terminal shows, up to a text or to the
    end of the process. What still runs at the end is killed.
    """
    terminal, own_end = pty.openpty()
    fcntl.ioctl(own_end, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    if with_output:
        options["stdout"] = own_end
    process = start(*arguments, stderr=own_end, **options)
    os.close(own_end)
    with process:
        try:
            yield process, functools.partial(_shown, terminal)
        finally:
            process.kill()
            os.close(terminal)


def _shown(terminal, until=None):
    printed = b""
    try:
        while until is None or until not in printed.decode(errors="replace"):
            printed += os.read(terminal, 4096)
    except OSError:  # so Linux says that the other end is closed
        pass
    return printed.decode(errors="replace")


def python(code, *arguments, **options):
    """What a fresh interpreter prints that runs this code."""
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, **options).stdout


def ordinary_user():
    """For preexec_fn: takes away root's power to read and write what permissions forbid."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "prctl")


def small_files(size):
    """For preexec_fn: no file may grow beyond `size` bytes, as on a full disk."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
