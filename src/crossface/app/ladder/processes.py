"""Tasks in processes of their own, one at a time, stopped in the way they can save themselves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from crossface.core.errors import Interrupted, TrainingStopped
from crossface.training.signals import StopRequest

# Runs a task (``worker.run_task``'s) to its end; raises CrossfaceError with the reason if it fails.
RunTask = Callable[[dict[str, Any], StopRequest], None]

_LOOK_S = 0.2


def in_a_process(task: dict[str, Any], stop: StopRequest) -> None:
    """Run a task by ``worker``; pass a stop request on, so that it saves.

    Raises:
        Interrupted: it saved and stopped.
        TrainingStopped: it failed; says why.
    """
    # A session of its own: Ctrl-C reaches this process alone, which passes it on once.
    child = subprocess.Popen(
        [sys.executable, "-m", "crossface.app.ladder.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said = _wait(child, task, stop)
    finally:
        if child.poll() is None:  # a second Ctrl-C: at once
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
    code = child.returncode
    if code == Interrupted.exit_code or (code != 0 and stop.wanted):
        raise Interrupted(f"{stop.signal_name or 'stopped'}: saved")
    if code < 0:
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        raise TrainingStopped(f"its process was ended by {name}{hint}")
    if code:
        unexpected = f"its process ended with exit code {code}; its own words are on stderr"
        raise TrainingStopped(said or unexpected)


def _wait(child: subprocess.Popen[str], task: dict[str, Any], stop: StopRequest) -> str:
    """The one line that a failed task says on stdout."""
    if child.stdin is None or child.stdout is None:
        raise TrainingStopped("its process has no pipes")
    try:
        child.stdin.write(json.dumps(task) + "\n")
        child.stdin.flush()  # left open: its end tells the child that this process is gone
    except BrokenPipeError:
        pass  # it ended before it read its task; the exit code says more
    passed_on = False
    while True:
        try:
            child.wait(timeout=_LOOK_S)
        except subprocess.TimeoutExpired:
            if stop.wanted and not passed_on:
                child.send_signal(signal.SIGINT)
                passed_on = True
            continue
        line = child.stdout.readline().strip()
        try:
            return str(json.loads(line)) if line else ""
        except ValueError:
            return ""


def in_this_process(task: dict[str, Any], stop: StopRequest) -> None:
    """The same without a process: no peak of memory of its own, no shelter from a crash."""
    from crossface.app.ladder.worker import run_task

    del stop  # the training loop has its own
    run_task(task, show_progress=bool(task["show_progress"]))
