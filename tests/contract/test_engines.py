"""What every engine promises: each attempt is told once, results agree to the bit, and nothing is left behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.engines import ENGINES, Engine, EngineOptions, open_engine
from orchestrator.engines.attempt import told
from orchestrator.engines.backlog import Backlog
from orchestrator.errors import InputError
from orchestrator.trial import Done, Event, Failed, Lost, Started, State, Task

from . import engine_tasks

PROCESSES = [name for name in ENGINES if name != "inline"]
ALGEBRA = [{"seed": seed} for seed in range(4)]


def task(name: str, task_id: str = "t", *, timeout_s: float | None = None, locality: str = "", **payload: Any) -> Task:
    return Task(task_id, f"{engine_tasks.__name__}:{name}", payload, timeout_s=timeout_s, locality=locality)


def until(happened: Callable[[], bool], within_s: float = 20.0) -> None:
    give_up_at = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < give_up_at, "it did not happen"
        time.sleep(0.01)


def dead(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Drive:
    """Submits tasks, collects their events, and holds the engine to the order and number of them."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.events: list[Event] = []
        self.ends: dict[str, Any] = {}

    def submit(self, *tasks: Task) -> None:
        for each in tasks:
            self.engine.submit(each)

    def poll_until(self, happened: Callable[[], bool], within_s: float = 60.0) -> None:
        give_up_at = time.monotonic() + within_s
        while not happened():
            assert time.monotonic() < give_up_at, self.events
            self.poll(0.05)

    def poll(self, timeout_s: float) -> None:
        for event in self.engine.poll(timeout_s):
            self.events.append(event)
            if not isinstance(event, Started):
                assert event.task_id not in self.ends, "an attempt ended twice"
                self.ends[event.task_id] = event

    def finish(self, *tasks: Task) -> list[Any]:
        """Wait for these, and see that nothing else is told and that each was started once, before its end."""
        self.poll_until(lambda: all(each.task_id in self.ends for each in tasks))
        self.poll(0.1)
        order = [(event.task_id, isinstance(event, Started)) for event in self.events]
        for task_id, end in self.ends.items():
            starts = [position for position, step in enumerate(order) if step == (task_id, True)]
            assert len(starts) == 1 or (isinstance(end, Failed) and end.state is State.CANCELLED and not starts)
            assert all(position < order.index((task_id, False)) for position in starts)
        return [self.ends[each.task_id] for each in tasks]

    def run(self, *tasks: Task) -> list[Any]:
        self.submit(*tasks)
        return self.finish(*tasks)

    def started(self, task_id: str) -> bool:
        return any(isinstance(event, Started) and event.task_id == task_id for event in self.events)


@pytest.fixture(scope="module")
def ray_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_engine("ray", EngineOptions(2, 1, tmp_path_factory.mktemp("ray")))
    yield engine
    engine.close()


def opened(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drive]:
    if name == "ray":
        yield Drive(request.getfixturevalue("ray_engine"))
        return
    engine = open_engine(name, EngineOptions(2, 1, tmp_path / "logs"))
    yield Drive(engine)
    engine.close()


@pytest.fixture(params=list(ENGINES))
def drive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drive]:
    """Every engine."""
    yield from opened(request.param, request, tmp_path)


@pytest.fixture(params=PROCESSES)
def guarded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Drive]:
    """The engines that run tasks in processes of their own, and so can stop them and survive them."""
    yield from opened(request.param, request, tmp_path)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    engine = open_engine("inline", EngineOptions(1, 1, tmp_path_factory.mktemp("inline")))
    tasks = [task("algebra", f"t{payload['seed']}", **payload) for payload in ALGEBRA]
    return [end.result for end in Drive(engine).run(*tasks)]


# --- the ordinary course -------------------------------------------------------------------------------------------


def test_many_tasks_come_back_once_each(drive: Drive) -> None:
    tasks = [task("nothing", f"t{number}", number=number) for number in range(300)]
    ends = drive.run(*tasks)
    assert [end.result for end in ends] == [{"echo": number} for number in range(300)]
    assert all(end.started_at <= end.ended_at and end.node for end in ends)


def test_results_agree_to_the_bit(drive: Drive, reference: list[dict[str, Any]]) -> None:
    ends = drive.run(*[task("algebra", f"t{payload['seed']}", **payload) for payload in ALGEBRA])
    assert [end.result for end in ends] == reference
    assert ends[0].result["tuple"] == [1, 2.5]
    assert ends[0].result["keys"] == {"1": None}


