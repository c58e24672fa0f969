"""The answer to a command that became a dead letter: whoever waits for it need not wait for its deadline."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from services.contracts import Message
from services.contracts.commands import Command
from services.contracts.replies import CommandDeadLettered, Refusal
from services.contracts.topics import SAGA_REPLIES
from services.messaging.dead_letters.ledger import Answer
from services.messaging.outbox import Outbox


def dead_letter_answers(outbox: Outbox) -> Answer:
    """Make the answer of a participant, which goes out by its outbox; what is no command gets none."""

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
