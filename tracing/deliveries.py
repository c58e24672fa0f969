"""What one consumer has handed out and is being processed, and everything that ends it.

By `getone` each task has at most one record at hand: it asks for the next one when it is done with that. A record of a
batch is at hand as long as a step of the loop over the batch takes, however many such loops there are.
"""

from __future__ import annotations

import asyncio
import functools
from contextvars import Context as Variables
from time import monotonic
from typing import Any, Final
from weakref import ref

from aiokafka import AIOKafkaConsumer, ConsumerRecord
from opentelemetry.context import Context, get_current

from tracing import faststream, faults, waiting
from tracing.delivery import AT_HAND, Delivery, Together
from tracing.processing import Processing
from tracing.spans import suppressed
from tracing.telemetry import OpenDeliveries, Telemetry
from tracing.waiting import Waiter

Received = ConsumerRecord[Any, Any]

#: The code of the coroutines that only receive.
RECEIVES: Final[set[object]] = {AIOKafkaConsumer.__anext__.__code__}


class Deliveries:
    """The open deliveries of one consumer."""

    __slots__ = ("_consumer", "_group", "_open", "_telemetry", "_timer", "hands_out")

    def __init__(self, telemetry: Telemetry, consumer: AIOKafkaConsumer) -> None:
        self._telemetry = telemetry
        self._group: str | None = getattr(consumer, "_group_id", None)
        #: By task; a record of a batch, which its iterator ends, by itself.
        self._open: dict[object, Delivery | None] = {}
        self._timer: asyncio.TimerHandle | None = None
        #: Whether the processing of its records begins here, and not where a framework runs their handler.
        self.hands_out = not faststream.reads()
        # Not a method of this object, which would keep itself.
        gone = functools.partial(_forget, telemetry.deliveries, id(consumer), self._open)
        self._consumer = ref(consumer, gone)

    @classmethod
    def first(cls, telemetry: Telemetry, consumer: AIOKafkaConsumer) -> Deliveries | None:
        """Return what a consumer will have handed out, before its first receive; None if nothing is traced any more."""
        if not telemetry.active:
            return None
        try:
            found = telemetry.deliveries[id(consumer)] = cls(telemetry, consumer)
        except Exception as error:  # noqa: BLE001 - records are received untraced rather than not at all
            faults.report("tracing a loop", error)
            return None
        return found

    def put_down(self) -> asyncio.Task[Any] | None:
        """End what the current task has at hand, because it asks for more, and return the task."""
        task = None
        try:
            task = asyncio.current_task()
            delivery = self._open.get(task)
            if delivery is not None:
                self._open[task] = None
                delivery.close()
            elif task not in self._open and (waiter := waiting.waiter(task)) is not None:
                waiter.variables.run(self.end, waiter.task)
        except Exception as error:  # noqa: BLE001 - as above
            faults.report("ending a process span", error)
        return task

    def hand_out(self, record: Received, task: asyncio.Task[Any] | None) -> None:
        """Begin the processing of what `getone` returns, in the current task."""
        try:
            context = get_current()
            if (
                task is not None
                and self.hands_out
                and (self._wants(record, context) if context else self._telemetry.active)
                and (task in self._open or self._knows(task))
            ):
                self._begin(task, record, context)
        except Exception as error:  # noqa: BLE001 - the record has left the client and would be lost
            faults.report("starting a process span", error)

    def step(self, record: Received) -> Delivery | None:
        """Begin the processing of the next record of a batch, which `end` ends; None if it has none."""
        context = get_current()
        wanted = self._wants(record, context) if context else self._telemetry.active
        return self._begin(None, record, context) if wanted else None

    def _wants(self, record: Received, context: Context) -> bool:
        together = context.get(AT_HAND)
        if isinstance(together, Together) and record in together:
            return False
        return self._telemetry.active and not suppressed(context)

    def _knows(self, task: asyncio.Task[Any]) -> bool:
        """Return whether code follows a receive in a task; its end is heard of from now on."""
        waiter = waiting.waiter(task)
        if waiter is None and getattr(task.get_coro(), "cr_code", None) in RECEIVES:
            return False
        self._register(task, waiter)
        return True

    def _register(self, task: asyncio.Task[Any], waiter: Waiter | None) -> None:
        self._open[task] = None
        task.add_done_callback(functools.partial(self._task_ended, waiter), context=Variables())

    def _begin(self, task: object, record: Received, context: Context) -> Delivery:
        delivery = Delivery(record, Processing(record, self._group, (), None))
        self._open[delivery if task is None else task] = delivery
        try:
            delivery.begin(context)
            if self._timer is None and asyncio._get_running_loop() is not None:  # noqa: SLF001 - asks without raising
                self._wake_in(self._telemetry.options.process_span_limit)
        except Exception as error:  # noqa: BLE001 - the record is processed untraced rather than not at all
            faults.report("starting a process span", error)
        return delivery

    def end(self, key: object) -> None:
        """End what a task has at hand, or one record of a batch."""
        if type(key) is Delivery:
            delivery = self._open.pop(key, None)
        elif (delivery := self._open.get(key)) is not None:
            self._open[key] = None
        if delivery is not None:
            _close(delivery)

    def _task_ended(self, waiter: Waiter | None, task: asyncio.Task[Any]) -> None:
        delivery = self._open.pop(task, None)
        if delivery is None:
            return
        if waiter is None or waiter.task.done() or task.cancelled() or task.exception() is not None:
            delivery.finish()
        else:
            waiter.variables.run(self._hand_on, delivery, waiter.task)

    def _hand_on(self, delivery: Delivery, task: asyncio.Task[Any]) -> None:
        """Let a task go on with what a task for which it waited had at hand."""
        if task not in self._open:
            self._register(task, waiting.waiter(task))
        self.end(task)
        delivery.attach()
        self._open[task] = delivery

    def _wake_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end_old, context=Variables())

    def _end_old(self) -> None:
        """End what is at hand for too long, and wake again for what is not."""
        self._timer = None
        limit, now = self._telemetry.options.process_span_limit, monotonic()
        left = limit
        for key, delivery in list(self._open.items()):
            if delivery is not None and (rest := delivery.since + limit - now) <= 0:
                self.end(key)
            elif delivery is not None:
                left = min(left, rest)
        if any(self._open.values()):
            self._wake_in(left)

    def stop(self) -> None:
        """End everything, because the consumer stops; what still runs, in other tasks or a batch, is in its trace."""
        try:
            here = asyncio.current_task()
            for key, delivery in list(self._open.items()):
                if key is here:
                    self.end(key)
                elif delivery is not None:
                    delivery.finish()
                    delivery.fade()
        except Exception as error:  # noqa: BLE001 - the consumer must stop
            faults.report("ending a process span", error)

    def close(self) -> None:
        """End everything, because tracing is switched off."""
        _close_all(self._open)


def _close(delivery: Delivery) -> None:
    try:
        delivery.close()
    except Exception as error:  # noqa: BLE001 - a foreign span processor must not cost a record
        faults.report("ending a process span", error)


def _close_all(left: dict[object, Delivery | None]) -> None:
    for key, delivery in list(left.items()):
        if delivery is not None:
            left[key] = None
            _close(delivery)


def _forget(known: dict[int, OpenDeliveries], consumer: int, left: dict[object, Delivery | None], _: object) -> None:
    """End everything, because the consumer is gone."""
    known.pop(consumer, None)
    _close_all(left)
