"""Charts as static SVG, readable where no script runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import vl_convert

_ID = re.compile(r'\bid="([^"]+)"')
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def static_svg(specification: Mapping[str, Any], key: str, title: str) -> str:
    """Draw a chart.

    Args:
        specification: Vega-Lite, with its data inside.
        key: Unique on the page; comes before every id, because ids of several drawings on one
            page would collide.
        title: What a screen reader says of it.

    Returns:
        An ``<svg>`` element. Equal charts give equal text.
    """
    drawn: str = vl_convert.vegalite_to_svg(drawable(specification), allowed_base_urls=[])
    # Ids are counted up within a process; here they are counted from 0 in each drawing.
    for number, name in enumerate(dict.fromkeys(_ID.findall(drawn))):
        new = f"{key}-{number}"
        drawn = drawn.replace(f'id="{name}"', f'id="{new}"')
        drawn = drawn.replace(f"url(#{name})", f"url(#{new})")
    start = drawn.index("<svg") + len("<svg")
    return f'<svg role="img" aria-label="{_attribute(title)}"{drawn[start:]}'


def drawable(value: Any) -> Any:
    """JSON without the characters that no XML can hold, such as those of a coloured terminal.

    The renderer ends the whole process where it meets one.
    """
    if isinstance(value, Mapping):
        return {name: drawable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [drawable(one) for one in value]
    return _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else value


def embedded_json(value: Any) -> str:
    """JSON that can stand in a ``<script>`` element: without ``<``, ``>``, ``&``."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@cache
def scripts() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, fit for a ``<script>`` element."""
    # Its stub asks for a snippet that the function itself does not need.
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _attribute(text: str) -> str:
    text = _NOT_XML.sub("\ufffd", text)
    for character, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text
