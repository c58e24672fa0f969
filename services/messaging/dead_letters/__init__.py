"""Dead letters: what a group could not process, from its topic and its rows to an operator's re-drive.

`DeadLetters` writes the record to the dead-letter topic, with the failure in its headers. `DeadLetterLedger` keeps a
row for it, and parks what follows it under the same key. `DeadLetterOperator` and `redrive` are what an operator uses.
"""

from services.messaging.dead_letters.answers import dead_letter_answers
from services.messaging.dead_letters.headers import (
    ORIGINAL,
    OWN,
    DeadLetter,
    DeadLetterState,
    Place,
    TopicRecord,
    place_of,
    read_dead_letter,
)
from services.messaging.dead_letters.ledger import DeadLetterLedger
from services.messaging.dead_letters.operator import Attribution, DeadLetterOperator, DeadLetterRow
from services.messaging.dead_letters.parking import Burial, Ledger, NoLedger
from services.messaging.dead_letters.received import Received
from services.messaging.dead_letters.redrive import (
    RedrivePlan,
    SkipReason,
    newest_by_origin,
    plan_redrive,
    send_redrive,
)
from services.messaging.dead_letters.topic import (
    SPRING,
    ConsumedRecord,
    DeadLetters,
    Failure,
    error_text,
    error_type,
)

__all__ = [
    "ORIGINAL",
    "OWN",
    "SPRING",
    "Attribution",
    "Burial",
    "ConsumedRecord",
    "DeadLetter",
    "DeadLetterLedger",
    "DeadLetterOperator",
    "DeadLetterRow",
    "DeadLetterState",
    "DeadLetters",
    "Failure",
    "Ledger",
    "NoLedger",
    "Place",
    "Received",
    "RedrivePlan",
    "SkipReason",
    "TopicRecord",
    "dead_letter_answers",
    "error_text",
    "error_type",
    "newest_by_origin",
    "place_of",
    "plan_redrive",
    "read_dead_letter",
    "send_redrive",
]
