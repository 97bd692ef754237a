"""Every built-in part has options, which are read without torch, and code, found by the options."""

import importlib

from orchestrator.registry import builder_of, builds
from orchestrator.study.data_options import BuiltInDataSet
from orchestrator.study.model_options import BuiltInModel
from orchestrator.study.options import BuiltIn, names_of, parts_of
from orchestrator.study.training_options.loss_options import BuiltInLoss
from orchestrator.study.training_options.optimizer_options import BuiltInOptimizer
from orchestrator.study.training_options.schedule_options import BuiltInSchedule

ROOMS = {
    BuiltInOptimizer: "training.optimizers",
    BuiltInLoss: "training.losses",
    BuiltInSchedule: "training.schedules",
    BuiltInModel: "models",
    BuiltInDataSet: "data",
}


def test_every_name_is_given_once_and_has_code_in_the_room_of_its_kind():
    rooms = []
    for kind, room in ROOMS.items():
        importlib.import_module(f"orchestrator.{room}")
        for part in parts_of(kind):
            for name in names_of(part):
                file = builder_of(part.model_construct(name=name)).__module__
                rooms.append((room, name, file.rpartition(".")[0]))
    assert [one for one in rooms if one[2] != f"orchestrator.{one[0]}"] == []
    assert len({(room, name) for room, name, _ in rooms}) == len(rooms)


def test_a_decorated_class_or_function_is_found_by_its_options():
    class Kind(BuiltIn):
        pass

    class Part(Kind):
        name: str

    @builds(Part, "one")
    def build_one(options):
        return options.name, 1

    @builds(Part, "other")
    class Other:
        def __init__(self, options):
            self.options = options

    one, other = Part(name="one"), Part(name="other")
    assert builder_of(one)(one) == ("one", 1)
    assert builder_of(other)(other).options is other
