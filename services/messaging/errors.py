"""What can go wrong between a service, its broker and its database, by what is done about it.

MessagingError
├── Fatal               will never work: to the dead letters at once
│   ├── MessageTooLarge
│   └── BadData
├── Transient           may work again soon: retried, then to the dead letters
├── ParkedBehind        must not overtake a dead letter of its key: to the dead letters, without an attempt
├── Held                nothing of the group is handled now: the record stays where it is
├── Unavailable         the database or the broker is away: never dead-lettered, tried until it is back
│   └── SendFailed
└── ConfigurationError  a setting is wrong or a resource is taken: the process says so and ends

A send that failed counts as a broker that is away: the size is checked before, so no message is to blame.
"""

from __future__ import annotations


class MessagingError(Exception):
    """Reliable delivery failed. The text holds no payload."""


class Fatal(MessagingError):
    """This message can't be processed, now or later."""


class MessageTooLarge(Fatal):
    """The message is larger than its topic takes."""


class BadData(Fatal):
    """The database can't store what the message says: a value is out of range, missing or malformed."""


class Transient(MessagingError):
    """This attempt failed, but another may work."""


class ParkedBehind(MessagingError):
    """The message follows an earlier one of its key into the dead letters."""


class Held(MessagingError):
    """Nothing may be handled now; the record is not done with, and will be delivered again."""


class Unavailable(MessagingError):
    """The database or the broker is away; no message is to blame."""


class SendFailed(Unavailable):
    """The broker did not acknowledge a message; it may have taken it all the same."""


class ConfigurationError(MessagingError):
    """A setting is wrong or what it names is not available; the text names the setting and says what to do."""


def is_away(error: Exception) -> bool:
    """Return whether an error, or each in a group of them, means that the database or the broker is away."""
    away = (Unavailable, ConnectionError)
    return error.split(away)[1] is None if isinstance(error, ExceptionGroup) else isinstance(error, away)


def is_fatal(error: Exception) -> bool:
    """Return whether an error, or one in a group of them, is final."""
    return error.subgroup(Fatal) is not None if isinstance(error, ExceptionGroup) else isinstance(error, Fatal)
