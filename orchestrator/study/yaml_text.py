"""The YAML of study files: version 1.2 without anchors, tags, directives and non-text keys.

The excluded features can do harm or mislead the reader. An alias can stand for billions of values
in a few hundred bytes, a tag can name a Python object, a directive can turn ``no`` into false, and
a merge key hides where a value comes from.
"""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.constructor import RoundTripConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

MOST_LEVELS = 50
_LARGEST = 1 << 63
_STRING_TAG = "tag:yaml.org,2002:str"


class YamlTextError(Exception):
    """Text that is not valid YAML for a study file.

    Args:
        what: The problem.
        place: 0-based line and column.
        hint: How to fix it, if known.
    """

    def __init__(self, what: str, place: tuple[int, int] = (0, 0), hint: str | None = None) -> None:
        super().__init__(what)
        self.what, self.place, self.hint = what, place, hint


def read_yaml(text: str) -> Any:
    """Read ``text`` as a tree with the location of each key and value.

    Raises:
        YamlTextError: If the text is invalid; locates the first problem.
    """
    yaml = YAML()
    yaml.Composer, yaml.Constructor = _Composer, _Constructor
    try:
        return yaml.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = _first_line(error.problem or error.context or "")
        raise YamlTextError(what, (mark.line, mark.column) if mark else (0, 0)) from None
    except ReaderError as error:
        before = text[: error.position]
        place = (before.count("\n"), len(before) - before.rfind("\n") - 1)
        raise YamlTextError(f"unexpected character {error.character:#04x}", place) from None
    except (YAMLError, ValueError, AttributeError, TypeError, KeyError, AssertionError) as error:
        # Raised by the library on some malformed texts.
        raise YamlTextError(f"is not valid YAML: {_first_line(str(error))}") from None


def token_ends(text: str) -> dict[tuple[int, int], tuple[int, int]]:
    """Return where each key, value and collection of valid YAML ends, by where it starts.

    Places are 0-based lines and columns. Where several start, the shortest counts, such as the
    first key of a mapping.
    """
    ends: dict[tuple[int, int], tuple[int, int]] = {}
    left = [YAML().compose(text)]
    while left:
        node = left.pop()
        start = (node.start_mark.line, node.start_mark.column)
        end = (node.end_mark.line, node.end_mark.column)
        ends[start] = min(end, ends.get(start, end))
        if isinstance(node.value, list):
            for part in node.value:
                left += part if isinstance(part, tuple) else [part]
    return ends


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0] or "is not valid YAML"


def _refuse(mark: Any, what: str, hint: str | None = None) -> YamlTextError:
    return YamlTextError(what, (mark.line, mark.column), hint)


class _Composer(Composer):
    """A composer that refuses text before it builds anything, which bounds its work."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self._levels = 0

    def compose_document(self) -> Any:
        event = self.parser.peek_event()
        if event.version or event.tags:
            raise _refuse(event.start_mark, "directives (%) are not allowed", "remove it")
        return super().compose_document()

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if event.anchor is not None:  # An alias has one too.
            what = "anchors and aliases are not allowed"
            raise _refuse(event.start_mark, what, "write it out")
        if getattr(event, "ctag", None) is not None:
            raise _refuse(event.start_mark, "tags (!) are not allowed", "remove it, or quote text")
        if self._levels == MOST_LEVELS:
            raise _refuse(event.start_mark, f"is nested more than {MOST_LEVELS} levels deep")
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        for key, _ in node.value:
            if str(key.tag) != _STRING_TAG:
                shown = repr(key.value) if isinstance(key.value, str) else "a list or mapping"
                raise _refuse(key.start_mark, f"keys must be text, got {shown}", "quote it")
        return node


class _Constructor(RoundTripConstructor):
    """A constructor that locates scalars that look like numbers or dates but are invalid."""

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            raise _refuse(node.start_mark, f"cannot be read: {_first_line(str(error))}") from None
        if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
            raise _refuse(node.start_mark, "is a whole number of more than 64 bits")
        return value
