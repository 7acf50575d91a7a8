"""Runs work when SnapStart restores a snapshot, so that the first request need not wait for it."""

from collections.abc import Callable

from muster.platform.logging import log


def after_restore(work: Callable[[], object]) -> None:
    """Run `work` after each restore. If it fails, the failure is logged, and the first request does the work."""
    # Imported late: only Lambda's runtime has this package.
    from snapshot_restore_py import register_after_restore  # noqa: PLC0415 - as above

    def restored() -> None:
        try:
            work()
        except Exception as error:  # the first request tries again, and reports the failure
            log("WARN", "restore_without_connection", error=type(error).__name__)

    register_after_restore(restored)
