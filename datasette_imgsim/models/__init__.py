"""Models: neural networks that can be cut at a level. Nothing here uses a database."""

import os

# Threads of torch that wait for each other sleep, so that the cores are free for decoding: embed
# was a sixth faster. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
