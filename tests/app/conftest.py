"""One thread and a cache of its own for every test of this room."""

import pytest
import torch

from crossface.app.cli import main


@pytest.fixture(autouse=True)
def _one_thread_and_own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("CROSSFACE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr("crossface.training.setup.usable_cores", lambda: 1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def call(capsys):
    """Run a verb: ``call("verify", a, b)`` gives exit code, stdout and stderr."""

    def run(*arguments):
        try:
            main(["--quiet", *map(str, arguments)])
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run
