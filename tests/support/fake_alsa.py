"""A machine with the sound cards a test wants: /proc, /sys and an `amixer` with a memory."""

from pathlib import Path

AMIXER = """#!/bin/sh
# Mic with gains of -12 to 34.5 dB in steps of 1.5 dB, and AGC, as the state file says.
. {state}
[ "$hangs" = yes ] && exec sleep 30
card=$2 command=$4
shift 4
case " $cards " in *" $card "*) ;; *) echo "Invalid card number '$card'." >&2; exit 1 ;; esac
if [ "$command" = sset ]; then
    case "$1 $2" in
    "'Auto Gain Control',0 off") [ "$stubborn" = yes ] || echo agc=off >> {state} ;;
    "'Mic',0 capture")
        hundredths=$(printf %s "${{3%dB}}" | tr -d .)
        raw=$(expr \\( "$hundredths" + 1275 \\) / 150)
        [ "$raw" -gt 31 ] && raw=31
        [ "$stubborn" = yes ] || echo raw=$raw >> {state}
        [ "$stubborn" = yes ] || [ "$4" != cap ] || echo capture=on >> {state} ;;
    *) echo "amixer: Unable to find simple control $1" >&2; exit 1 ;;
    esac
    . {state}
fi
gain=$((raw * 150 - 1200)) sign=
[ $gain -lt 0 ] && sign=- gain=$((-gain))
cat <<END
Simple mixer control 'Mic',0
  Capabilities: cvolume cvolume-joined cswitch cswitch-joined
  Capture channels: Mono
  Limits: Capture 0 - 31
  Mono: Capture $raw [$((raw * 100 / 31))%] [$sign$((gain / 100)).$(printf %02d $((gain % 100)))dB] [$capture]
Simple mixer control 'Auto Gain Control',0
  Capabilities: pswitch pswitch-joined
  Playback channels: Mono
  Mono: Playback [$agc]
END
"""  # noqa: E501


class FakeAlsa:
    """The machine; ``root`` holds proc and sys, ``amixer`` is the program."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.amixer = folder / "amixer"
        self._state = folder / "mixer.state"
        (self.root / "proc/asound").mkdir(parents=True)
        (self.root / "sys/class/sound").mkdir(parents=True)
        self._cards: dict[int, str] = {}
        self.amixer.write_text(AMIXER.format(state=self._state))
        self.amixer.chmod(0o755)
        self.mixer(raw=20, agc="on", capture="on", stubborn="no", hangs="no")
        self._list()

    def mixer(self, **state: object) -> None:
        """Set what the mixer remembers."""
        with self._state.open("a") as remembered:
            for name, value in state.items():
                remembered.write(f"{name}='{value}'\n")

    def plug(
        self, number: int, id_: str, name: str, usb: str | None = None, *,
        port: str = "1-1.3", serial: str | None = None,
    ) -> None:  # fmt: skip
        """Add a card; on USB with ``vendor:product``."""
        kind = "USB-Audio" if usb else "bcm2835_headpho"
        self._cards[number] = (
            f"{number:2d} [{id_:15s}]: {kind} - {name}\n{'':22s}made by somebody\n"
        )
        card = self.root / f"proc/asound/card{number}"
        card.mkdir()
        if usb:
            (card / "usbid").write_text(usb + "\n")
            device = self.root / f"sys/devices/platform/usb1/{port}"
            (device / f"{port}:1.0").mkdir(parents=True, exist_ok=True)
            if serial:
                (device / "serial").write_text(serial + "\n")
            link = self.root / f"sys/class/sound/card{number}"
            link.mkdir()
            (link / "device").symlink_to(device / f"{port}:1.0")
        self._list()

    def unplug(self, number: int) -> None:
        """Take a card away."""
        del self._cards[number]
        card = self.root / f"proc/asound/card{number}"
        card.rename(card.with_name(f"gone{number}"))
        link = self.root / f"sys/class/sound/card{number}"
        link.rename(link.with_name(f"gone{number}"))
        self._list()

    def run(self, number: int, rate_hz: int, format_: str) -> None:
        """Let a card be open."""
        sub = self.root / f"proc/asound/card{number}/pcm0c/sub0"
        sub.mkdir(parents=True, exist_ok=True)
        (sub / "hw_params").write_text(
            f"access: MMAP_INTERLEAVED\nformat: {format_}\nsubformat: STD\nchannels: 1\n"
            f"rate: {rate_hz} ({rate_hz}/1)\nperiod_size: 4800\nbuffer_size: 24000\n"
        )

    def stop(self, number: int) -> None:
        """Let it be closed."""
        sub = self.root / f"proc/asound/card{number}/pcm0c/sub0"
        sub.mkdir(parents=True, exist_ok=True)
        (sub / "hw_params").write_text("closed\n")

    def _list(self) -> None:
        listed = "".join(self._cards[number] for number in sorted(self._cards))
        path = self.root / "proc/asound/cards"
        self.mixer(cards=" ".join(map(str, self._cards)))
        path.write_text(listed or "--- no soundcards ---\n")
