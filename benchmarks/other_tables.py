"""Tables of the gate and of archives, from the committed results only."""

from collections.abc import Sequence
from typing import Any

Results = dict[str, Any]


def gate(results: Results) -> str:
    """CPU time against what a gate loses, as Markdown."""
    return "\n\n".join(_of_encoder(name, found) for name, found in results["encoders"].items())


def _of_encoder(name: str, found: Results) -> str:
    levels = [lost["snr_db"] for lost in found["rows"][0]["missed"]]
    heads = ["opens at", "chunks encoded (at night)", "CPU s per hour",
             *(f"lost at {level:+.0f} dB" for level in levels)]  # fmt: skip
    detected = [f"{lost['n_detected']} of {lost['n']}" for lost in found["rows"][0]["missed"]]
    body = [
        ["no gate", "100%", f"{found['without_gate_cpu_s_per_hour']:.1f}",
         *(f"detects {count}" for count in detected)],
        *(_row(row) for row in found["rows"]),
    ]  # fmt: skip
    lines = [heads, ["---"] * len(heads), *body]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return (
        f"{name}, chunks of {found['chunk_s']:g} s; the gate itself takes "
        f"{found['gate_cpu_s_per_hour']:.1f} CPU s per hour:\n\n{table}"
    )


def _row(row: Results) -> Sequence[str]:
    lost = [
        f"{each['n_lost'] / each['n_detected']:.1%}" if each["n_detected"] else "-"
        for each in row["missed"]
    ]
    return [
        f"{row['on_db']:.0f} dB", f"{row['passed']:.0%} ({row['passed_at_night']:.0%})",
        f"{row['cpu_s_per_hour']:.1f}", *lost,
    ]  # fmt: skip


def archives(results: Results) -> str:
    """What a folder of recordings costs, and what a season went through, as Markdown."""
    heads = ["encoder", "CPU ms per second of audio", "hours of audio an hour of a core",
             "of that the encoder alone", "with decoding and resampling"]  # fmt: skip
    rows = [
        [
            row["encoder"], f"{row['cpu_ms_per_audio_s']:.2f}",
            f"{1000 / row['cpu_ms_per_audio_s']:,.0f}",
            _share(row["encoder_share"], row["encoder_share_spread"]),
            _share(row["libraries_share"], row["libraries_share_spread"]),
        ]
        for row in results["throughput"]["measured"]
    ]  # fmt: skip
    table = "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * 5, *rows])
    scaling, season = results["scaling"]["measured"], results["season"]["measured"]
    sizes = "; ".join(
        f"{row['peak_rss_mib']:.0f} MiB with {row['n_files']:,} files"
        for row in results["memory"]["measured"]
    )
    many = scaling["processes"][-1]
    return (
        f"{table}\n\n"
        f"* {many} processes on {many} cores: {scaling['speed_up']:.2f} times one process, "
        f"start included ({scaling['audio_s'] / 3600:.1f} h of audio, {scaling['rounds']} rounds "
        f"in turns, load {scaling['load_1_min']} at the end).\n"
        f"* Memory of the first process: {sizes}.\n"
        f"* {season['hours']:.1f} h in {season['n_files']:,} files, through the kill of a worker, "
        "of all, and of the first process: every file once, every repeat with the same detections; "
        f"{season['peak_rss_mib_first_process']:.0f} MiB at most, "
        f"{season['peak_rss_mib_worker']:.0f} MiB a worker."
    )


def _share(value: float, spread: Sequence[float]) -> str:
    return f"{value:.0%} ({spread[0]:.0%} to {spread[1]:.0%})"
