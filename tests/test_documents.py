"""The pages of the documentation name only tests, files and links that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEST = re.compile(r"`((?:\w+/)*test_\w+\.py)(?:::(\w+)(…?))?`")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")


def test_every_test_named_in_the_documentation_exists():
    missing = []
    for page in PAGES:
        for path, name, cut in TEST.findall(page.read_text("utf-8")):
            file = ROOT / "tests" / path.removeprefix("tests/")
            text = file.read_text("utf-8") if file.is_file() else None
            if text is None or (name and f"def {name}{'' if cut else '('}" not in text):
                missing.append(f"{page.name}: {path} {name}")
    assert missing == []


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_in_the_documentation_has_a_target():
    missing = []
    for page in PAGES:
        for path, anchor in LINK.findall(page.read_text("utf-8")):
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor[1:] not in anchors(target)):
                missing.append(f"{page.name}: {path}{anchor}")
    assert missing == []


def test_every_error_code_is_explained():
    """Codes are headings of the troubleshooting page, and each heading is a code."""
    sources = [path.read_text("utf-8") for path in (ROOT / "orchestrator").rglob("*.py")]
    codes = {
        code for text in sources for code in re.findall(r'\bcode(?:: str)? ?= ?"([a-z-]+)"', text)
    }
    codes |= {
        code for text in sources for code in re.findall(r'code = [^\n]*, "([a-z-]+)"$', text, re.M)
    }
    codes |= {code for text in sources for code in re.findall(r'"error\[([a-z-]+)\]', text)}
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    assert set(re.findall(r"^### (.+)$", page, re.MULTILINE)) == codes - {"study"}
