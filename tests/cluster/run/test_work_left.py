from orchestrator.cluster.run.work_left import WorkLeft


def test_the_work_left_is_counted_by_kind():
    assert not WorkLeft(frozenset(), frozenset())
    left = WorkLeft(frozenset("a"), frozenset("bc"), audits=1, checks=2)
    assert left.text() == (
        "1 trial to train, 2 snapshots to measure, 1 snapshot to audit, 2 networks to check"
    )
    for kind, text in {
        "trials": "1 trial to train",
        "snapshots": "1 snapshot to measure",
    }.items():
        one = WorkLeft(**{"trials": frozenset(), "snapshots": frozenset(), kind: frozenset("a")})
        assert one
        assert one.text() == text
    assert WorkLeft(frozenset(), frozenset(), audits=3).text() == "3 snapshots to audit"
    assert WorkLeft(frozenset(), frozenset(), checks=1).text() == "1 network to check"
