"""Small texts that a user names."""

import os
import threading

import pytest

from poisoncli.core.errors import PoisonError
from poisoncli.tables.text import MOST, read_text


def test_a_text_is_read_whole(tmp_path):
    (tmp_path / "a.toml").write_text("seed = 1 # ä\n", encoding="utf-8")
    assert read_text(tmp_path / "a.toml") == "seed = 1 # ä\n"


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="there is no such device")
def test_what_never_ends_is_refused():
    with pytest.raises(PoisonError, match="/dev/zero is longer than 16 MiB"):
        read_text("/dev/zero")


def test_a_text_that_is_too_long_is_refused(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b" " * MOST)
    assert len(read_text(path)) == MOST
    path.write_bytes(b" " * (MOST + 1))
    with pytest.raises(PoisonError, match="longer than 16 MiB"):
        read_text(path)


def test_a_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=("seed = 1",))
    writer.start()
    assert read_text(tmp_path / "pipe") == "seed = 1"
    writer.join()
