"""Progress on stderr."""

import sys


def test_progress_on_a_terminal(monkeypatch, capsys):
    from fastmoments.cli.progress import Progress
    from fastmoments.engines.protocol import Passage, Station

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Progress(9, quiet=False) as progress:
        progress.begin("bn_ff")
        progress(Station("layers.5", "ReLU", 3, "act", {}, net=4))
    assert "bn_ff: net 5, depth 3 of 9" in capsys.readouterr().err
    with Progress(9, quiet=False) as progress:
        progress.begin("vanilla")
        progress(Passage(1, 7))
    assert "vanilla: batch 2, depth 7 of 9" in capsys.readouterr().err
