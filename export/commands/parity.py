"""``edge-export parity``: whether every implementation computes the same."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``parity``."""
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--audio", type=Path, metavar="FILE", help="default: made-up sound")
    parser.add_argument("--channel", type=int, metavar="N", help="channel of the audio, from 0")


def run(args: argparse.Namespace) -> int:
    """Print one line per stage; exit code 1 if a contract is broken."""
    from edge_probe.bundle import open_bundle
    from export.assemble import conformance_audio
    from export.clips import Clip
    from export.parity import compare
    from export.tokens import audio_chunks, clip_chunks

    bundle = open_bundle(args.bundle)
    if args.audio:
        chunks = list(clip_chunks(Clip(args.audio, (), ""), bundle.encoder, args.channel))
    else:
        chunks = audio_chunks(conformance_audio(bundle.encoder), bundle.encoder)
    stages = compare(bundle, chunks)
    print(f"{len(chunks)} chunks, {bundle.id}")
    for stage in stages:
        limit = "exact" if stage.tolerance == 0 else f"<= {stage.tolerance:.1e}"
        verdict = "ok" if stage.passed else "BROKEN"
        print(f"{verdict:<7}{stage.max_error:9.2e}  {limit:<11} {stage.name}")
    return 0 if all(stage.passed for stage in stages) else 1
