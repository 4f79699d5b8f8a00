"""Where data files are looked for, and what happens when they are not there."""

import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pooch
import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.tables import locate

CONTENT = b"rows"
HASH = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda _: folder)
    monkeypatch.delenv("POISON_DATA_DIR", raising=False)
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server on this machine that holds one file, a.bin."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.bin").write_bytes(CONTENT)
    handler = partial(Quiet, directory=tmp_path / "site")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def put(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(CONTENT)
    return folder / name


def test_search_path_is_option_environment_cache(tmp_path, cache, monkeypatch):
    (tmp_path / "option").mkdir()
    monkeypatch.setenv("POISON_DATA_DIR", str(tmp_path / "environment"))
    assert locate.search_path(str(tmp_path / "option")) == [
        tmp_path / "option",
        tmp_path / "environment",
        cache,
    ]
    assert locate.search_path() == [tmp_path / "environment", cache]


def test_first_folder_wins(tmp_path, cache, monkeypatch):
    option, environment, cached = (
        put(folder, "set/a.bin") for folder in (tmp_path / "option", tmp_path / "environment", cache)
    )
    monkeypatch.setenv("POISON_DATA_DIR", str(tmp_path / "environment"))
    assert locate.find("set/a.bin", str(tmp_path / "option")) == option
    assert locate.find("set/a.bin") == environment
    monkeypatch.delenv("POISON_DATA_DIR")
    assert locate.find("set/a.bin") == cached
    assert locate.find("set/b.bin") is None


def test_absent_data_dir_is_refused(tmp_path, cache):
    with pytest.raises(PoisonError, match=r"no folder .*absent: create it, or name another with --data-dir"):
        locate.search_path(str(tmp_path / "absent"))


def test_found_file_is_not_downloaded(tmp_path, cache, monkeypatch):
    path = put(tmp_path / "data", "set/a.bin")
    monkeypatch.setattr(pooch, "retrieve", pytest.fail)
    assert locate.obtain("set/a.bin", ["http://unused/"], HASH, str(tmp_path / "data")) == path


def test_download_lands_in_the_cache(cache, server):
    path = locate.obtain("set/a.bin", [f"{server}/gone.bin", f"{server}/a.bin"], HASH)
    assert path == cache / "set" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert locate.find("set/a.bin") == path


def test_download_with_another_hash_is_refused(cache, server):
    with pytest.raises(PoisonError, match="could not be downloaded"):
        locate.obtain("set/a.bin", [f"{server}/a.bin"], f"sha256:{'0' * 64}")
    assert locate.find("set/a.bin") is None


def test_offline_says_what_to_put_where(cache, monkeypatch):
    def unreachable(*_, **__):
        raise ConnectionError

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    with pytest.raises(PoisonError) as caught:
        locate.obtain("set/a.bin", ["http://unreachable/a.bin"], HASH)
    message = str(caught.value)
    assert f"put it into {cache / 'set'}" in message
    assert "--data-dir" in message
    assert "POISON_DATA_DIR" in message
    assert "\n" not in message


def test_where_names_the_folder_or_what_is_missing(cache):
    put(cache, "set/a.bin")
    assert locate.where(["set/a.bin"]) == str(cache / "set")
    expected = f"not found: put b.bin, c.bin into {cache / 'set'}"
    assert locate.where(["set/a.bin", "set/b.bin", "set/c.bin"]) == expected
