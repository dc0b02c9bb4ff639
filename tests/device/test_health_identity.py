"""A microphone is what it is, not the number it got."""

from pathlib import Path

import pytest
from support.fake_alsa import FakeAlsa

from edge_probe.errors import DeviceError
from edge_probe.health.identity import Device, cards, devices, match, refuse_other

C_MEDIA = "0d8c:0014"


@pytest.fixture
def alsa(tmp_path: Path) -> FakeAlsa:
    machine = FakeAlsa(tmp_path)
    machine.plug(0, "Headphones", "bcm2835 Headphones")
    return machine


def listed(alsa: FakeAlsa, *numbers: int) -> list[Device]:
    names = [(7, "pulse"), *((8 + n, f"USB Audio: - (hw:{n},0)") for n in numbers)]
    return list(devices(names, alsa.root))


def test_a_card_is_read_as_the_kernel_tells_it(alsa: FakeAlsa) -> None:
    alsa.plug(1, "r4", "384kHz [AudioMoth] USB", "16D0:06F3", port="1-1.2", serial="24F3190361DE")
    card = cards(alsa.root)[1]
    assert (card.id, card.name) == ("r4", "384kHz [AudioMoth] USB")
    assert card.identity == "usb:16d0:06f3:24F3190361DE@1-1.2"
    assert cards(alsa.root)[0].identity == "card:bcm2835 Headphones"


def test_a_machine_without_cards_has_none(tmp_path: Path) -> None:
    assert cards(FakeAlsa(tmp_path).root) == {}
    assert cards(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("wanted", [
    "usb:0d8c:0014", "usb:0D8C:0014", "usb:0d8c:0014@1-1.3", "card:Device",
    "card:USB PnP Sound Device",
])  # fmt: skip
def test_it_is_found_whatever_its_number(alsa: FakeAlsa, wanted: str) -> None:
    alsa.plug(3, "Device", "USB PnP Sound Device", C_MEDIA)
    assert match(wanted, listed(alsa, 0, 3)).name == "USB Audio: - (hw:3,0)"
    alsa.unplug(3)
    alsa.plug(1, "Device", "USB PnP Sound Device", C_MEDIA)
    assert match(wanted, listed(alsa, 0, 1)).name == "USB Audio: - (hw:1,0)"


def test_twins_without_serial_are_told_apart_by_port_only(alsa: FakeAlsa) -> None:
    alsa.plug(1, "Device", "USB PnP Sound Device", C_MEDIA, port="1-1.3")
    alsa.plug(2, "Device_1", "USB PnP Sound Device", C_MEDIA, port="1-1.4")
    there = listed(alsa, 1, 2)
    # ALSA numbers short names in the order of appearance: they would tell twins apart wrongly.
    for wanted in ("usb:0d8c:0014", "card:Device", "card:Device_1"):
        with pytest.raises(DeviceError, match="2 microphones match") as caught:
            match(wanted, there)
        assert "usb:0d8c:0014@1-1.3" in str(caught.value.hint)
        assert "usb:0d8c:0014@1-1.4" in str(caught.value.hint)
    assert match("usb:0d8c:0014@1-1.4", there).card == cards(alsa.root)[2]


def test_twins_with_serials_are_told_apart_by_them(alsa: FakeAlsa) -> None:
    alsa.plug(1, "r4", "AudioMoth", "16d0:06f3", port="1-1.3", serial="A:1")
    alsa.plug(2, "r4_1", "AudioMoth", "16d0:06f3", port="1-1.4", serial="B@2")
    there = listed(alsa, 1, 2)
    assert match("usb:16d0:06f3:A:1", there).card == cards(alsa.root)[1]
    assert match("usb:16d0:06f3:B@2@1-1.4", there).card == cards(alsa.root)[2]
    for card in cards(alsa.root).values():
        if card.vendor:
            assert match(card.identity, there).card == card
    with pytest.raises(DeviceError, match="no such microphone"):
        match("usb:16d0:06f3:A:1@1-1.4", there)


@pytest.mark.parametrize("wanted", ["1", "hw:1,0", "plughw:1", "hw:1"])
def test_a_number_is_refused(alsa: FakeAlsa, wanted: str) -> None:
    alsa.plug(1, "Device", "USB PnP Sound Device", C_MEDIA)
    with pytest.raises(DeviceError, match="changes with each boot") as caught:
        match(wanted, listed(alsa, 1))
    assert "usb:0d8c:0014@1-1.3" in str(caught.value.hint)


@pytest.mark.parametrize("wanted", ["", " ", "usb:0d8c", "usb:c-media:0014", "usb:0d8c:0014@4"])
def test_a_name_that_nothing_can_have_is_refused(alsa: FakeAlsa, wanted: str) -> None:
    alsa.plug(1, "Device", "USB PnP Sound Device", C_MEDIA)
    with pytest.raises(DeviceError, match=r"expected (a name|usb:VENDOR)") as caught:
        match(wanted, listed(alsa, 1))
    assert "usb:0d8c:0014@1-1.3" in str(caught.value.hint)


def test_what_is_no_card_goes_by_its_name(alsa: FakeAlsa) -> None:
    assert match("pulse", listed(alsa)).index == 7
    with pytest.raises(DeviceError, match="no such microphone"):
        match("puls", listed(alsa))


def test_of_several_devices_on_a_card_it_is_the_first(alsa: FakeAlsa) -> None:
    alsa.plug(1, "Zoom", "H2n", "1686:00c5")
    there = devices([(4, "H2n: B (hw:1,1)"), (5, "H2n: A (hw:1,0)")], alsa.root)
    assert match("usb:1686:00c5", there).index == 5


def test_a_card_that_became_another_is_refused(alsa: FakeAlsa) -> None:
    alsa.plug(1, "Device", "USB PnP Sound Device", C_MEDIA)
    chosen = match("usb:0d8c:0014", listed(alsa, 1))
    refuse_other(chosen, alsa.root)
    alsa.unplug(1)
    with pytest.raises(DeviceError, match="which is gone"):
        refuse_other(chosen, alsa.root)
    alsa.plug(1, "r4", "AudioMoth", "16d0:06f3", port="1-1.4", serial="A1")
    with pytest.raises(DeviceError, match=r"is now usb:16d0:06f3:A1@1-1\.4"):
        refuse_other(chosen, alsa.root)
