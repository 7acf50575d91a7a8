"""Becomes another program, as another user, that ends when the process that asked for it is gone.

`python -I launcher.py PARENT UID GID PROGRAM ARGUMENT…`: it stands alone, and replaces itself.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop privileges, then tie ourselves to the parent, then become the program."""
    parent, user, group, *command = sys.argv[1:]
    # A terminal's Ctrl-C is for the parent, which stops us in its own time.
    os.setsid()
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if sys.platform == "linux":
        # After the change of user, which would clear it.
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != int(parent):
            sys.exit("The process that started this one is gone.")
    os.chdir("/")
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 - this is what the program is for


if __name__ == "__main__":
    main()
