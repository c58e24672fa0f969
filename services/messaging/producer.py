"""The producer: idempotent, acknowledged by all replicas, Snappy, at most five attempts, and every wait bounded.

aiokafka has no `retries` and, idempotent, waits for ever: the attempts and the bounds are here. Two things to know:

- A send that ran out of time may still be delivered. Whoever reads the topic knows a message by its event id.
- After some errors an idempotent producer fails every later send to that partition (aiokafka issue 1017), and after a
  timeout it would deliver what was given up. Both end with a new client in the place of the old one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Self

import stamina
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
)
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import RecordMetadata

from services.contracts import Message, encode
from services.messaging.errors import MessageTooLarge, SendFailed, Unavailable
from services.messaging.settings import ProducerSettings

_POISONED = (
    InvalidProducerEpoch,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    UnknownProducerId,
    TimeoutError,
)


class Producer:
    """Sends messages to Kafka.

    Args:
        brokers: `host:port`, or several separated by commas.
        client_id: How the broker's logs name this client.
        settings: Attempts, times and sizes; from the environment if not given.
    """

    def __init__(
        self,
        brokers: str,
        *,
        client_id: str = "sagatrace",
        settings: ProducerSettings | None = None,
    ) -> None:
        self._brokers = brokers
        self._client_id = client_id
        self._settings = settings or ProducerSettings.read()
        self._client: AIOKafkaProducer | None = None
        self._changing = asyncio.Lock()
        self._closed = False
        self._log = structlog.get_logger(__name__)

    async def start(self) -> None:
        """Connect to the brokers.

        Raises:
            Unavailable: no broker answers in time.
        """
        await self._connected()

    async def stop(self) -> None:
        """Send what is under way, within the stop timeout, and disconnect."""
        self._closed = True
        async with self._changing:
            client, self._client = self._client, None
            if client is not None:
                await self._close(client)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def publish_event(self, topic: str, key: str, event: Message) -> RecordMetadata:
        """Send a message and wait for the broker's acknowledgement, which says where it is.

        Raises:
            MessageTooLarge: the topic would not take it; nothing was sent.
            SendFailed: no attempt was acknowledged; one may still have been delivered.
        """
        return await self.publish(topic, key=key.encode(), value=encode(event))

    async def publish(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> RecordMetadata:
        """Send bytes, as `publish_event` sends a message.

        Raises:
            MessageTooLarge: the topic would not take it; nothing was sent.
            SendFailed: no attempt was acknowledged; one may still have been delivered.
        """
        sent_headers = list(headers)
        self._check_size(topic, key, value, sent_headers)
        attempts = stamina.retry_context(
            on=(SendFailed, Unavailable),
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

    def _check_size(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
    ) -> None:
        # A refused batch would poison the idempotent producer, so the broker never sees it.
        size = DefaultRecordBatchBuilder.estimate_size_in_bytes(key, value, headers)
        if size > self._settings.max_bytes:
            limit = f"SAGATRACE_PRODUCER_MAX_BYTES={self._settings.max_bytes}"
            raise MessageTooLarge(f"a record for {topic} has {size} bytes, more than {limit}")

    async def _send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes | None]],
    ) -> RecordMetadata:
        client = await self._connected()
        try:
            async with asyncio.timeout(self._settings.send_timeout):
                sent: RecordMetadata = await client.send_and_wait(topic, value, key, headers=headers)
                return sent
        except MessageSizeTooLargeError as error:
            raise MessageTooLarge(f"the broker takes no record of this size for {topic}") from error
        except (KafkaError, TimeoutError) as error:
            if isinstance(error, _POISONED) or not getattr(error, "retriable", False):
                await self._replace(client, type(error).__name__)
            raise SendFailed(f"{topic} did not acknowledge: {type(error).__name__}") from error

    async def _connected(self) -> AIOKafkaProducer:
        async with self._changing:
            if self._closed:
                raise SendFailed("the producer is stopped")
            if self._client is None:
                self._client = await self._open()
            return self._client

    async def _open(self) -> AIOKafkaProducer:
        client = AIOKafkaProducer(
            bootstrap_servers=self._brokers,
            client_id=self._client_id,
            enable_idempotence=True,
            acks="all",
            compression_type="snappy",
            max_request_size=self._settings.max_bytes,
            request_timeout_ms=round(self._settings.send_timeout * 1000),
        )
        try:
            async with asyncio.timeout(self._settings.start_timeout):
                await client.start()
        except (KafkaError, OSError, TimeoutError) as error:
            await self._close(client)
            text = f"no Kafka broker answers at KAFKA_BOOTSTRAP_SERVERS={self._brokers}: {type(error).__name__}"
            raise Unavailable(text) from error
        return client

    async def _replace(self, client: AIOKafkaProducer, reason: str) -> None:
        """Drop a client that can't be trusted any more; the next send opens a new one."""
        async with self._changing:
            if self._client is not client:
                return
            self._client = None
            self._log.warning("producer.replaced", reason=reason)
            await self._close(client)

    async def _close(self, client: AIOKafkaProducer) -> None:
        """Close a client in bounded time: `stop` flushes first, which never ends without a broker."""
        with contextlib.suppress(KafkaError, OSError):
            try:
                async with asyncio.timeout(self._settings.stop_timeout):
                    await client.stop()
            except TimeoutError:
                sender = getattr(client, "_sender", None)
                if sender is not None:
                    await sender.close()
                await client.client.close()
