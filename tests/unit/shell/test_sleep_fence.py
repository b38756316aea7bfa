"""Orders wait after a sleep until positions and order book have been read again (P16)."""

import asyncio

from core.model.commands import ReadOrderBook, ReadPositions, Severity
from core.sleep_fence import SleepFence


class Rig:
    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.spawned = []
        self.paused = []
        self.also = 0
        self.awake = True
        self.during_read = lambda: None
        self.alerts = []
        self.fence = SleepFence(
            self.ask, self.spawned.append, lambda: self.awake, self.note, alert=self.alerts.append, sleep=self.pause
        )

    async def ask(self, command):
        self.asked.append(type(command))
        self.during_read()
        return self.answers.pop(0) if self.answers else ""

    async def pause(self, seconds):
        self.paused.append(seconds)

    def note(self):
        self.also += 1

    def look(self):
        asyncio.run(self.spawned.pop())


def test_p16_no_order_between_the_sleep_and_the_reads_after_it():
    rig = Rig()
    assert rig.fence.may_order()
    rig.awake = False
    assert not rig.fence.may_order(), "before the first beat"
    rig.awake = True
    rig.fence.slept(180)
    assert not rig.fence.may_order()
    assert rig.also == 1
    rig.look()
    assert rig.asked == [ReadOrderBook, ReadPositions]
    assert rig.fence.may_order()


def test_p16_a_read_that_fails_keeps_the_fence_closed_and_is_repeated():
    rig = Rig("503", "", "503")
    rig.fence.slept(180)
    rig.during_read = lambda: rig.asked.append(rig.fence.may_order())
    rig.look()
    assert rig.asked.count(False) == 5
    assert len(rig.paused) == 2
    assert rig.fence.may_order()


def test_p16_a_person_hears_once_when_no_exit_can_be_sent_and_when_it_can_again():
    rig = Rig(*["502"] * 9)
    rig.fence.slept(180)
    rig.look()
    assert rig.alerts == [], "a broker that is back after some seconds"
    rig = Rig(*["502"] * 30)
    rig.fence.slept(180)
    rig.look()
    assert [(alert.severity, alert.subject) for alert in rig.alerts] == [
        (Severity.PAGE, "orders are held back since the sleep"),
        (Severity.INFO, "orders may be sent again"),
    ]
    assert "502" in rig.alerts[0].text


def test_p16_a_second_sleep_during_the_reads_has_them_repeated_by_the_same_task():
    rig = Rig()
    rig.fence.slept(180)
    rig.during_read = lambda: (setattr(rig, "during_read", lambda: None), rig.fence.slept(60))
    rig.look()
    assert rig.spawned == []
    assert rig.asked == [ReadOrderBook, ReadPositions] * 2
    assert rig.also == 2
    rig.fence.slept(180)
    assert len(rig.spawned) == 1
    rig.spawned.pop().close()
