"""The demo audio: ten ESC-10 clips of fold 4, mixed so that neighbours overlap.

The clips are the first of each class by file name, so nobody chose them for how well they are
recognised. Writes ``demo_scene.ogg``, its true labels ``demo_scene.csv`` and the attribution of
everything the demo was made from.

    python -m export.demo.scene ESC10_FOLDER OUTPUT_FOLDER
"""

import argparse
import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from export.mixtures import active_part

FOLD = 4
RATE_HZ = 44_100
STEP_S = 2.6
"""Begin of one sound to the begin of the next; clips are 5 s long, so neighbours overlap."""

ORDER = [
    "Rain", "Dog bark", "Helicopter", "Rooster", "Sea waves",
    "Baby cry", "Clock tick", "Chainsaw", "Person sneeze", "Fire crackling",
]  # fmt: skip

_CREDIT = re.compile(
    r"^- \[(?P<clip>\S+)\.ogg\]:\s+clip derived from (?P<title>.*) "
    r"\((?P<url>http\S+)\) by (?P<author>.*) \[(?P<licence>[^\]]+)\]"
)


@dataclass(frozen=True, slots=True)
class Planted:
    """One sound of the scene."""

    label: str
    start_s: float
    end_s: float
    clip: str


def first_clips(folder: Path) -> dict[str, Path]:
    """The first clip of each class in the fold that training never sees."""
    with (folder / "meta.csv").open(newline="", encoding="utf-8") as table:
        rows = sorted(
            (row for row in csv.DictReader(table) if int(row["fold"]) == FOLD),
            key=lambda row: row["file"],
            reverse=True,
        )
    return {row["category"]: folder / "audio" / row["file"] for row in rows}


def mix(folder: Path) -> tuple[NDArray[np.float32], list[Planted]]:
    """The scene and what was planted in it.

    Returns
    -------
    samples : (N,) float32
        44.1 kHz, peak below full scale.
    planted : list of Planted
        In order of time.
    """
    clips = first_clips(folder)
    scene = np.zeros(int((STEP_S * (len(ORDER) - 1) + 5) * RATE_HZ), np.float32)
    planted = []
    for position, label in enumerate(ORDER):
        samples, rate = sf.read(clips[label], dtype="float32")
        if rate != RATE_HZ:
            raise SystemExit(f"{clips[label].name}: expected {RATE_HZ} Hz, found {rate}")
        part = active_part(samples, rate)[: 5 * RATE_HZ]
        begin = round(position * STEP_S * RATE_HZ)
        scene[begin : begin + len(part)] += part
        end_s = (begin + len(part)) / RATE_HZ
        planted.append(
            Planted(label, round(begin / RATE_HZ, 3), round(end_s, 3), clips[label].stem)
        )
    return scene * np.float32(min(1.0, 0.98 / np.abs(scene).max())), planted


def credits(folder: Path, clips: list[str]) -> list[str]:
    """One line of attribution per clip, from ESC-10's own README."""
    found = {}
    for line in (folder / "README.txt").read_text(encoding="utf-8").splitlines():
        if match := _CREDIT.match(line):
            found[match["clip"]] = (
                f'* `{match["clip"]}` from "{match["title"]}" by {match["author"]}, '
                f"{match['licence']}, {match['url']}"
            )
    return [found[clip] for clip in clips]


def attribution(folder: Path, planted: list[Planted]) -> str:
    """The attribution file that CC BY asks for."""
    with (folder / "meta.csv").open(newline="", encoding="utf-8") as table:
        training = [
            Path(row["file"]).stem for row in csv.DictReader(table) if int(row["fold"]) < FOLD
        ]
    scene = credits(folder, [sound.clip for sound in planted])
    return "\n".join([
        "# Attribution", "",
        "The demo audio and the demonstration encoder were made from **ESC-10** by Karol J. Piczak",
        "(\"ESC: Dataset for Environmental Sound Classification\", ACM Multimedia 2015,",
        "<https://doi.org/10.1145/2733373.2806390>), licence",
        "[CC BY 3.0](https://creativecommons.org/licenses/by/3.0/). Its clips come from Freesound.",
        "", "## In the demo audio (`demo_scene.ogg`: trimmed, scaled in level, mixed)", "", *scene,
        "", "## Heard in training (folds 1 to 3; no audio of these is shipped)", "",
        *credits(folder, training), "",
        "## Background in training (no audio of it is shipped)", "",
        "Field recordings of the example data of scikit-maad",
        "(<https://github.com/scikit-maad/scikit-maad>, BSD-3-Clause), recorder S4A03895,",
        "22 May 2019, even hours; and noise and hum computed by us.", "",
    ])  # fmt: skip


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("esc10", type=Path, help="folder with meta.csv, README.txt and audio/")
    parser.add_argument("output", type=Path)
    args = parser.parse_args()
    samples, planted = mix(args.esc10)
    args.output.mkdir(parents=True, exist_ok=True)
    with sf.SoundFile(
        args.output / "demo_scene.ogg", "w", RATE_HZ, 1, format="OGG", subtype="VORBIS"
    ) as out:
        for begin in range(0, len(samples), RATE_HZ):  # libsndfile overflows on long blocks
            out.write(samples[begin : begin + RATE_HZ])
    with (args.output / "demo_scene.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["label", "start_s", "end_s", "clip"])
        writer.writerows((p.label, p.start_s, p.end_s, p.clip) for p in planted)
    (args.output / "ATTRIBUTION.md").write_text(attribution(args.esc10, planted), encoding="utf-8")


if __name__ == "__main__":
    main()