def test_one_worker_gives_the_same(tmp_path: Path, reference: list[dict[str, Any]]) -> None:
    engine = open_engine("local", EngineOptions(1, 1, tmp_path))
    ends = Drive(engine).run(*[task("algebra", f"t{payload['seed']}", **payload) for payload in ALGEBRA])
    engine.close()
    assert [end.result for end in ends] == reference


def test_a_task_has_the_threads_of_the_options(drive: Drive) -> None:
    (end,) = drive.run(task("threads"))
    assert end.result == {"pools": [1], "numba": 1}


def test_the_environment_is_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    Drive(open_engine("inline", EngineOptions(1, 1, tmp_path))).run(task("nothing"))
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in os.environ


def test_slots(guarded: Drive, tmp_path: Path) -> None:
    assert guarded.engine.slots() == {"cpu": 2}
    assert open_engine("inline", EngineOptions(2, 1, tmp_path)).slots() == {"cpu": 1}


def test_an_idle_poll_gives_nothing(drive: Drive) -> None:
    assert list(drive.engine.poll(0.02)) == []


def test_two_workers_work_at_the_same_time(guarded: Drive, tmp_path: Path) -> None:
    folder = tmp_path / "meeting"
    folder.mkdir()
    ends = guarded.run(*[task("meet", f"t{number}", folder=str(folder), parties=2) for number in range(2)])
    assert [type(end) for end in ends] == [Done, Done]


def test_inline_runs_in_this_process(tmp_path: Path) -> None:
    (end,) = Drive(open_engine("inline", EngineOptions(4, 1, tmp_path))).run(task("process"))
    assert end.result["pid"] == os.getpid()


def test_submit_does_not_wait_for_a_slot(guarded: Drive) -> None:
    tasks = [task("sleep", f"t{number}", seconds=0.05) for number in range(6)]
    guarded.submit(*tasks)
    assert not guarded.ends
    assert all(isinstance(end, Done) for end in guarded.finish(*tasks))


def test_a_kind_without_slots_is_refused(drive: Drive) -> None:
    with pytest.raises(InputError, match="kind must be one that the engine has slots of"):
        drive.engine.submit(Task("t", f"{engine_tasks.__name__}:nothing", {}, kind="spark"))


# --- tasks that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "state", "reason"),
    [
        ("value_error", State.FAILED, "ValueError: a first line and a second"),
        ("leave", State.FAILED, "SystemExit: enough"),
        ("no_memory", State.OOM, "MemoryError"),
        ("not_finite", State.FAILED, "ValueError"),
        ("not_json", State.FAILED, "TypeError"),
        ("not_a_mapping", State.FAILED, "TypeError: a task must return a mapping"),
        ("no_such_function", State.FAILED, "AttributeError"),
    ],
)
def test_a_failing_task_says_why_and_the_engine_goes_on(drive: Drive, name: str, state: State, reason: str) -> None:
    end, after = drive.run(task(name, "bad"), task("nothing", "good"))
    assert (end.state, isinstance(after, Done)) == (state, True)
    assert reason in end.reason
    assert "\n" not in end.reason
    assert "Traceback" in end.log


def test_what_a_task_printed_comes_with_its_failure(guarded: Drive) -> None:
    first, second = guarded.run(task("chatter", "first"), task("value_error", "second"))
    assert "line 199" in first.log
    assert "line 100\n" not in first.log
    assert "RuntimeError: after the chatter" in first.log
    assert "line" not in second.log.partition("Traceback")[0]


def test_ctrl_c_passes_through_inline(tmp_path: Path) -> None:
    engine = open_engine("inline", EngineOptions(1, 1, tmp_path))
    engine.submit(task("interrupt"))
    with pytest.raises(KeyboardInterrupt):
        engine.poll(0)


def test_a_timeout_inline_is_told_after_the_fact(tmp_path: Path) -> None:
    engine = open_engine("inline", EngineOptions(1, 1, tmp_path))
    (end,) = Drive(engine).run(task("sleep", timeout_s=0.01, seconds=0.05))
    assert end.state is State.TIMEOUT


# --- tasks that must be stopped ------------------------------------------------------------------------------------


def test_cancel_a_queued_task(drive: Drive) -> None:
    queued = [task("sleep", f"t{number}", seconds=0.02) for number in range(6)]
    drive.submit(*queued)
    drive.engine.cancel("t5", grace_s=1)
    drive.engine.cancel("nobody", grace_s=1)
    ends = drive.finish(*queued)
    assert [type(end) for end in ends] == [Done] * 5 + [Failed]
    assert ends[5].state is State.CANCELLED
    assert not drive.started("t5")


