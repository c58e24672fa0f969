"""One service's database: connections, errors, its clock, the tables that every service has, and migrations."""

from services.messaging.storage.clock import UtcDateTime, database_now, database_time
from services.messaging.storage.database import Database
from services.messaging.storage.group_commit import GroupCommit, Member
from services.messaging.storage.inbox import Inbox, mark_duplicate
from services.messaging.storage.inserts import hold_or_insert_each, insert_each_once, insert_once
from services.messaging.storage.json_rows import rows_of_json
from services.messaging.storage.migrations import run_environment, upgrade
from services.messaging.storage.pruning import Prune, pruning_loop
from services.messaging.storage.revisions import (
    create_breakers_1,
    create_dead_letters_1,
    create_inbox_1,
    create_outbox_1,
)
from services.messaging.storage.sqlstates import sqlstate
from services.messaging.storage.tables import (
    BREAKERS,
    DEAD_LETTER_ACTIONS,
    DEAD_LETTERS,
    OUTBOX,
    Document,
    RowId,
    inbox_table,
    ladder_tables,
    outbox_table,
)
from services.messaging.storage.updates import update_each

__all__ = [
    "BREAKERS",
    "DEAD_LETTERS",
    "DEAD_LETTER_ACTIONS",
    "OUTBOX",
    "Database",
    "Document",
    "GroupCommit",
    "Inbox",
    "Member",
    "Prune",
    "RowId",
    "UtcDateTime",
    "create_breakers_1",
    "create_dead_letters_1",
    "create_inbox_1",
    "create_outbox_1",
    "database_now",
    "database_time",
    "hold_or_insert_each",
    "inbox_table",
    "insert_each_once",
    "insert_once",
    "ladder_tables",
    "mark_duplicate",
    "outbox_table",
    "pruning_loop",
    "rows_of_json",
    "run_environment",
    "sqlstate",
    "update_each",
    "upgrade",
]
