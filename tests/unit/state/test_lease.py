import os
import subprocess
import sys
from dataclasses import replace
from functools import partial

import pytest
from pytest_mock import MockerFixture

from airflow_provider_drchrono.state.lease import (
    Claim,
    LeaseUnavailableError,
    Timing,
    VariableLease,
    process_space,
)
from tests.unit.state.simulated_world import Killed, World

KEY = "drchrono:lease:test"
TIMING = Timing(hold=100.0, patience=10_000.0)


def never() -> bool:
    return False


def lease_in(world: World, timing: Timing = TIMING) -> VariableLease:
    return VariableLease(world, KEY, "test", timing=timing, clock=world.clock, sleep=world.sleep)


class Room:
    """What only one process may be in at a time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.inside = 0
        self.visits = 0

    def visit(self, seconds: float) -> None:
        self.inside += 1
        assert self.inside == 1, f"two processes are inside at {self.world.now}"
        self.world.sleep(seconds)
        self.inside -= 1
        self.visits += 1

    def visitor(self, timing: Timing = TIMING) -> None:
        holding = lease_in(self.world, timing).acquire(never)
        assert holding
        self.visit(5.0)
        holding.give_back()


@pytest.mark.parametrize("slow", [0, 10], ids=["usual", "slow-requests"])
@pytest.mark.parametrize("grant_id", range(50))
def test_never_more_than_one_process_holds_the_lease(grant_id: int, slow: int) -> None:
    world = World(grant_id, slow)
    room = Room(world)

    world.run(*[room.visitor] * 6)

    assert room.visits == 6


@pytest.mark.parametrize("grant_id", range(25))
def test_a_process_killed_inside_delays_the_others_and_no_more(grant_id: int) -> None:
    world = World(grant_id)
    room = Room(world)
    taken_over_from = []

    def victim() -> None:
        assert lease_in(world).acquire(never)
        raise Killed

    def survivor() -> None:
        holding = lease_in(world).acquire(never)
        assert holding
        taken_over_from.append(holding.abandoned)
        room.visit(1.0)
        holding.give_back()

    world.run(victim)
    world.run(survivor, survivor)

    assert room.visits == 2
    assert any(taken_over_from)
    assert world.now < 2 * TIMING.hold


def test_a_process_killed_before_its_claim_settled_is_outlived() -> None:
    world = World(1)
    room = Room(world)

    class Victim(VariableLease):
        def _claim(self, mine: Claim, asked: float) -> bool:
            world.write(KEY, mine.dump(), "")
            raise Killed

    def victim() -> None:
        Victim(world, KEY, "test", timing=TIMING, clock=world.clock, sleep=world.sleep).acquire(never)

    world.run(victim, room.visitor)

    assert room.visits == 1


def test_the_search_for_overlaps_finds_one_where_claims_are_believed_at_once() -> None:
    """The simulation is worth nothing if it cannot catch a lease that does not wait for its claim to settle."""
    hasty = replace(TIMING, settle=0.0)

    def try_all() -> None:
        for grant_id in range(50):
            world = World(grant_id)
            world.run(*[partial(Room(world).visitor, timing=hasty)] * 6)

    with pytest.raises(AssertionError, match="two processes are inside"):
        try_all()


def test_who_waits_is_sent_away_when_the_lease_is_no_longer_needed() -> None:
    world = World(3)
    world.values[KEY] = Claim(hold=100.0).dump()
    answers = []

    world.run(lambda: answers.append(lease_in(world).acquire(lambda: world.now > 10)))

    assert answers == [None]
    assert 10 < world.now < 20


def test_who_waits_in_vain_learns_who_holds_the_lease() -> None:
    world = World(4)
    claim = Claim(hold=100.0, host="worker-7", place="elsewhere", process=4711)
    world.values[KEY] = claim.dump()
    impatient = replace(TIMING, patience=30.0)

    with pytest.raises(LeaseUnavailableError, match="process 4711 on worker-7, since 20") as caught:
        world.run(lambda: lease_in(world, impatient).acquire(never) and None)

    assert caught.value.holder == claim


@pytest.mark.parametrize(
    "leftover",
    ["", "{}", "free", "[]", '{"id": 3}', '{"hold": 5, "later": "version"}'],
    ids=["empty", "free", "text", "list", "half-a-claim", "unknown-field"],
)
def test_what_is_not_a_claim_holds_nobody_up(leftover: str) -> None:
    world = World(5)
    world.values[KEY] = leftover
    room = Room(world)

    world.run(room.visitor)

    assert room.visits == 1
    assert world.now < 20


OTHER_RELEASE = '{"version": 99, "holder": {"of": "another shape"}}'


def test_a_claim_of_another_release_is_respected() -> None:
    world = World(9)
    world.values[KEY] = OTHER_RELEASE
    impatient = replace(TIMING, patience=30.0)

    with pytest.raises(LeaseUnavailableError, match="a process with another release of this provider"):
        world.run(lambda: lease_in(world, impatient).acquire(never) and None)

    assert world.values[KEY] == OTHER_RELEASE


def test_a_claim_of_another_release_is_outlived() -> None:
    world = World(9)
    world.values[KEY] = OTHER_RELEASE
    room = Room(world)

    world.run(room.visitor)

    assert room.visits == 1
    assert TIMING.hold < world.now < 2 * TIMING.hold


def test_a_claim_that_is_given_up_while_it_settles_is_withdrawn() -> None:
    world = World(6)

    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    lease = VariableLease(world, KEY, "test", timing=TIMING, clock=world.clock, sleep=interrupted)

    with pytest.raises(KeyboardInterrupt):
        world.run(lambda: lease.acquire(never) and None)

    assert world.values[KEY] == "{}"


def test_a_lease_that_may_be_anothers_by_now_is_not_given_back() -> None:
    world = World(7)
    others = Claim(hold=100.0)

    def overstay() -> None:
        holding = lease_in(world).acquire(never)
        assert holding
        world.sleep(TIMING.hold + 1)
        world.values[KEY] = others.dump()
        holding.give_back()

    world.run(overstay)

    assert world.values[KEY] == others.dump()


class TestClaimant:
    def ended_process(self) -> int:
        child = subprocess.Popen([sys.executable, "-c", "pass"])
        child.wait()
        return child.pid

    @pytest.mark.skipif(not process_space(), reason="this system does not name its process spaces")
    def test_that_has_ended_on_this_machine_is_known_to_be_dead(self) -> None:
        assert Claim(hold=1.0, process=self.ended_process()).is_dead

    @pytest.mark.skipif(not process_space(), reason="this system does not name its process spaces")
    def test_that_was_killed_is_dead_before_its_parent_takes_note(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        claim = Claim(hold=1.0, process=child.pid)
        assert not claim.is_dead

        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

        assert claim.is_dead
        child.wait()

    @pytest.mark.skipif(not process_space(), reason="this system does not name its process spaces")
    def test_that_is_another_users_is_not_known_to_be_dead(self, mocker: MockerFixture) -> None:
        mocker.patch.object(os, "kill", side_effect=PermissionError)
        assert not Claim(hold=1.0).is_dead

    def test_that_runs_is_not_dead(self) -> None:
        assert not Claim(hold=1.0).is_dead

    @pytest.mark.parametrize("place", ["", "another container"], ids=["nowhere", "elsewhere"])
    def test_of_another_machine_is_never_known_to_be_dead(self, place: str) -> None:
        assert not Claim(hold=1.0, place=place, process=self.ended_process()).is_dead

    @pytest.mark.skipif(not process_space(), reason="this system does not name its process spaces")
    def test_that_is_dead_keeps_nobody_waiting(self) -> None:
        world = World(8)
        dead = Claim(hold=100.0, process=self.ended_process())
        world.values[KEY] = dead.dump()
        taken_over_from = []

        def successor() -> None:
            holding = lease_in(world).acquire(never)
            assert holding
            taken_over_from.append(holding.abandoned)

        world.run(successor)

        assert taken_over_from == [dead]
        assert world.now < 10
