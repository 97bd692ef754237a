"""The page of all measures."""

from pathlib import Path

from orchestrator.measures.documentation import measures_page
from orchestrator.study.measure_options import BUILT_IN_OPTIONS, name_of

ROOT = Path(__file__).parents[2]


def test_the_page_of_measures_is_up_to_date():
    shipped = (ROOT / "docs" / "measures.md").read_text("utf-8")
    assert shipped == measures_page(), "write it again, as its head says"


def test_each_measure_has_a_section_and_its_options():
    page = measures_page()
    for options in BUILT_IN_OPTIONS:
        section = page.partition(f"### `{name_of(options)}`\n")[2].partition("\n### ")[0]
        assert section
        assert all(f"| `{name}` |" in section for name in options.model_fields if name != "name")


def test_the_readme_names_every_measure():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [one for one in map(name_of, BUILT_IN_OPTIONS) if f"`{one}`" not in readme] == []
