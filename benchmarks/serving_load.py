"""The server under clients of all kinds at once: src/serve.py with the weights in git.

    python benchmarks/serving_load.py [--clients N] [--seconds N]        and half a minute to begin

Good requests have one video; bad ones have paths, null or no JSON; huge ones have 400 MB; bombs have a video of 3 MB
with frames of 4096x4096 pixels. Prints a table by kind, and the memory of the server's processes (pages that several of
them share count once). Ends with 1 if a good request got no answer, or memory at rest grew by more than 200 MB.
"""

import argparse
import base64
import http.client
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests")]

KINDS = {"good": 0.7, "bad": 0.2, "huge": 0.08, "bomb": 0.02}
"""Share of the requests."""

MAX_GROWTH = 200
"""MB."""

Body = bytes | Iterator[bytes]


def request_of(videos: list[object]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["video"], "data": [[video] for video in videos]}}).encode()


def make_bodies(folder: Path) -> dict[str, list[Callable[[], Body]]]:
    """The requests of each kind."""
    import numpy as np

    from darkaction.data.video import write_video

    def encoded(path: Path) -> str:
        return "base64:" + base64.b64encode(path.read_bytes()).decode()

    bomb = folder / "bomb.mp4"
    write_video(bomb, (np.zeros((4096, 4096, 3), np.uint8) for _ in range(100)), fps=30.0, codec="mp4v")
    good = [request_of([encoded(ROOT / "tests/odd_videos" / name)]) for name in ("whole.webm", "index_first.mp4")]
    bad = [request_of([name]) for name in ("/etc/passwd", None, 5, "base64:???", "base64:AAAA")]
    bombs = [request_of([encoded(bomb)])]
    bad += [b"", b"[" * 10**6, b'{"inputs": 5', b"\xff" * 10**6]
    one_mb = bytes(2**20)
    return {
        "good": [lambda body=body: body for body in good],
        "bad": [lambda body=body: body for body in bad],
        "huge": [lambda: bytes(400 * 2**20), lambda: (one_mb for _ in range(400))],
        "bomb": [lambda body=body: body for body in bombs],
    }


def post(port: int, body: Body) -> str:
    """Status of the answer, or the name of what failed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = json.loads(answer.read())
    except OSError as error:
        return type(error).__name__
    finally:
        connection.close()
    rows = content.get("predictions", [])
    return f"{answer.status} with error" if rows and rows[0]["error"] else str(answer.status)


def memory(process: psutil.Process) -> float:
    """MB of a process and all it started."""
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            info = each.memory_full_info()
        except psutil.Error:
            continue
        total += info.pss if hasattr(info, "pss") else info.uss
    return total / 1e6


def start_server(port: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "src/serve.py", "--model", "models/synthetic", "--port", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while server.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return server
        except OSError:
            time.sleep(0.2)
        finally:
            connection.close()
    sys.exit("the server ended")


def run(port: int, process: psutil.Process, clients: int, seconds: float, folder: Path) -> bool:
    """Prints the tables; whether all is well."""
    bodies = make_bodies(folder)
    warm = [post(port, bodies["good"][0]()) for _ in range(6)]
    assert set(warm) == {"200"}, warm
    memories, times = [memory(process)], defaultdict(list)
    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    ends = time.monotonic() + seconds

    def client(seed: int) -> None:
        chance = random.Random(seed)  # nosec B311 - which request comes next is no secret
        while time.monotonic() < ends:
            [kind] = chance.choices(list(KINDS), KINDS.values())
            body = chance.choice(bodies[kind])()
            started = time.monotonic()
            statuses[kind][post(port, body)] += 1
            times[kind].append(time.monotonic() - started)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        memories.append(memory(process))
        time.sleep(0.5)
    time.sleep(3)
    memories.append(memory(process))
    return report(statuses, times, memories)


def report(statuses: dict[str, Counter[str]], times: dict[str, list[float]], memories: list[float]) -> bool:
    print("| Requests | Number | Answers | p50 (s) | p99 (s) |\n|---|---|---|---|---|")
    for kind in KINDS:
        found = sorted(times[kind])
        told = ", ".join(f"{count} x {status}" for status, count in sorted(statuses[kind].items()))
        if found:
            late = found[min(len(found) - 1, int(0.99 * len(found)))]
            print(f"| {kind} | {len(found)} | {told} | {statistics.median(found):.2f} | {late:.2f} |")
    start, *middle, end = memories
    print(
        f"\nMemory of the server's processes: {start:.0f} MB at the start, {statistics.median(middle):.0f} MB in the "
        f"middle (median; at most {max(middle):.0f} MB, in a bomb), {end:.0f} MB at the end"
    )
    unanswered = set(statuses["good"]) - {"200"}
    if unanswered:
        print(f"failed: good requests got {', '.join(sorted(unanswered))}")
    if end - start > MAX_GROWTH:
        print(f"failed: memory grew by {end - start:.0f} MB, more than {MAX_GROWTH}")
    return not unanswered and end - start <= MAX_GROWTH


def main() -> None:
    from servers import free_port

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=120)
    arguments = parser.parse_args()
    port = free_port()
    server = start_server(port)
    try:
        with tempfile.TemporaryDirectory() as folder:
            well = run(port, psutil.Process(server.pid), arguments.clients, arguments.seconds, Path(folder))
    finally:
        started = time.monotonic()
        server.terminate()
        server.wait()
    print(f"SIGTERM ended it in {time.monotonic() - started:.1f} s")
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
