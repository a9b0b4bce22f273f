"""Reads the metadata of an image repeatedly and measures the response times.

    python -m tests.tools.metadata_readers PORT SECONDS NUMBER

Each of NUMBER clients keeps one connection. Prints the number of responses, the number of
responses other than 200, and the 99th percentile and the maximum of the times in seconds.
"""

# ruff: noqa: T201 - this command prints its results

import http.client
import sys
import threading
import time


def run(port: int, seconds: float, number: int) -> list[tuple[float, int]]:
    """Return (seconds, status) of every response."""
    answers: list[tuple[float, int]] = []
    latest = time.monotonic() + seconds

    def read() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        while (begun := time.monotonic()) < latest:
            connection.request("GET", "/images/big/metadata")
            answer = connection.getresponse()
            answer.read()
            answers.append((time.monotonic() - begun, answer.status))
        connection.close()

    threads = [threading.Thread(target=read) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


if __name__ == "__main__":
    found = run(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    times = sorted(seconds for seconds, _ in found)
    wrong = sum(status != 200 for _, status in found)
    print(len(times), wrong, times[len(times) * 99 // 100], times[-1])