@pytest.mark.parametrize(("name", "grace_s"), [("sleep", 5.0), ("sleep", 0.0), ("stubborn", 0.2)])
def test_cancel_a_running_task(guarded: Drive, name: str, grace_s: float) -> None:
    running = task(name, "running", seconds=60)
    guarded.submit(running)
    guarded.poll_until(lambda: guarded.started("running"))
    guarded.engine.cancel("running", grace_s=grace_s)
    end, after = guarded.run(task("nothing", "after"))[0], guarded.finish(running)[0]
    assert (type(end), after.state) == (Done, State.CANCELLED)


@pytest.mark.parametrize("name", ["sleep", "stubborn"])
def test_a_timeout_kills(guarded: Drive, name: str) -> None:
    start = time.monotonic()
    end, after = guarded.run(task(name, "slow", timeout_s=0.3, seconds=60), task("nothing", "after"))
    assert (end.state, type(after)) == (State.TIMEOUT, Done)
    assert "limit of 0.3 s" in end.reason
    assert time.monotonic() - start < 30, "the task was waited for"


def test_what_a_task_forked_dies_with_it(guarded: Drive, tmp_path: Path) -> None:
    note = tmp_path / "child"
    (end,) = guarded.run(task("fork_and_sleep", timeout_s=1.0, file=str(note)))
    assert end.state is State.TIMEOUT
    until(lambda: dead(int(note.read_text())))


def test_a_forked_child_does_not_answer(guarded: Drive) -> None:
    ends = guarded.run(*[task("fork_and_return", f"t{number}") for number in range(3)])
    assert [end.result for end in ends] == [{"child": False}] * 3


# --- workers that die ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason", "word"),
    [
        ("segfault", "died of SIGSEGV", "the last words"),
        ("exit_now", "ended with exit code 3", "before the exit"),
        ("interrupt", "died of SIGINT", "KeyboardInterrupt"),
    ],
)
def test_a_crash_is_a_failure(guarded: Drive, name: str, reason: str, word: str) -> None:
    end, after = guarded.run(task(name, "bad"), task("nothing", "good"))
    assert (end.state, type(after)) == (State.FAILED, Done)
    assert reason in end.reason
    assert word in end.log


