"""What several tests of the desk's tools need."""

import pytest
from support.made_card import card_analyser

from edge_probe.classify import ChunkAnalyser


@pytest.fixture(scope="session")
def analyser(tmp_path_factory: pytest.TempPathFactory) -> ChunkAnalyser:
    """Hears something every few chunks of noise."""
    return card_analyser(tmp_path_factory.mktemp("made") / "bundle")
