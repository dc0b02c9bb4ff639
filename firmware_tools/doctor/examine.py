"""All checks, in the order in which one helps to understand the next."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from edge_probe.errors import EdgeProbeError
from firmware_tools.doctor import (
    board,
    bundle,
    card,
    clock,
    memory,
    mount,
    program,
    recorder,
    service,
    settings,
    sound,
)
from firmware_tools.doctor.finding import Entry, Finding
from firmware_tools.doctor.host import Host

_log = logging.getLogger(__name__)

Facts = TypeVar("Facts")

PATIENCE_S = 2 * program.TIMEOUT_S + 30
"""For a check: two processes at most are waited for. A card that hangs answers no read at all."""


@dataclass(frozen=True, slots=True)
class Check(Generic[Facts]):
    """One thing to look at."""

    name: str
    look: Callable[[Host], Facts]
    judge: Callable[[Facts], Finding]


def _as_found(finding: Finding) -> Finding:
    return finding


CHECKS: Sequence[Check[Any]] = (
    Check("board", board.look_board, board.judge_board),
    Check("64-bit", board.look_board, board.judge_bits),
    Check("python", board.look_python, board.judge_python),
    Check("memory", memory.look_memory, memory.judge_memory),
    Check("swap", memory.look_memory, memory.judge_swap),
    Check("memory-limit", memory.look_limit, memory.judge_limit),
    Check("power", board.look_strain, board.judge_power),
    Check("temperature", board.look_strain, board.judge_temperature),
    Check("clock", clock.look_clock, clock.judge_clock),
    Check("clock-chip", clock.look_clock, clock.judge_chip),
    *(
        Check(part.name, partial(program.look_part, part=part), program.judge_part)
        for part in program.PARTS
    ),
    Check("kernels", partial(program.look_part, part=program.KERNELS), program.judge_kernels),
    Check("state-folder", mount.look_state, mount.judge_state),
    Check("access-times", mount.look_state, mount.judge_access_times),
    Check("card-room", card.look_room, card.judge_room),
    Check("card-speed", card.look_speed, card.judge_speed),
    Check("card-errors", card.look_errors, card.judge_errors),
    Check("kernel-log", card.look_log, card.judge_log),
    Check("boot-partition", service.look_boot, service.judge_boot),
    Check("settings", settings.look_settings_file, _as_found),
    Check("deployment", settings.look_deployment_file, _as_found),
    Check("microphone", sound.look_sound, sound.judge_microphone),
    Check("rate", sound.look_rate, sound.judge_rate),
    Check("gain", sound.look_gain, sound.judge_gain),
    Check("trust", bundle.look_trust, bundle.judge_trust),
    Check("bundle", bundle.look_bundle, bundle.judge_bundle),
    Check("trial", bundle.look_trial, bundle.judge_trial),
    Check("recorder", recorder.look_recorder, recorder.judge_recorder),
    Check("classifier", recorder.look_recorder, recorder.judge_classifier),
    *(
        Check(f"{name}-service", partial(service.look_unit, unit=unit), service.judge_unit)
        for name, unit in (
            ("recorder", service.RECORDER), ("classifier", service.CLASSIFIER),
            ("setup", service.SETUP),
        )
    ),
    Check("failed-units", service.look_failed, service.judge_failed),
    Check("watchdog", service.look_watchdog, service.judge_watchdog),
)  # fmt: skip


def examine(
    host: Host, checks: Sequence[Check[Any]] = CHECKS, patience_s: float = PATIENCE_S
) -> Iterator[Entry]:
    """Look at everything, one after the other; nothing raises and nothing hangs.

    Parameters
    ----------
    host : Host
    checks : sequence of Check
    patience_s : float
        For each; then it is unknown.
    """
    for check in checks:
        yield Entry(check.name, _within(check, host, patience_s))


def _within(check: Check[Any], host: Host, patience_s: float) -> Finding:
    """In a thread that is left behind if it does not come back."""
    found: SimpleQueue[Finding] = SimpleQueue()
    Thread(target=lambda: found.put(_one(check, host)), daemon=True, name=check.name).start()
    try:
        return found.get(timeout=patience_s)
    except Empty:
        return Finding("unknown", f"no answer within {patience_s:.0f} s",
                       "a card, a driver or a pipe hangs: look at kernel-log")  # fmt: skip


def _one(check: Check[Any], host: Host) -> Finding:
    try:
        return check.judge(check.look(host))
    except EdgeProbeError as error:
        return Finding("unknown", error.message, error.hint)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return Finding("unknown", f"{where}{error.strerror or error}")
    except Exception as error:  # noqa: BLE001 - the other findings are worth more than this one
        _log.debug("%s", check.name, exc_info=True)
        return Finding("unknown", f"{BUG}: {error!r}", "please report it, with --debug")


BUG = "this check itself is wrong"
