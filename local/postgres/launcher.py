"""Becomes another program, as another user, that ends when the process that asked for it is gone.

`python -I launcher.py HOW PARENT UID GID PROGRAM ARGUMENT…`: it stands alone, and replaces itself. HOW is `kernel`
(Linux: a signal when the thread that started us ends) or `watcher` (a process that waits for our input to end).
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
LOOK_SECONDS = 1.0


def main() -> None:
    """Drop privileges, then tie ourselves to the parent, then become the program."""
    how, parent, user, group, *command = sys.argv[1:]
    # A terminal's Ctrl-C is for the parent, which stops us in its own time.
    os.setsid()
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if how == "kernel":
        # After the change of user, which would clear it.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT) != 0:
            sys.exit(f"The kernel does not tie us to our parent: {os.strerror(ctypes.get_errno())}")
    else:
        _start_watcher(os.getpid())
    if os.getppid() != int(parent):
        sys.exit("The process that started this one is gone.")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir("/")
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 - this is what the program is for


def _start_watcher(program: int) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # Forked twice: the program is not to find a child that it does not know.
    if os.fork() == 0:
        _watch(program)
    os._exit(0)


def _watch(program: int) -> None:
    """The other end of our input is closed by the parent, or by the system when the parent is gone."""
    ended = False
    while not ended:
        ended = bool(select.select([0], [], [], LOOK_SECONDS)[0])
        try:
            os.kill(program, signal.SIGINT if ended else 0)
        except ProcessLookupError:
            return


if __name__ == "__main__":
    main()
