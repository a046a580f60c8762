"""The windows in which the service counts requests."""

import time


def leave_time_in_the_minute(seconds: float = 5) -> None:
    """Sleep into the next minute if fewer seconds than these are left of this one."""
    if time.time() % 60 > 60 - seconds:
        time.sleep(61 - time.time() % 60)
