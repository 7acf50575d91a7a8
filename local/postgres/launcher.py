"""Runs a program as another user, and ends it when the parent process dies.

`python -I launcher.py HOW PARENT UID GID PROGRAM ARGUMENT…` imports nothing from this project and replaces itself with
PROGRAM. HOW is `kernel` or `watcher`. With `kernel`, Linux sends a signal when the parent's thread ends. With
`watcher`, another process waits until our standard input closes.
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 1.0


def main() -> None:
    """Drop privileges, tie this process to its parent, and become the program."""
    how, parent, user, group, *command = sys.argv[1:]
    # Ctrl-C reaches only the parent, which stops the program when it is ready.
    os.setsid()
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(int(group))
        os.setuid(int(user))
    if how == "kernel":
        # This comes after the change of user, which would clear the setting.
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT) != 0:
            sys.exit(f"prctl(PR_SET_PDEATHSIG) failed: {os.strerror(ctypes.get_errno())}")
    else:
        _start_watcher(os.getpid())
    if os.getppid() != int(parent):
        sys.exit("The parent process has ended.")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir("/")
    os.umask(0o077)
    os.execv(command[0], command)  # noqa: S606 - replacing itself is its purpose


def _start_watcher(program: int) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    # Fork twice, so the program gets no child that it does not know.
    if os.fork() == 0:
        _watch(program)
    os._exit(0)


def _watch(program: int) -> None:
    """Stop the program when our standard input closes. The parent closes it, or its death does."""
    ended = False
    while not ended:
        ended = bool(select.select([0], [], [], POLL_SECONDS)[0])
        try:
            os.kill(program, signal.SIGINT if ended else 0)
        except ProcessLookupError:
            return


if __name__ == "__main__":
    main()
