"""How long ending may take at most, each limit within the next; for the command line it imports nothing heavy.

A call in hand takes 8 s at most, and who told the process to end waits 10 s before killing it, as `docker stop` does.
"""

from __future__ import annotations

STOP_S = 9.0  # what is in hand
DRAIN_S = STOP_S + 0.5  # all parts, and letting go of the database
LONGEST_END_S = DRAIN_S + 0.3  # whatever else the process is in
