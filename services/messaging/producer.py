"""The producer: idempotent, acknowledged by all replicas, Snappy, at most five attempts, and every wait bounded.

aiokafka has no `retries`, and when idempotent it waits for ever: the attempts and the bounds are here. Two things to
know:

- A send that timed out may still be delivered. Readers of the topic recognise a message by its event id.
- After some errors an idempotent producer fails every later send to that partition (aiokafka issue 1017), and after a
  timeout it would deliver what was given up. In both cases a new client replaces the old one, which is closed in the
  background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context
from typing import Self

import stamina
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    NotEnoughReplicasAfterAppendError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    RequestTimedOutError,
    UnknownProducerId,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import RecordMetadata

from services.contracts import Message, encode
from services.messaging import listener, semconv
from services.messaging.closing import close_producer
from services.messaging.errors import MessageTooLarge, SendFailed, Unavailable
from services.messaging.security import KafkaSecurity
from services.messaging.settings import ContractSettings, ProducerSettings
from services.messaging.trace_context import about
from tracing.binding import bind_below

_POISONED = (
    InvalidProducerEpoch,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
    TimeoutError,
)
# After these it is not known whether the broker has the record.
_AMBIGUOUS = (
    KafkaConnectionError,
    NotEnoughReplicasAfterAppendError,
    ProducerClosed,
    RequestTimedOutError,
    TimeoutError,
)
# The trace context is added after the record's size was checked; the client must not refuse the record for that.
_TRACE_BYTES = 16 * 1024

Headers = list[tuple[str, bytes | None]]


class Producer:
    """Sends messages to Kafka.

    Args:
        brokers: `host:port`, or several separated by commas.
        client_id: The name of this client in the broker's logs.
        settings: Attempts, times and sizes; from the environment if not given.
        security: TLS and SASL; from the environment if not given.

    Raises:
        ConfigurationError: a variable is wrong, or a certificate can't be read.
    """

    def __init__(
        self,
        brokers: str,
        *,
        client_id: str = "sagatrace",
        settings: ProducerSettings | None = None,
        security: KafkaSecurity | None = None,
    ) -> None:
        self._brokers = brokers
        self._secured = (security or KafkaSecurity.read()).client_options()
        self._client_id = client_id
        self._settings = settings or ProducerSettings.read()
        self._held = ContractSettings.read().held()
        #: The client, once it is connected; all sends wait for the same connection.
        self._client: asyncio.Task[AIOKafkaProducer] | None = None
        self._replaced: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Connect to the brokers.

        Raises:
            Unavailable: no broker answers in time, or the producer was stopped.
        """
        await self._connected()

    async def stop(self) -> None:
        """Finish the sends that are under way, within the stop timeout, and disconnect."""
        self._stopped = True
        client, self._client = self._client, None
        if client is not None:
            if not client.done():
                client.cancel()
            await asyncio.wait([client])
            if _is_open(client):
                self._close_aside(client.result(), flush=True)
        if self._replaced:
            await asyncio.wait(self._replaced)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def publish_event(self, topic: str, key: str, event: Message) -> RecordMetadata:
        """Send a message, wait for the broker's acknowledgement, and return where the message is.

        Raises:
            MessageTooLarge: the topic would not take it; nothing was sent.
            SendFailed: no attempt was acknowledged; the message may have been delivered all the same.
            Unavailable: no broker answers.
        """
        known = about(event.event_type, event.event_id, event.saga_id)
        with bind_below(**{semconv.SAGA_ID: event.saga_id, semconv.ORDER_ID: event.order_id}, **known):
            return await self.publish(topic, key=key.encode(), value=encode(event, self._held))

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> RecordMetadata:
        """Send bytes, as `publish_event` sends a message, in at most `attempts` times `start_timeout` + `send_timeout`.

        Raises:
            MessageTooLarge: the topic would not take it; nothing was sent.
            SendFailed: no attempt was acknowledged; the message may have been delivered all the same.
            Unavailable: no broker answers.
        """
        sent_headers = list(headers)
        self._check_size(topic, key, value, sent_headers)
        attempts = stamina.retry_context(
            on=self._may_work_again,
            attempts=self._settings.attempts,
            timeout=None,
            wait_initial=self._settings.first_backoff,
            wait_jitter=self._settings.first_backoff,
            wait_max=self._settings.longest_backoff,
        )
        async for attempt in attempts:
            with attempt:
                return await self._send(topic, key, value, sent_headers)
        raise AssertionError("stamina gives up by raising")

    def _may_work_again(self, error: Exception) -> bool:
        return isinstance(error, Unavailable) and not self._stopped

    def _check_size(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        # A batch that the broker refuses would poison the idempotent producer, so it is never sent.
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
        if size > self._settings.max_bytes:
            limit = f"SAGATRACE_PRODUCER_MAX_BYTES={self._settings.max_bytes}"
            raise MessageTooLarge(f"a record for {topic} has {size} bytes, more than {limit}")

    async def _send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> RecordMetadata:
        client = await self._connected()
        try:
            async with asyncio.timeout(self._settings.send_timeout):
                sent: RecordMetadata = await client.send_and_wait(topic, value, key, headers=headers)
                return sent
        except MessageSizeTooLargeError as error:
            self._replace(client, error)
            raise MessageTooLarge(f"the broker takes no record of this size for {topic}") from error
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, _POISONED) or not getattr(error, "retriable", False):
                self._replace(client, error)
            doubt = "; it may still have been delivered" if isinstance(error, _AMBIGUOUS) else ""
            if isinstance(error, TimeoutError) and not client.client.cluster.partitions_for_topic(topic):
                doubt += (
                    ", unless there is no such topic, of which the broker told nothing: `sagatrace topics` makes it"
                )
            raise SendFailed(f"{topic} did not acknowledge a record: {type(error).__name__}{doubt}") from error

    async def _connected(self) -> AIOKafkaProducer:
        """Return the connected client; a caller that is cancelled leaves the connection to the others."""
        if self._stopped:
            raise SendFailed("the producer is stopped")
        if self._client is None or (self._client.done() and not _is_open(self._client)):
            self._client = asyncio.create_task(self._open(), name=f"open {self._client_id}", context=Context())
            # Retrieved even if all who wait for it are cancelled, so that asyncio never complains of a failure.
            self._client.add_done_callback(_is_open)
        opening = self._client
        await asyncio.wait([opening])
        if opening.cancelled():
            raise SendFailed("the producer is stopped")
        return opening.result()

    async def _open(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            client_id=self._client_id,
            enable_idempotence=True,
            acks="all",
            compression_type="snappy",
            max_request_size=self._settings.max_bytes + _TRACE_BYTES,
            request_timeout_ms=round(self._settings.send_timeout * 1000),
            **self._secured,
        )
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                await client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await close_producer(client, self._settings.stop_timeout, flush=False)
            where = f"KAFKA_BOOTSTRAP_SERVERS={self._brokers} ({self._secured['security_protocol']})"
            wrong = await listener.hint(self._brokers, self._secured["security_protocol"])
            text = f"no Kafka broker answers at {where}: {type(error).__name__}{wrong}"
            raise Unavailable(text) from error
        except asyncio.CancelledError:
            await close_producer(client, self._settings.stop_timeout, flush=False)
            raise
        return client

    def _replace(self, client: AIOKafkaProducer, error: Exception) -> None:
        """Drop a client that can't be trusted any more; the next send opens a new one."""
        if self._client is None or not _is_open(self._client) or self._client.result() is not client:
            return
        self._client = None
        self._log.warning("producer.replaced", reason=type(error).__name__)
        # What timed out was given up: a flush would deliver it after all.
        self._close_aside(client, flush=not isinstance(error, TimeoutError))

    def _close_aside(self, client: AIOKafkaProducer, *, flush: bool) -> None:
        closing = asyncio.create_task(
            close_producer(client, self._settings.stop_timeout, flush=flush),
            name=f"close {self._client_id}",
            context=Context(),
        )
        self._replaced.add(closing)
        closing.add_done_callback(self._replaced.discard)


def _is_open(client: asyncio.Task[AIOKafkaProducer]) -> bool:
    return client.done() and not client.cancelled() and client.exception() is None
