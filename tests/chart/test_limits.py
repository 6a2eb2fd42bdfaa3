"""Without a shared quota, all replicas that can run at the same time together stay within the account's limits."""

import itertools
import tomllib

import pytest

from chart import ci, notes, permitted, refusal, render

PLANS = {"free": (1, 1_000), "pro": (10, 30_000), "business": (40, 60_000)}


def limits_of(toml):
    limits = tomllib.loads(toml)["limits"]
    return limits.get("heavy_per_second"), limits.get("heavy_per_day")


def test_one_replica_has_the_plans_limits_undivided():
    assert limits_of(render().toml) == (None, None)
    assert permitted(render().toml) == (36, 54_000)


@pytest.mark.parametrize(
    "values, shares",
    [
        ({"replicaCount": 2}, 3),
        ({"replicaCount": 3}, 4),
        ({"replicaCount": 3, "rollout": {"maxSurge": 2}}, 5),
        ({"replicaCount": 3, "rollout": {"maxSurge": 0}}, 3),
        ({"replicaCount": 3, "persistence": {"enabled": True}}, 3),
    ],
)
def test_limits_are_divided_by_all_pods_that_run_at_once(values, shares):
    assert limits_of(render(values).toml) == (40 // shares, 60_000 // shares)


def test_limits_that_are_set_are_divided_as_well():
    values = {"replicaCount": 2, "config": {"limits": {"heavy_per_second": 20, "heavy_per_day": 10_000}}}
    assert limits_of(render(values).toml) == (6, 3_333)
    values["replicaCount"] = 1
    assert limits_of(render(values).toml) == (20, 10_000)


@pytest.mark.parametrize("plan", PLANS)
def test_the_charts_table_of_plans_equals_the_services(plan):
    """The chart divides the limits that the service derives from a plan."""
    headroom = {"plan": plan, "headroom_percent": 0}
    assert permitted(render({"config": {"limits": headroom}}).toml) == PLANS[plan]
    if plan == "free":
        assert "the account's limit of 1 calls a second" in refusal({"replicaCount": 2, "config": {"limits": headroom}})
    else:
        second, day = PLANS[plan]
        assert limits_of(render({"replicaCount": 2, "config": {"limits": headroom}}).toml) == (second // 3, day // 3)


@pytest.mark.parametrize("plan, headroom", list(itertools.product(["pro", "business"], [0, 10, 35, 60])))
def test_together_they_never_permit_more_than_one_process_alone(plan, headroom):
    limits = {"plan": plan, "headroom_percent": headroom}
    alone = permitted(render({"config": {"limits": limits}}).toml)
    taken = 0
    for replicas in (2, 3, 5, 8, 12, 35):
        values = {"replicaCount": replicas, "config": {"limits": limits}}
        try:
            toml = render(values).toml
        except AssertionError as refused:
            assert "cannot be divided" in str(refused)
            continue
        taken += 1
        each = permitted(toml)
        for one, all_of_it in zip(each, alone, strict=True):
            assert 1 <= one and one * (replicas + 1) <= all_of_it, values
    assert taken, "every number was refused"


@pytest.mark.parametrize(
    "values, says",
    [
        ({"replicaCount": 2, "config": {"limits": {"plan": "free"}}}, "limit of 1 calls a second cannot be divided by 3 (2 replicas, 1 more during a rollout)"),
        ({"replicaCount": 9, "config": {"limits": {"plan": "pro"}}}, "limit of 10 calls a second cannot be divided by 10"),
        ({"replicaCount": 2, "persistence": {"enabled": True}, "config": {"limits": {"plan": "free"}}}, "cannot be divided by 2 (2 replicas, 0 more during a rollout)"),
        ({"replicaCount": 4, "config": {"limits": {"heavy_per_day": 4}}}, "limit of 4 calls a day cannot be divided by 5"),
        ({"replicaCount": 2, "config": {"limits": {"headroom_percent": 99}}}, "after the headroom each share is less than one call"),
    ],
)
def test_limits_that_cannot_be_divided_are_refused_with_advice(values, says):
    said = refusal(values)
    assert says in said
    assert "lower replicaCount" in said


@pytest.mark.parametrize("feature", ["default", "replicas", "persistence", "every-key", "service-defaults"])
def test_the_notes_say_what_each_replica_may_spend(feature):
    values = ci(feature)
    second, day = permitted(render(values).toml)
    replicas = values.get("replicaCount", 1)
    of = "the one replica" if replicas == 1 else f"each of {replicas} replicas"
    assert f"{of} may make {second} a second and {day} a UTC day" in notes(values)


def test_notes_show_one_call_if_the_headroom_leaves_less():
    values = {"config": {"limits": {"plan": "free", "headroom_percent": 50}}}
    assert permitted(render(values).toml) == (1, 500)
    assert "may make 1 a second and 500 a UTC day" in notes(values)


def test_autoscaling_is_refused_with_the_reason():
    said = refusal({"autoscaling": {"enabled": True}})
    assert "autoscaling.enabled: without redis.existingSecret replicas do not share one budget" in said
    assert "or autoscaling.enabled=false" in said


@pytest.mark.parametrize(
    "values, pods",
    [
        ({}, 2),
        ({"replicaCount": 3}, 4),
        ({"replicaCount": 3, "persistence": {"enabled": True}}, 3),
        ({"autoscaling": {"enabled": True, "maxReplicas": 9}}, 10),
    ],
)
def test_with_redis_limits_are_undivided_and_each_process_knows_the_replicas(values, pods):
    values = values | {"redis": {"existingSecret": "r"}, "networkPolicy": {"redis": {"namespaces": ["redis"]}}}
    rendered = tomllib.loads(render(values).toml)
    assert limits_of(render(values).toml) == (None, None)
    assert rendered["redis"] == {"url_file": "/run/secrets/redis/url", "replicas": pods, "timeout": "250ms"}
    assert "all replicas together may make 36 a second and 54000 a UTC day" in notes(values)
