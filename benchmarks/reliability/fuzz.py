"""Senseless parameters and arguments: tests/test_malformed.py with 20 times as many examples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]


@click.command(help=__doc__)
@click.option("--seed", default=0, show_default=True)
def fuzz(seed):
    options = (
        "--hypothesis-profile=long",
        f"--hypothesis-seed={seed}",
        "--hypothesis-show-statistics",
    )
    arguments = [sys.executable, "-m", "pytest", "-q", *options, "tests/test_malformed.py"]
    raise SystemExit(subprocess.run(arguments, cwd=ROOT).returncode)
