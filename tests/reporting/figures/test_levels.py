from orchestrator.reporting.data.hue import Hue
from orchestrator.reporting.data.open_results import Rows
from orchestrator.reporting.figures.levels import by_level, level_title, levels_of, narrowed

HUE = Hue("batch_size", "batch size", tuple(str(2**power) for power in range(10)))


def test_few_levels_are_all_drawn():
    assert narrowed(HUE, 10) == (HUE, "")
    assert narrowed(None, 2) == (None, "")


def test_many_levels_are_thinned_evenly_including_the_ends():
    kept, sentence = narrowed(HUE, 4)
    assert kept.levels == ("1", "8", "64", "512")
    assert sentence == "Shown: 4 of 10 levels of batch size."


def test_rows_of_other_levels_are_left_out():
    rows = Rows({"level": [1, 2, 8], "value": [0.12345678, 1.0, 2.0], "n": [3, 3, 3]})
    kept, _ = narrowed(HUE, 4)
    assert list(by_level(rows, kept)) == [
        {"hue": "1", "value": 0.12345678, "n": 3},
        {"hue": "8", "value": 2.0, "n": 3},
    ]
    assert [record["hue"] for record in by_level(rows, None)] == ["all networks"] * 3
    assert levels_of(None) == ("all networks",)
    assert (level_title(HUE, "8"), level_title(None, "x")) == ("batch size 8", "x")
