"""What the package survives, and what it costs: docs/reliability.md has the figures.

python benchmarks/reliability kill FOLDER       # 200 runs of `embed`, each killed
python benchmarks/reliability full FOLDER       # a full disk, a locked database, nothing writable
python benchmarks/reliability mutate FOLDER     # damaged files of each format, embedded, uploaded
python benchmarks/reliability clients FOLDER    # 50 clients for two minutes, beside a run
python benchmarks/reliability fuzz              # senseless parameters and arguments

FOLDER holds ordinary photos, which are only read. All that is random has a seed. Each command
ends with exit code 1 if something did not hold.
"""

from __future__ import annotations

import click
from clients import clients
from full import full
from fuzz import fuzz
from kill import kill
from mutate import mutate


@click.group(help=__doc__.partition("\n")[0])
def cli():
    pass


for command in (kill, full, mutate, clients, fuzz):
    cli.add_command(command)

if __name__ == "__main__":
    cli()
