"""The answer to a command that became a dead letter: its sender need not wait for the deadline."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message
from services.contracts.commands import Command
from services.contracts.replies import CommandDeadLettered, Refusal
from services.contracts.topics import SAGA_REPLIES
from services.messaging.dead_letters.ledger import Answer
from services.messaging.outbox import Outbox


def dead_letter_answers(outbox: Outbox) -> Answer:
    """Return what answers a participant's dead letters through its outbox; only commands get an answer."""

    async def answer(connection: AsyncConnection, message: Message) -> None:
        command = message.payload
        if isinstance(command, Command):
            reply = CommandDeadLettered(
                saga_id=message.saga_id,
                order_id=message.order_id,
                sequence=message.sequence,
                payload=Refusal(command_id=command.command_id, step=command.step, reason="dead_lettered"),
            )
            await outbox.add(connection, SAGA_REPLIES, reply)

    return answer
