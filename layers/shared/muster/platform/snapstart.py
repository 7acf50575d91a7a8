"""Under SnapStart, opens the connection when a snapshot is woken, not when the first request waits for it."""

from collections.abc import Callable

from muster.platform.logging import log


def after_restore(work: Callable[[], object]) -> None:
    """Have `work` done after each restore; its failure is the first request's to report."""
    # Only Lambda's own runtime has it.
    from snapshot_restore_py import register_after_restore  # noqa: PLC0415 - as above

    def restored() -> None:
        try:
            work()
        except Exception as error:  # the first request tries again, and answers 503 when it must
            log("WARN", "restore_without_connection", error=type(error).__name__)

    register_after_restore(restored)
