"""Texts from a folder with a subfolder for each class."""

import numpy as np

from poisoncli.datasets.file import File
from poisoncli.tables.encode import Encoder


def test_a_folder_of_texts(tmp_path):
    for name, words in (("ham", "hello dear friend"), ("spam", "buy buy now")):
        (tmp_path / "mails" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "mails" / name / f"{number}.txt").write_text(words)
    data = File(str(tmp_path / "mails")).load()
    assert (data.class_names, data.y.tolist()) == (("ham", "spam"), [0, 0, 0, 1, 1, 1])
    encoder = Encoder.fit(data.table, np.arange(6)[None])
    assert encoder.names == ["text: buy", "text: dear", "text: friend", "text: hello", "text: now"]
    np.testing.assert_array_equal(encoder.take(np.array([5]), 0).toarray(), [[2, 0, 0, 0, 1]])
