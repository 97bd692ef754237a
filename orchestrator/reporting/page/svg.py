"""Charts as static SVG, readable without scripts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

_ID = re.compile(r'\bid="([^"]+)"')
_PLACES = re.compile(r' (?:transform|d)="[^"]*"')
_DIGITS = re.compile(r"(\.\d\d)\d+(?!\d*e)")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def static_svg(specification: Mapping[str, Any], key: str, title: str) -> str:
    """Draw a chart as static SVG.

    Args:
        specification: Vega-Lite specification with inline data.
        key: Prefix of every id, unique on the page, so that ids of different drawings do not
            collide.
        title: Label for screen readers.

    Returns:
        An ``<svg>`` element; identical charts give identical text.
    """
    drawn: str = vl_convert.vegalite_to_svg(drawable(specification), allowed_base_urls=[])
    # Hundredths of a pixel are enough, and save a tenth of a drawing of many points.
    drawn = _PLACES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), drawn)
    # The renderer numbers ids per process; renumber them from 0 in each drawing.
    for number, name in enumerate(dict.fromkeys(_ID.findall(drawn))):
        new = f"{key}-{number}"
        drawn = drawn.replace(f'id="{name}"', f'id="{new}"')
        drawn = drawn.replace(f"url(#{name})", f"url(#{new})")
    start = drawn.index("<svg") + len("<svg")
    return f'<svg role="img" aria-label="{_attribute(title)}"{drawn[start:]}'


def drawable(value: Any) -> Any:
    """Replace characters that XML forbids, such as those of terminal colours, in JSON data.

    The renderer aborts the whole process on such a character.
    """
    if isinstance(value, Mapping):
        return {name: drawable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [drawable(one) for one in value]
    return _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value


def embedded_json(value: Any) -> str:
    """Return JSON that is safe in a ``<script>`` element: ``<``, ``>`` and ``&`` are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def scripts() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, safe in a ``<script>`` element."""
    # The type stub requires a snippet; the function itself does not.
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _attribute(text: str) -> str:
    text = _NOT_XML.sub("\ufffd", text)
    for character, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text