def test_a_worker_killed_from_outside_is_a_loss(guarded: Drive, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    running = task("announce_and_sleep", "running", file=str(note))
    guarded.submit(running)
    guarded.poll_until(lambda: note.exists() and note.read_text() != "")
    os.kill(int(note.read_text()), signal.SIGKILL)
    (end,) = guarded.finish(running)
    assert isinstance(end, Lost)
    again, other = guarded.run(task("nothing", "again"), task("nothing", "other"))
    assert (type(again), type(other)) == (Done, Done)


def test_an_idle_worker_killed_from_outside_is_replaced(tmp_path: Path) -> None:
    engine = open_engine("local", EngineOptions(1, 1, tmp_path))
    drive = Drive(engine)
    pid = drive.run(task("process", "first"))[0].result["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: dead(pid))
    drive.poll(0)
    second = drive.run(task("process", "second"))[0]
    engine.close()
    assert second.result["pid"] != pid


def test_a_lost_node_is_a_loss(ray_engine: Engine) -> None:
    drive = Drive(ray_engine)
    minder = drive.run(task("process", "who"))[0].result["parent"]
    sleepers = [task("sleep", f"t{number}", seconds=2) for number in range(2)]
    drive.submit(*sleepers)
    drive.poll_until(lambda: drive.started("t1"))
    os.kill(minder, signal.SIGKILL)
    ends = drive.finish(*sleepers)
    assert sorted(type(end).__name__ for end in ends) == ["Done", "Lost"]
    after = [task("process", f"after{number}") for number in range(20)]
    assert all(end.result["parent"] != minder for end in drive.run(*after))


# --- the end -------------------------------------------------------------------------------------------------------


def test_close_leaves_no_process(tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    engine = open_engine("local", EngineOptions(2, 1, tmp_path))
    drive = Drive(engine)
    drive.submit(task("stubborn", "a"), task("fork_and_sleep", "b", file=str(tmp_path / "child")))
    drive.poll_until(lambda: (tmp_path / "child").exists() and drive.started("a"))
    engine.close()
    engine.close()
    assert {child.pid for child in psutil.Process().children(recursive=True)} <= before
    until(lambda: dead(int((tmp_path / "child").read_text())))
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(task("nothing"))


def run_script(script: str, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(folder) for folder in Path(__file__).parents[1:3]])
    command = [sys.executable, "-c", _PREAMBLE + script, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path})


_PREAMBLE = f"""
import json, os, signal, sys, time
from pathlib import Path
import psutil
from {__name__} import Drive, task
from orchestrator.engines import EngineOptions, open_engine
"""


def test_workers_die_with_a_killed_driver(tmp_path: Path) -> None:
    script = """
drive = Drive(open_engine("local", EngineOptions(2, 1, Path(sys.argv[1]))))
drive.submit(task("stubborn", "a"), task("sleep", "b", seconds=600))
drive.poll_until(lambda: drive.started("a") and drive.started("b"))
print(json.dumps([child.pid for child in psutil.Process().children(recursive=True)]), flush=True)
time.sleep(600)
"""
    driver = run_script(script, str(tmp_path))
    assert driver.stdout
    workers = json.loads(driver.stdout.readline())
    driver.kill()
    driver.communicate()
    assert len(workers) == 2
    until(lambda: all(dead(pid) for pid in workers))


@pytest.mark.slow
def test_ray_ends_with_its_engine_and_keeps_our_signal_handler(tmp_path: Path) -> None:
    script = """
handler = lambda number, frame: None
signal.signal(signal.SIGTERM, handler)
engine = open_engine("ray", EngineOptions(1, 1, Path(sys.argv[1])))
kept = signal.getsignal(signal.SIGTERM) is handler
Drive(engine).run(task("nothing"))
processes = psutil.Process().children(recursive=True)
engine.close()
engine.close()
gone, alive = psutil.wait_procs(processes, timeout=10)
print(json.dumps([kept, len(gone) > 0, [str(process) for process in alive]]))
"""
    driver = run_script(script, str(tmp_path))
    assert json.loads(driver.communicate(timeout=120)[0].splitlines()[-1]) == [True, True, []]


@pytest.mark.slow
def test_joining_a_smaller_cluster(tmp_path: Path) -> None:
    script = """
from ray.cluster_utils import Cluster
from orchestrator.engines import minder
from orchestrator.errors import InputError
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
def attempt(threads):
    try:
        engine = open_engine("ray", EngineOptions(4, threads, Path(sys.argv[1]), cluster.address))
    except InputError as error:
        return str(error)
    result = Drive(engine).run(task("nothing", number=5))[0].result
    slots = dict(engine.slots())
    engine.close()
    return [slots, result]
said = [attempt(1), attempt(2), attempt(1)]
here = minder.versions()
sys.modules["orchestrator.engines.ray"].versions = lambda: here | {"python": "2.7"}
print(json.dumps([*said, attempt(1)]))
cluster.shutdown()
"""
    driver = run_script(script, str(tmp_path))
    lines = driver.communicate(timeout=200)[0].splitlines()
    first, too_many, again, other = json.loads(next(line for line in lines if line.startswith("[[")))
    assert first == again == [{"cpu": 1}, {"echo": 5}]
    assert "must have 2 CPU for a slot" in too_many
    assert "'python': '2.7'" in other


def test_nobody_at_the_address(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    script = """
try:
    open_engine("ray", EngineOptions(1, 1, Path(sys.argv[1]), sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
"""
    said = run_script(script, str(tmp_path), address).communicate(timeout=60)[0]
    assert said.startswith(f"InputError a Ray cluster must answer at {address!r}, but")


# --- the queue -----------------------------------------------------------------------------------------------------


def queue_of(*localities: str) -> Backlog:
    backlog = Backlog()
    for number, locality in enumerate(localities):
        backlog.add(task("nothing", str(number), locality=locality), frozenset({"cpu"}))
    return backlog


def taken(backlog: Backlog, locality: str) -> Sequence[str]:
    return [backlog.take(locality).task.task_id for _ in range(len(backlog))]


def test_a_worker_prefers_what_it_ran_last() -> None:
    assert taken(queue_of("a", "b", "a", "b"), "b") == ["1", "3", "0", "2"]
    assert taken(queue_of("a", "b", "a", "b"), "") == ["0", "1", "2", "3"]


def test_the_head_of_the_queue_does_not_starve() -> None:
    order = taken(queue_of("a", *["b"] * 40), "b")
    assert 0 < order.index("0") <= 16


def test_a_returned_task_is_next() -> None:
    backlog = queue_of("a", "b")
    backlog.put_back(backlog.take(""))
    assert taken(backlog, "") == ["0", "1"]


def test_a_task_is_queued_once() -> None:
    with pytest.raises(ValueError, match="already queued"):
        queue_of("a").add(task("nothing", "0"), frozenset({"cpu"}))


def test_a_reply_becomes_one_event() -> None:
    assert told(task("nothing"), b'{"lost":"why"}', "n") == Lost("t", 1, "why", "n")
