"""A gallery killed at random points: run as a script, so that it can fork without pytest's threads.

    python crashes.py FOLDER KILLS SEED

Each round forks a child that enrols, replaces, removes and migrates at full speed and says over a
pipe what it begins and what was acknowledged; it is killed with SIGKILL after a random time. Then
the gallery is opened and compared with what was acknowledged. A kill between two operations, which
a crowded machine has more of, shows little and does not count: it goes on until KILLS were in the
middle of one. Prints the number of acknowledged operations and of such kills; any difference ends
with a message and exit code 1.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from crossface.search.gallery import Gallery
from search.galleries import KEY, file_bytes, model, near, opened, record, vectors

VECTORS = vectors(64)
MODELS = [model("m0"), model("m1")]
ACTIONS = ["enroll"] * 4 + ["replace"] * 3 + ["remove"] * 3 + ["migrate"]


def vector_of(name):
    return VECTORS[int(name[7:]) % len(VECTORS)]


def work(path, rng, known, say):
    """Change the gallery until killed."""
    known, gallery = dict(known), opened_now(path)
    say("ready")
    number = max([int(name[7:]) for name in known], default=0) + 1
    while True:
        action = rng.choice(ACTIONS)
        name = rng.choice(sorted(known)) if known else None
        if action == "enroll" or name is None:
            number += 1
            name, count = f"person-{number}", rng.randrange(1, 3)
            say(f"enroll {name} {count}")
            gallery.enroll(name, vector_of(name)[None].repeat(count, axis=0))
            known[name] = count
        elif action == "replace":
            say(f"replace {name} 3")
            replace(gallery, known, name)
        elif action == "remove":
            say(f"remove {name} 0")
            if not gallery.remove(name).erased:
                raise RuntimeError("erasure is pending though nobody reads")
            del known[name]
        elif gallery.migration().complete:
            say("migrate - 0")
            gallery.migrate(MODELS[gallery.contract == MODELS[0]])
            gallery.close()
            gallery = opened_now(path)
        else:
            name = gallery.migration().waiting[0]
            say(f"replace {name} 3")
            replace(gallery, known, name)
        say("done")


def replace(gallery, known, name):
    gallery.re_enroll(name, near(vector_of(name), 0.9)[None].repeat(3, axis=0))
    known[name] = 3


def opened_now(path):
    """The gallery with whichever model it enrols by."""
    with Gallery.open(path, key=KEY) as gallery:
        target = gallery.migration().target
    return opened(path, next(m for m in MODELS if m.contract_id == target))


def one_round(path, rng, known):
    """Kill a child in the middle; returns acknowledged operations and the one in flight."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(source)
        try:
            work(path, rng, known, lambda text: os.write(sink, (text + "\n").encode()))
        finally:
            os.write(sink, b"failed\n")
            os._exit(1)
    os.close(sink)
    with os.fdopen(source) as stream:
        stream.readline()  # ready: starting takes longer than what follows
        time.sleep(rng.uniform(0.0, 0.08))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = stream.read().splitlines()
    if "failed" in lines:
        raise SystemExit("the child failed by itself")
    done, flight = [], None
    for line in lines:
        if line == "done":
            done.append(flight)
            flight = None
        else:
            action, name, count = line.split()
            flight = (action, name, int(count))
    return done, flight


def apply(known, operation):
    action, name, count = operation
    if action == "migrate":
        return known
    after = {key: value for key, value in known.items() if key != name}
    return after | ({name: count} if count else {})


def check(path, known, flight):
    """What is there must be what was acknowledged, with or without the operation in flight."""
    with opened_now(path) as gallery:
        found = {p.name: len(p.templates) for p in gallery.list()}
        wanted = [known] + ([apply(known, flight)] if flight else [])
        if found not in wanted:
            raise SystemExit(f"lost or resurrected: {set(found.items()) ^ set(known.items())}")
        log = gallery.verify_log()
        if not log.valid:
            raise SystemExit(log.problem)
        for name in list(found)[:5]:
            if gallery.identify(vector_of(name)).matches[0].similarity < 0.89:
                raise SystemExit(f"{name} is not found")
        if any(name.encode() in body for name in known for body in file_bytes(path).values()):
            raise SystemExit("a name stands in a file")
    return found


def main():
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    path, rng, known, total, inside = folder / "g.db", random.Random(seed), {}, 0, 0
    with opened(path, MODELS[0]) as gallery:
        gallery.allow(record(*MODELS))
        gallery.allow(record(*reversed(MODELS)))
    rounds = 0
    while inside < kills:
        rounds += 1
        if rounds > 10 * kills:
            raise SystemExit(f"only {inside} of {rounds} kills were in the middle of an operation")
        done, flight = one_round(path, rng, known)
        for operation in done:
            known = apply(known, operation)
        total += len(done)
        inside += flight is not None
        known = check(path, known, flight)
    sys.stdout.write(f"{total} {inside}\n")


if __name__ == "__main__":
    main()
