"""Work on many items in a few threads, with results in order and a bounded backlog."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_BACKLOG = 2  # items in progress or waiting, per thread


def in_order(
    jobs: int, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Generator[_Result]:
    """Yield `work(item)` for each item, in the order of the items, with `jobs` threads.

    Takes items as threads become free, so `items` may produce large ones. An error of `work` ends
    the iteration and drops the items that have not begun.
    """
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="transfer")
    try:
        waiting: deque[Future[_Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _BACKLOG * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
