"""Runs a command and says what it and all its descendants used.

    measure.py RESULT.json COMMAND [ARGUMENT...]

Descendants whose parent is gone become ours (prctl), so that the processor time of every plugin and writer process is
counted. A signal to us goes to the command. RESULT.json: cpu (user and system seconds), rss (octets of the greatest
process), status. This program's own 10 MB are the least that `rss` can be: a new process begins as a copy of it.
"""

import ctypes
import json
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

result, command = sys.argv[1], sys.argv[2:]
prctl = ctypes.CDLL(None, use_errno=True).prctl
if prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
    sys.exit("prctl: " + os.strerror(ctypes.get_errno()))
child = os.fork()
if child == 0:
    # Nothing is left running where this program is killed.
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]}: {error}", file=sys.stderr)
        os._exit(127)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: os.kill(child, number))

status = None
while True:
    try:
        pid, ended = os.wait()
    except ChildProcessError:
        break
    if pid == child:
        status = os.waitstatus_to_exitcode(ended)
        # From here on there is nobody to pass a signal to.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(result + ".new", "w", encoding="utf-8") as out:
    json.dump({"cpu": used.ru_utime + used.ru_stime, "rss": used.ru_maxrss * 1024, "status": status}, out)
os.rename(result + ".new", result)
