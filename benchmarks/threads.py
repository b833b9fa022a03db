"""One thread or several? Seconds of four short trainings alone, beside a busy process, and two at a time.

``python -m benchmarks.threads`` prints a table and writes it into threads.json; it takes about ten minutes. Each
training runs in a process of its own, because the number of threads and how they wait are settled when torch is loaded.
"""

import json
import os
import subprocess
import sys
import time

WAYS = {
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads": {"OMP_NUM_THREADS": "2"},
    "2 threads, small spin count": {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "10000"},
    "2 threads, passive": {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
}
WORK = ("VAE", "GAN", "convolutional GAN", "CNN")
BUSY = "while True: pass"


def train(work: str) -> float:
    """Seconds of one short training in this process, after one to warm up."""
    from lib import compute, data, progress
    from lib.training.classifier import train_classifier
    from lib.training.gan import train_gan
    from lib.training.vae import train_vae
    from workbook import recipes
    from workbook.paths import DATA

    compute.configure(int(os.environ["OMP_NUM_THREADS"]))
    progress.plain = True
    images = data.mnist(DATA, n_train=12_800)[0]
    runs = {
        "VAE": lambda n: train_vae(
            train=data.unit(images.images[:n]), evaluate_on={}, epochs=2, **recipes.settings("vae")
        ),
        "GAN": lambda n: train_gan(
            real=data.symmetric(images.images[: n // 2]).flatten(1), epochs=1, **recipes.settings("gan")
        ),
        "convolutional GAN": lambda n: train_gan(
            real=data.symmetric(images.images[: n * 3 // 20]), epochs=1, **recipes.settings("conv_gan")
        ),
        "CNN": lambda n: train_classifier(
            train=images[: n // 2], evaluate_on={}, epochs=1, **recipes.settings("cnn") | {"augment": None}
        ),
    }
    runs[work](1280)
    start = time.perf_counter()
    runs[work](12_800)
    return time.perf_counter() - start


def seconds(work: str, way: str, at_once: int = 1, busy: bool = False) -> float:
    """Of the slowest of ``at_once`` processes that run the same training, maybe beside a busy one."""
    environment = {**os.environ, **WAYS[way]}
    companion = subprocess.Popen([sys.executable, "-c", BUSY]) if busy else None
    try:
        command = [sys.executable, "-m", "benchmarks.threads", work]
        started = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, encoding="utf-8") for _ in range(at_once)
        ]
        return max(float(process.communicate()[0]) for process in started)
    finally:
        if companion:
            companion.kill()


def main() -> int:
    """Measure, print, write."""
    if len(sys.argv) > 1:
        print(train(sys.argv[1]))
        return 0
    from pathlib import Path

    rows = []
    print(f"{'':20s}{'':30s}{'alone':>8s}{'busy':>8s}{'two at once':>13s}")
    for work in WORK:
        for way in WAYS:
            alone, busy = seconds(work, way), seconds(work, way, busy=True)
            both = seconds(work, way, at_once=2) if way == "1 thread" else None
            rows.append({"work": work, "way": way, "alone": alone, "busy": busy, "two at once": both})
            print(f"{work:20s}{way:30s}{alone:8.2f}{busy:8.2f}" + (f"{both:13.2f}" if both else ""), flush=True)
    for work in WORK:
        of = {row["way"]: row for row in rows if row["work"] == work}
        gain = 2 * of["2 threads"]["alone"] / of["1 thread"]["two at once"]
        print(f"{work}: two processes of one thread do {gain:.2f} times the work of one process with two threads")
    (Path(__file__).parent / "threads.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
