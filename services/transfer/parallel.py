"""Work on many items in a few threads, in order, with a bounded number under way."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_AHEAD = 2  # items under way or waiting, for each thread


def in_order(
    jobs: int, work: Callable[[_Item], _Result], items: Iterable[_Item]
) -> Generator[_Result]:
    """Yield `work(item)` for each item, in the order of the items, with `jobs` threads.

    Items are taken as threads become free, so `items` may produce large ones. What `work` raises
    ends the iteration; items that have not begun by then are dropped.
    """
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="transfer")
    try:
        waiting: deque[Future[_Result]] = deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= _AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
