"""Reading ahead, while the networks run: always in the order of the items, errors included."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(work: Callable[[T], R], todo: Iterable[T], threads: int) -> Iterator[R]:
    """What `work` makes of each thing to do, in order; `threads` are under way at once, and as many wait to be taken.

    Raises what `work` raised in its turn: whatever came later is forgotten, so that an error does not depend on which
    thread was faster. Ending early waits for what is under way, and begins nothing more.
    """
    under_way: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads, "reader")
    try:
        for each in todo:
            under_way.append(pool.submit(work, each))
            if len(under_way) >= 2 * threads:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def one_ahead(source: Iterator[T]) -> Iterator[T]:
    """What `source` gives; the next is made in another thread while the last is in use, and never two at once."""
    end = object()
    with ThreadPoolExecutor(1, "ahead") as thread:
        coming = thread.submit(next, source, end)
        while (found := coming.result()) is not end:
            coming = thread.submit(next, source, end)
            yield found  # type: ignore[misc]
