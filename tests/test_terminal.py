from hypothesis import given
from hypothesis import strategies as st

from orchestrator.terminal import printable


def test_readable_characters_are_kept():
    assert printable("ρ = −0.97 · “naïve” 日本\n  hint: é") == "ρ = −0.97 · “naïve” 日本\n  hint: é"
    assert printable("a\tb") == "a   b"


def test_control_characters_are_shown_escaped():
    assert printable("\x1b[2J\r\x07\x9b\x7f") == r"\x1b[2J\r\x07\x9b\x7f"
    assert printable("\u202e\udcff\u2028") == r"\u202e\udcff\u2028"


@given(st.text())
def test_only_printable_characters_remain(text):
    shown = printable(text)
    assert all(character.isprintable() or character == "\n" for character in shown)
    shown.encode()  # lone surrogates are gone too
